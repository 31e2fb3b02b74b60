"""Random numbers of the reference: Philox-4x32-10 (Salmon et al. 2011), uniform and normal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
_WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def uniform(
    seed: int, first_image: int, step: int, stream: int, images: int, n: int, dtype: np.dtype[Any]
) -> Array:
    words = _words(seed, first_image, step, stream, images, n)
    u = _in_unit_interval(words).reshape(images, 4 * words.shape[1])[:, :n].astype(dtype)
    return np.minimum(u, np.nextafter(dtype.type(1), dtype.type(0)))  # float32 would round up to 1


def normal(
    seed: int, first_image: int, step: int, stream: int, images: int, n: int, dtype: np.dtype[Any]
) -> Array:
    words = _words(seed, first_image, step, stream, images, n)
    u = _in_unit_interval(words)
    r, angle = np.sqrt(-2 * np.log(u[..., 0::2])), 2 * np.pi * u[..., 1::2]
    pairs = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)
    return pairs.reshape(images, 4 * words.shape[1])[:, :n].astype(dtype)


def philox(counter: Array, key: Array) -> Array:
    """Philox-4x32-10: counter (..., 4) and key (2,) of 32-bit words -> random words (..., 4)."""
    c, k = np.asarray(counter, np.uint64), np.asarray(key, np.uint64)
    for _ in range(10):
        product = c[..., 0::2] * _MULTIPLIERS
        high, low = product >> _SHIFT, product & _LOW
        mixed = high[..., ::-1] ^ c[..., 1::2] ^ k
        c = np.stack([mixed[..., 0], low[..., 1], mixed[..., 1], low[..., 0]], axis=-1)
        k = (k + _WEYL) & _LOW
    return c


def _words(seed: int, first_image: int, step: int, stream: int, images: int, n: int) -> Array:
    """Random words (images, ceil(n / 4), 4)."""
    counter = np.empty((images, -(-n // 4), 4), np.uint64)
    counter[..., 0] = np.arange(counter.shape[1], dtype=np.uint64)
    counter[..., 1] = first_image + np.arange(images, dtype=np.uint64)[:, None]
    counter[..., 2] = step
    counter[..., 3] = stream
    return philox(counter, np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint64))


def _in_unit_interval(words: Array) -> Array:
    return (words.astype(np.float64) + 0.5) * 2.0**-32
