"""Pictures in and out: every mode Pillow opens, hostile files, and refusals to draw nonsense."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pydiff.errors import ConfigError, DataError, DtypeError, NonFiniteError, ShapeError
from pydiff.io import load_image, save_animation, save_grid, save_images
from pydiff.io.images import FORMATS, read_metadata, tile, to_uint8

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def write(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def encoded(format_name: str, pixels: np.ndarray = RGB) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=format_name)
    return stream.getvalue()


# ----- reading -----


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    file = write(tmp_path / f"a.{suffix}", Image.fromarray(RGB), **options)
    image = load_image(file)
    assert image.dtype == np.float32 and image.shape == (6, 9, 3)
    np.testing.assert_array_equal(np.rint(image * 255), RGB)


def test_jpeg_and_its_exif_rotation(tmp_path: Path) -> None:
    """Orientation 6: the picture was taken with the camera turned left."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    file = write(tmp_path / "a.jpg", Image.fromarray(pixels), exif=exif, quality=95)
    image = load_image(file, channels=1)
    assert image.shape == (32, 16, 1)
    assert image[:14].min() > 0.9 and image[18:].max() < 0.1


def test_palettes_bits_and_cmyk(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(256)
    expected = np.asarray(palette.convert("RGB")) / 255.0
    file = write(tmp_path / "palette.png", palette)
    np.testing.assert_allclose(load_image(file), expected, atol=1e-6)
    bits = Image.fromarray(RGB[..., 0] > 127).convert("1")
    file = write(tmp_path / "bits.png", bits)
    np.testing.assert_array_equal(load_image(file, 1)[..., 0], np.asarray(bits))
    cmyk = Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).convert("CMYK")
    file = write(tmp_path / "cmyk.jpg", cmyk, quality=95)
    np.testing.assert_allclose(load_image(file), 200 / 255, atol=0.02)


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    file = write(tmp_path / "deep.png", Image.fromarray(values))
    image = load_image(file, channels=1)
    np.testing.assert_allclose(image[..., 0], values / 65535.0, rtol=1e-6)
    assert load_image(file, 3, size=4).shape == (4, 4, 3)


@pytest.mark.parametrize("background", [0.0, 0.5, 1.0])
def test_transparency_is_laid_on_the_background(tmp_path: Path, background: float) -> None:
    pixels = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    pixels[:3, :, 3] = 255
    pixels[3, :, 3] = 51
    image = load_image(write(tmp_path / "a.png", Image.fromarray(pixels)), background=background)
    np.testing.assert_allclose(image[:3], RGB[:3] / 255.0, atol=1e-6)
    np.testing.assert_allclose(image[3], 0.2 * RGB[3] / 255.0 + 0.8 * background, atol=1e-6)
    np.testing.assert_allclose(image[4:], background)


def test_a_transparent_palette_colour(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    file = write(tmp_path / "a.png", image, transparency=1)
    np.testing.assert_array_equal(load_image(file, background=0.0)[0], [[1, 0, 0], [0, 0, 0]])


def test_grey_and_colour_convert(tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", Image.fromarray(RGB))
    expected = RGB @ np.array([0.299, 0.587, 0.114]) / 255.0
    np.testing.assert_allclose(load_image(file, 1)[..., 0], expected, atol=1e-6)
    grey = write(tmp_path / "grey.png", Image.fromarray(RGB[..., 0]))
    np.testing.assert_array_equal(load_image(grey, 3), np.repeat(load_image(grey, 1), 3, -1))
    np.testing.assert_array_equal(np.rint(load_image(grey, 1)[..., 0] * 255), RGB[..., 0])


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for suffix in ("png", "webp"):
        file = tmp_path / f"a.{suffix}"
        frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_array_equal(load_image(file)[0, 0], [1, 0, 0])


def test_size_cuts_about_the_centre_and_resizes(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60), np.uint8)
    pixels[:, 20:40] = 255
    file = write(tmp_path / "a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(load_image(file, 1, size=20), np.ones((20, 20, 1)))
    assert load_image(file, 1, size=5).min() > 0.9
    assert load_image(file, 3, size=(40, 10)).shape == (40, 10, 3)
    wide = load_image(file, 1, size=(10, 30))[..., 0]
    assert wide[:, :8].max() < 0.1 and wide[:, 12:18].min() > 0.9


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", (8,), (8, 0), True, (10**6, 10**6)])
def test_bad_sizes_are_errors(tmp_path: Path, size: Any) -> None:
    file = write(tmp_path / "a.png", Image.fromarray(RGB))
    with pytest.raises(ConfigError, match="size = "):
        load_image(file, size=size)


def test_bad_channels_are_errors() -> None:
    with pytest.raises(ConfigError, match="channels = 4"):
        load_image("a.png", channels=4)


# ----- hostile files -----


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 10_000, 30_000, 2**31 - 1])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, side: int) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_claiming(side, side))
    with pytest.raises(DataError, match=r"bomb\.png"):
        load_image(file)


