"""Arrays made from few numbers, on the native kernels: features of times, random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _native

Array = NDArray[Any]


def sinusoids(
    t: Array, frequency: Array, features: int, cosine_first: bool, dtype: np.dtype[Any]
) -> Array:
    y = _native.empty((t.size, features), dtype)
    _native.sinusoids(t, frequency, y, cosine_first)
    return y


def fourier(t: Array, weight: Array) -> Array:
    y = _native.empty((t.size, 2 * weight.size), weight.dtype)
    _native.fourier(t, weight, y)
    return y


def cast(x: Array, dtype: np.dtype[Any]) -> Array:
    y = _native.empty(x.shape, dtype)
    _native.cast(x, y)
    return y


def uniform(
    seed: int, first_image: int, step: int, stream: int, images: int, n: int, dtype: np.dtype[Any]
) -> Array:
    y = _native.empty((images, n), dtype)
    _native.uniform(y, seed, first_image, step, stream)
    return y


def normal(
    seed: int, first_image: int, step: int, stream: int, images: int, n: int, dtype: np.dtype[Any]
) -> Array:
    y = _native.empty((images, n), dtype)
    _native.normal(y, seed, first_image, step, stream)
    return y
