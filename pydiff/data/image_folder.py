"""Folders of images that nobody has looked through."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..io.images import EXTENSIONS, checked_size, load_image
from .transforms import normalise

MAX_BAD = 0.01  # share of unreadable files above which a folder is refused
MAX_BYTES = 8 << 30


@dataclass(frozen=True)
class ImageFolder:
    """What `folder` read.

    images (N, H, W, C) float32 in [-1, 1]; labels (N,) int64, or None; classes: the sub-folder
    names that the labels count; files: the path of each image; skipped: (path, reason) of each
    unreadable file.
    """

    images: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...] = field(default=())


def folder(
    path: str | os.PathLike[str],
    size: int | tuple[int, int],
    channels: int = 3,
    background: float = 1.0,
    labels: bool = False,
) -> ImageFolder:
    """All PNG, JPEG, WebP and BMP files under a folder, in the order of their paths.

    Hidden files (a leading dot in the name) are passed over.

    size: (H, W), or one number for a square: each image is cut to that shape about its centre and
    resized. channels: 1 or 3. background: the grey level in [0, 1] behind transparent pixels.
    labels: take the name of the first sub-folder as the class of the images in it.

    Unreadable files are skipped and listed in `.skipped`. Raises DataError if they are more than
    1 % (naming the first), if there is nothing to read, or if the images would exceed 8 GiB.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root}: not a folder")
    found = sorted(f for f in root.rglob("*") if _is_image(f))
    if not found:
        raise DataError(f"{root}: holds no files with {', '.join(sorted(EXTENSIONS))}")
    if labels and (loose := [f for f in found if f.parent == root]):
        raise DataError(f"labels = True, but {loose[0]} lies in no sub-folder")
    images, files, skipped = _load(found, size, channels, background)
    if len(skipped) > MAX_BAD * len(found):
        raise DataError(
            f"{root}: {len(skipped)} of {len(found)} files are unreadable, allowed are "
            f"{MAX_BAD:.0%}; the first: {skipped[0][1]}"
        )
    classes = tuple(sorted({f.relative_to(root).parts[0] for f in files})) if labels else ()
    index = {name: i for i, name in enumerate(classes)}
    numbers = [index[f.relative_to(root).parts[0]] for f in files] if labels else None
    return ImageFolder(
        images,
        None if numbers is None else np.array(numbers, np.int64),
        classes,
        tuple(files),
        tuple(skipped),
    )


def _is_image(file: Path) -> bool:
    # names with a leading dot are the litter of file managers, such as "._photo.jpg"
    return file.suffix.lower() in EXTENSIONS and file.name[0] != "." and not file.is_dir()


def _load(
    found: list[Path], size: int | tuple[int, int], channels: int, background: float
) -> tuple[np.ndarray, list[Path], list[tuple[Path, str]]]:
    height, width = checked_size(size)
    needed = len(found) * height * width * channels * 4
    if needed > MAX_BYTES:
        raise DataError(
            f"{len(found)} images of {height} x {width} x {channels} need {needed:,} bytes, "
            f"limit {MAX_BYTES:,}; use a smaller size or fewer files"
        )
    images = np.empty((len(found), height, width, channels), np.float32)
    files: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for file in found:
        try:
            images[len(files)] = load_image(file, channels, (height, width), background)
            files.append(file)
        except ConfigError:
            raise
        except DataError as error:
            skipped.append((file, str(error)))
    return normalise(images[: len(files)], (0.0, 1.0)), files, skipped