def test_a_text_bomb_is_refused(tmp_path: Path) -> None:
    info = zlib.compress(bytes(100 << 20))
    content = b"key\0\0" + info
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + content))
    png = encoded("PNG")
    file = tmp_path / "a.png"
    file.write_bytes(png[:33] + chunk + png[33:])
    with pytest.raises(DataError, match=r"a\.png"):
        load_image(file)


@pytest.mark.parametrize("format_name", FORMATS)
def test_truncated_files_are_data_errors(tmp_path: Path, format_name: str) -> None:
    """At 100 points; what still opens must be a whole image."""
    content, file = encoded(format_name), tmp_path / "a.img"
    refused = 0
    for length in np.linspace(0, len(content) - 1, 100).astype(int):
        file.write_bytes(content[:length])
        try:
            assert load_image(file).shape == (6, 9, 3)
        except DataError as error:
            assert "a.img" in str(error)
            refused += 1
    assert refused > 80


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("format_name", FORMATS)
def test_mutated_files_give_an_image_or_a_data_error(tmp_path: Path, format_name: str) -> None:
    generator, content = np.random.default_rng(3), encoded(format_name)
    file = tmp_path / "a.img"
    for _ in range(300):
        mutated = bytearray(content)
        for place in generator.integers(0, len(content), generator.integers(1, 6)):
            mutated[place] = generator.integers(0, 256)
        file.write_bytes(mutated)
        try:
            image = load_image(file, size=8)
        except DataError:
            continue
        assert image.shape == (8, 8, 3) and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("format_name", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_formats_are_not_opened_under_any_name(tmp_path: Path, format_name: str) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encoded(format_name))
    with pytest.raises(DataError, match="not a readable image"):
        load_image(file)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_image(tmp_path / "pipe.png")


# ----- writing -----


def test_to_uint8_rounds_to_the_nearest_level() -> None:
    values = np.array([0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0], np.float32)
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 1, 128, 255])
    np.testing.assert_array_equal(to_uint8(np.array([-1.0, 0.0, 1.0]), (-1, 1)), [0, 128, 255])
    assert to_uint8(RGB) is RGB


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_non_finite_is_drawn(tmp_path: Path, bad: float) -> None:
    images = np.zeros((3, 4, 4, 1))
    images[2, 1, 1] = bad
    for save in (
        lambda: save_images(images, tmp_path),
        lambda: save_grid(images, tmp_path / "a.png"),
        lambda: save_animation(images, tmp_path / "a.gif"),
    ):
        with pytest.raises(NonFiniteError, match="1 NaN or infinite"):
            save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("low, high", [(-1.0, 1.0), (0.0, 255.0), (0.0, 1.01), (-0.01, 1.0)])
def test_values_outside_the_range_are_not_clipped_silently(low: float, high: float) -> None:
    with pytest.raises(DataError, match="value_range"):
        to_uint8(np.array([low, high]))
    to_uint8(np.array([-0.0015, 1.0015]))  # less than half a grey level


