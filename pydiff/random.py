"""Counter-based random numbers, keyed by (seed, image index, step, element).

Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A number depends
on its key alone: image i is the same in any batch, for any number of threads, on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import backend
from .errors import ConfigError

# What a number is for; numbers of different streams are independent.
STREAMS = {
    "init": 0,
    "sampler": 1,
    "train_noise": 2,
    "train_time": 3,
    "data": 4,
    "dropout": 5,
    "params": 6,
    "augment": 7,
}


def normal(
    seed: int,
    shape: Sequence[int],
    *,
    step: int = 0,
    stream: str = "init",
    first_image: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Standard normal numbers of `shape` (N, ...).

    Image i of the batch uses image index `first_image` + i. seed 0 to 2^64 - 1, step and image
    index below 2^32, `stream` a key of `STREAMS`; ConfigError otherwise.
    """
    images, n = _check(seed, shape, stream)
    flat = backend.normal(seed, first_image, step, STREAMS[stream], images, n, dtype)
    return flat.reshape(shape)


def uniform(
    seed: int,
    shape: Sequence[int],
    *,
    step: int = 0,
    stream: str = "init",
    first_image: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Uniform numbers of `shape` (N, ...) in (0, 1), both ends excluded.

    Arguments as in `normal`.
    """
    images, n = _check(seed, shape, stream)
    flat = backend.uniform(seed, first_image, step, STREAMS[stream], images, n, dtype)
    return flat.reshape(shape)


def permutation(seed: int, n: int, epoch: int = 0) -> NDArray[np.int64]:
    """A random order of 0 .. n - 1, another one for each `epoch`; n at most 2^33."""
    u = uniform(seed, (1, 2 * n), step=epoch, stream="data", dtype=np.float64)[0]
    # Two words make keys of 53 bits: even among 2^20 a tie has a chance of 10^-4, and a stable sort
    # keeps its order.
    return np.argsort(u[::2] + u[1::2] * 2.0**-32, kind="stable")


def _check(seed: int, shape: Sequence[int], stream: str) -> tuple[int, int]:
    """(images, elements per image) of `shape`."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ConfigError(f"seed is {seed!r}; allowed: 0 to 2^64 - 1")
    if stream not in STREAMS:
        raise ConfigError(f"stream {stream!r} does not exist; allowed: {', '.join(STREAMS)}")
    if not len(shape):
        raise ConfigError("shape is (); random arrays have the shape (N, ...)")
    return int(shape[0]), math.prod(map(int, shape[1:]))
