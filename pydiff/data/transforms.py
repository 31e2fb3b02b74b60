"""From pixels to what a model sees, (N, H, W, C) float32 in [-1, 1], and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..errors import ConfigError, DataError, DtypeError, ShapeError
from ..io.images import checked_size


def normalise(images: np.ndarray, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """value_range mapped onto [-1, 1] as float32, any shape.

    value_range: default (0, 255) for uint8 and (-1, 1), that is unchanged, for floating point.
    Raises DataError for NaN, infinity, or values outside the range.
    """
    array = np.asarray(images)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"images have dtype {array.dtype}; they must be real numbers")
    if value_range is None and array.dtype.kind != "f" and array.dtype != np.uint8:
        raise DataError(
            f"images have dtype {array.dtype}: say which values mean black and white "
            "with value_range=(low, high)"
        )
    default = (0.0, 255.0) if array.dtype == np.uint8 else (-1.0, 1.0)
    low, high = (float(bound) for bound in (value_range or default))
    if not low < high:
        raise ConfigError(f"value_range = {value_range}; it must be (low, high) with low < high")
    if array.size and not (array.min() >= low and array.max() <= high):  # also true for NaN
        raise DataError(
            f"images span [{array.min()}, {array.max()}], outside ({low:g}, {high:g}); "
            "pass value_range=(low, high)"
        )
    if (low, high) == (-1.0, 1.0):
        return array.astype(np.float32, copy=False)
    return ((array - low) * (2.0 / (high - low)) - 1.0).astype(np.float32)


def denormalise(images: np.ndarray) -> np.ndarray:
    """[-1, 1] back to [0, 1] as float32, clipped; a NaN stays a NaN."""
    return np.clip(np.asarray(images, np.float32) * 0.5 + 0.5, 0.0, 1.0)


def center_crop(images: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """The centred (H, W) window of (N, H', W', C) images, a view. Raises ShapeError if larger."""
    images = _check_images(images)
    height, width = checked_size(size)
    if height > images.shape[1] or width > images.shape[2]:
        raise ShapeError(f"cannot cut {height} x {width} out of images of shape {images.shape}")
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def resize(images: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """(N, H', W', C) to (N, H, W, C) float32, bicubic and antialiased, without overshoot."""
    from PIL import Image

    images = _check_images(images)
    height, width = checked_size(size)
    out = np.empty((len(images), height, width, images.shape[3]), np.float32)
    for n, c in np.ndindex(len(images), images.shape[3]):
        plane = np.ascontiguousarray(images[n, :, :, c], np.float32)
        resized = Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC)
        out[n, :, :, c] = np.clip(np.asarray(resized), plane.min(), plane.max())
    return out


def random_flip(
    images: np.ndarray, seed: int, step: int = 0, first_image: int = 0, p: float = 0.5
) -> np.ndarray:
    """Mirror each image left to right with probability p; a new array.

    The choice for image i is keyed by (seed, step, first_image + i), in any batch the same.
    """
    images = _check_images(images)
    u = random.uniform(seed, (len(images), 1), step=step, stream="augment", first_image=first_image)
    return np.where((u[:, 0] < p)[:, None, None, None], images[:, :, ::-1], images)


def _check_images(images: Any) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4:
        raise ShapeError(f"images have shape {array.shape}; expected (N, H, W, C)")
    return array