def test_other_bad_arguments_are_errors(tmp_path: Path) -> None:
    good = np.zeros((2, 4, 4, 1))
    with pytest.raises(DtypeError, match="int64"):
        to_uint8(np.zeros(3, np.int64))
    with pytest.raises(ConfigError, match="low < high"):
        to_uint8(good, (1, 0))
    for shape in ((4, 4, 1), (2, 4, 4), (2, 4, 4, 5), (0, 4, 4, 1)):
        with pytest.raises(ShapeError, match="expected"):
            save_images(np.zeros(shape), tmp_path)
    for scale in (0, 1.5, 1000):
        with pytest.raises(ConfigError, match="scale"):
            save_images(good, tmp_path, scale=scale)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"unknown extension '\.exe'"):
        save_grid(good, tmp_path / "a.exe")
    with pytest.raises(ConfigError, match="fps"):
        save_animation(good, tmp_path / "a.gif", fps=0)
    with pytest.raises(ShapeError, match="one shape"):
        save_animation([np.zeros((2, 2, 1)), np.zeros((3, 3, 1))], tmp_path / "a.gif")
    with pytest.raises(DataError, match="exceed"):
        save_images(np.zeros((2, 600, 600, 3)), tmp_path, scale=100)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_come_back_with_their_text(tmp_path: Path, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, channels), np.uint8)
    paths = save_images(
        images, tmp_path / "new" / "folder", prefix="s", first_index=7, metadata={"seed": 5}
    )
    assert [path.name for path in paths] == ["s00007.png", "s00008.png", "s00009.png"]
    for i, path in enumerate(paths):
        with Image.open(path) as stored:
            np.testing.assert_array_equal(np.asarray(stored).reshape(5, 4, channels), images[i])
        assert read_metadata(path) == {"seed": "5", "index": str(7 + i)}


def test_metadata_keeps_any_text(tmp_path: Path) -> None:
    text = {"model": "räksmörgås π", "sampler": "DDIM(eta=0.0)"}
    path = save_grid(np.zeros((1, 2, 2, 1)), tmp_path / "a.png", metadata=text)
    assert read_metadata(path) == text


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 5, 4, 3))
    for name in ("a", "b"):
        save_images(images, tmp_path / name, metadata={"seed": 1})
    assert (tmp_path / "a/00000.png").read_bytes() == (tmp_path / "b/00000.png").read_bytes()


def test_scale_turns_pixels_into_squares(tmp_path: Path) -> None:
    path = save_images(RGB[None], tmp_path, scale=3)[0]
    with Image.open(path) as stored:
        np.testing.assert_array_equal(np.asarray(stored), RGB.repeat(3, 0).repeat(3, 1))


def test_tile() -> None:
    picture = tile(np.zeros((5, 4, 6, 3)), columns=3, padding=1)
    assert picture.shape == (2 * 5 + 1, 3 * 7 + 1, 3) and picture.dtype == np.uint8
    assert (picture[0] == 255).all() and (picture[1:5, 1:7] == 0).all()
    assert (picture[6:10, 15:21] == 255).all()  # the sixth place is empty
    assert tile(np.zeros((9, 4, 4, 1)), padding=0).shape == (12, 12, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_grids_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = save_grid(np.full((4, 8, 8, 3), 0.5), tmp_path / f"a.{suffix}", padding=0)
    with Image.open(path) as stored:
        assert stored.size == (16, 16)
        assert abs(int(np.asarray(stored)[8, 8, 0]) - 128) <= 2


@pytest.mark.parametrize("suffix, format_name", [("gif", "GIF"), ("png", "PNG"), ("webp", "WEBP")])
@pytest.mark.parametrize("shape", [(5, 8, 6, 1), (5, 8, 6, 3), (5, 4, 8, 6, 1)])
def test_animations(tmp_path: Path, suffix: str, format_name: str, shape: tuple[int, ...]) -> None:
    frames = np.linspace(0, 1, 5).reshape(5, *[1] * (len(shape) - 1)) * np.ones(shape)
    path = save_animation(frames, tmp_path / f"a.{suffix}", fps=20, hold=0.5, padding=1)
    with Image.open(path) as stored:
        assert stored.format == format_name and stored.n_frames == 5
        assert stored.size == ((6, 8) if len(shape) == 4 else (15, 19))
        for i in range(5):
            stored.seek(i)
            middle = np.asarray(stored.convert("L"))[3, 3]
            assert abs(int(middle) - round(255 * i / 4)) <= 1
        if suffix != "webp":
            assert stored.info["duration"] == 550


def test_one_frame_is_an_animation_too(tmp_path: Path) -> None:
    for suffix in ("gif", "png", "webp"):
        save_animation([np.zeros((4, 4, 3))], tmp_path / f"a.{suffix}")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_grid(np.zeros((1, 2, 2, 1)), tmp_path / "a.png")
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_grid(np.ones((1, 2, 2, 1)), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
