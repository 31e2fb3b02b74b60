"""Pictures: read files that nobody vouches for, write samples so that nothing wrong looks right.

Images are (N, H, W, C) arrays, C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
"""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_count, is_integer
from ..errors import ConfigError, DataError, DtypeError, NonFiniteError, ShapeError
from .atomic import atomic_write

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
MAX_PIXELS = 64_000_000  # Pillow refuses only from 179 million on
MAX_FILE_BYTES = 256 << 20
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's "L"
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
_ANIMATIONS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}


def load_image(
    path: str | os.PathLike[str],
    channels: int = 3,
    size: int | tuple[int, int] | None = None,
    background: float = 1.0,
) -> np.ndarray:
    """Read a PNG, JPEG, WebP or BMP as (H, W, channels) float32 in [0, 1].

    channels: 1 (grey) or 3 (RGB). size: None keeps the file's; (H, W), or one number for a square,
    cuts the largest centred rectangle of that shape and resizes it (bicubic, antialiased).
    background: the grey level in [0, 1] behind transparent pixels. EXIF rotation is applied;
    palettes, CMYK and 16-bit grey are converted; of an animation the first frame is taken.

    Raises DataError for anything that is not a whole image of at most 64 million pixels.
    """
    from PIL import Image, ImageOps

    if channels not in (1, 3):
        raise ConfigError(f"channels = {channels!r}; allowed: 1, 3")
    target = None if size is None else checked_size(size)
    content = _read(path)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {opened.width} x {opened.height} pixels, limit {MAX_PIXELS:,}"
                )
            image = _plain_mode(ImageOps.exif_transpose(opened))
        return _channels(_pixels(_fit(image, target), background), channels)
    except DataError:
        raise
    except Exception as error:  # on hostile bytes Pillow's decoders raise nearly any exception
        raise DataError(f"{path}: not a readable image: {error or type(error).__name__}") from error


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise DataError(f"{path}: not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: {status.st_size:,} bytes, limit {MAX_FILE_BYTES:,}")
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def checked_size(size: Any) -> tuple[int, int]:
    """(H, W) from a pair or one number for a square. Raises ConfigError."""
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    good = all(is_integer(n) and n >= 1 for n in pair)
    if len(pair) != 2 or not good or pair[0] * pair[1] > MAX_PIXELS:
        raise ConfigError(
            f"size = {size!r}; allowed: a positive integer, or (H, W) with H * W <= {MAX_PIXELS:,}"
        )
    return int(pair[0]), int(pair[1])


def _plain_mode(image: Image.Image) -> Image.Image:
    """One of L, RGB, RGBA (0 .. 255) and F (0 .. 1), with nothing left to interpret."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode.startswith("I"):
        return Image.fromarray(np.asarray(image).astype(np.float32) / np.float32(65535.0))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _fit(image: Image.Image, target: tuple[int, int] | None) -> Image.Image:
    """Cut the largest centred rectangle of the target's shape and resize it."""
    from PIL import Image

    if target is None or target == (image.height, image.width):
        image.load()
        return image
    height, width = target
    scale = min(image.height / height, image.width / width)
    top, left = (image.height - height * scale) / 2, (image.width - width * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def _pixels(image: Image.Image, background: float) -> np.ndarray:
    """(H, W, 1 or 3) float32 in [0, 1]."""
    pixels = np.asarray(image, np.float32)
    if image.mode == "F":
        return np.clip(pixels, 0.0, 1.0)[..., None]
    pixels = (pixels / np.float32(255.0)).reshape(image.height, image.width, -1)
    if pixels.shape[-1] == 4:
        alpha = pixels[..., 3:]
        return pixels[..., :3] * alpha + np.float32(background) * (1.0 - alpha)
    return pixels


def _channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.shape[-1] == channels:
        return np.ascontiguousarray(pixels)
    return np.repeat(pixels, 3, axis=-1) if channels == 3 else (pixels @ _LUMA)[..., None]


def to_uint8(images: np.ndarray, value_range: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Real images as bytes of the same shape, value_range onto 0 .. 255, rounded.

    uint8 is returned as it is. Raises NonFiniteError for a NaN or infinity, DataError for values
    outside the range by more than half a grey level: such images would be drawn wrong.
    """
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise DtypeError(f"images have dtype {array.dtype}; allowed: uint8, or floating point")
    low, high = (float(bound) for bound in value_range)
    if not low < high:
        raise ConfigError(f"value_range = {value_range}; it must be (low, high) with low < high")
    if not np.isfinite(array).all():
        count = array.size - int(np.isfinite(array).sum())
        raise NonFiniteError(f"images hold {count} NaN or infinite values; nothing was drawn")
    slack = (high - low) / 510.0
    if array.size and (array.min() < low - slack or array.max() > high + slack):
        raise DataError(
            f"images span [{array.min():.4g}, {array.max():.4g}], outside value_range "
            f"({low:g}, {high:g}); pass the right value_range (samples are often in (-1, 1)), "
            "or clip them first"
        )
    scaled = (array.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)


def tile(
    images: np.ndarray,
    columns: int | None = None,
    padding: int = 2,
    scale: int = 1,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """(N, H, W, C) images side by side as one (H', W', C) uint8 picture on white.

    columns: default ceil(sqrt(N)). padding: pixels around each. scale: whole-number enlargement
    (each pixel becomes a square), for images that are too small to see.
    """
    batch = _batch(images, value_range, scale)
    columns = columns or math.ceil(math.sqrt(len(batch)))
    if columns < 1 or padding < 0:
        raise ConfigError(f"columns = {columns}, padding = {padding}; they must be >= 1 and >= 0")
    rows = -(-len(batch) // columns)
    _, height, width, channels = batch.shape
    cell = (height + padding, width + padding)
    shape = (rows * cell[0] + padding, columns * cell[1] + padding, channels)
    if shape[0] * shape[1] > MAX_PIXELS:
        raise DataError(f"the picture would have {shape[1]} x {shape[0]} pixels")
    canvas = np.full(shape, 255, np.uint8)
    for i, image in enumerate(batch):
        top, left = (padding + n * size for n, size in zip(divmod(i, columns), cell, strict=True))
        canvas[top : top + height, left : left + width] = image
    return canvas


def _batch(images: Any, value_range: tuple[float, float], scale: int) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[-1] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ShapeError(f"images have shape {array.shape}; expected (N, H, W, C), C = 1 .. 4")
    scale = check_count("scale", scale, 1, 256)
    if array.size * scale**2 > 4 * MAX_PIXELS:
        raise DataError(f"{array.shape} images at scale {scale} exceed {MAX_PIXELS:,} pixels")
    return to_uint8(array, value_range).repeat(scale, axis=1).repeat(scale, axis=2)


def save_images(
    images: np.ndarray,
    folder: str | os.PathLike[str],
    prefix: str = "",
    first_index: int = 0,
    metadata: Mapping[str, Any] | None = None,
    scale: int = 1,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> list[Path]:
    """Write (N, H, W, C) images as <folder>/<prefix>00000.png, 00001.png, ... and return the paths.

    Numbers count from first_index. metadata goes into each file as PNG text (read it back with
    `read_metadata`), with the image's number as "index". scale enlarges each pixel to a square.
    All values are checked first (see `to_uint8`), and each file appears whole or not at all.
    """
    batch = _batch(images, value_range, scale)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / f"{prefix}{first_index + i:05d}.png" for i in range(len(batch))]
    for i, path in enumerate(paths):
        _save(batch[i], path, {**(metadata or {}), "index": first_index + i})
    return paths


def save_grid(
    images: np.ndarray,
    path: str | os.PathLike[str],
    columns: int | None = None,
    padding: int = 2,
    scale: int = 1,
    metadata: Mapping[str, Any] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Path:
    """Write (N, H, W, C) images side by side (see `tile`) as one .png, .jpg, .webp or .bmp."""
    target = Path(path)
    _format(target, _WRITERS)
    _save(tile(images, columns, padding, scale, value_range), target, metadata or {})
    return target


def save_animation(
    frames: Sequence[np.ndarray] | np.ndarray,
    path: str | os.PathLike[str],
    fps: float = 10.0,
    hold: float = 1.0,
    columns: int | None = None,
    padding: int = 2,
    scale: int = 1,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Path:
    """Write frames, each (H, W, C) or a batch (N, H, W, C) to tile, as .gif, .png (APNG) or .webp.

    It plays for ever at fps frames a second and holds the last frame `hold` seconds longer. All
    frames must have one shape; values are checked as in `to_uint8`.
    """
    target = Path(path)
    format_name = _format(target, _ANIMATIONS)
    if not 0.0 < fps <= 100.0 or not 0.0 <= hold <= 60.0:
        raise ConfigError(f"fps = {fps}, hold = {hold}; allowed: 0 < fps <= 100, 0 <= hold <= 60")
    pictures = [_picture(frame, columns, padding, scale, value_range) for frame in frames]
    if not pictures or len({(p.size, p.mode) for p in pictures}) != 1:
        raise ShapeError("an animation needs at least one frame, and all of one shape")
    durations = [round(1000.0 / fps)] * len(pictures)
    durations[-1] += round(1000.0 * hold)
    options: dict[str, Any] = {"lossless": True} if format_name == "WEBP" else {}
    atomic_write(
        target,
        lambda file: pictures[0].save(
            file,
            format=format_name,
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            **options,
        ),
    )
    return target


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text entries of a PNG file, such as those `save_images` writes. Raises DataError."""
    from PIL import Image

    content = _read(path)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return {str(key): text for key, text in image.info.items() if isinstance(text, str)}
    except Exception as error:  # as in load_image
        raise DataError(f"{path}: not a readable PNG: {error or type(error).__name__}") from error


def _picture(
    frame: Any, columns: int | None, padding: int, scale: int, value_range: tuple[float, float]
) -> Image.Image:
    array = np.asarray(frame)
    if array.ndim == 3:
        return _to_pillow(_batch(array[None], value_range, scale)[0])
    return _to_pillow(tile(array, columns, padding, scale, value_range))


def _save(pixels: np.ndarray, path: Path, metadata: Mapping[str, Any]) -> None:
    from PIL.PngImagePlugin import PngInfo

    options: dict[str, Any] = {}
    if metadata and path.suffix.lower() == ".png":
        options["pnginfo"] = info = PngInfo()
        for key, value in metadata.items():
            info.add_text(str(key), str(value))
    image, format_name = _to_pillow(pixels), _format(path, _WRITERS)
    atomic_write(path, lambda file: image.save(file, format=format_name, **options))


def _to_pillow(pixels: np.ndarray) -> Image.Image:
    from PIL import Image

    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(plane))


def _format(path: Path, known: Mapping[str, str]) -> str:
    name = known.get(path.suffix.lower())
    if name is None:
        raise ConfigError(f"{path}: unknown extension {path.suffix!r}; known: {', '.join(known)}")
    return name
