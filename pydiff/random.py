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
from .checks import is_integer
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
    draw: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Standard normal numbers of `shape` (N, ...).

    Image i of the batch uses image index `first_image` + i. seed 0 to 2^64 - 1, step and image
    index below 2^32, `stream` a key of `STREAMS`; draw below 2^24: further numbers of the same
    step. ConfigError otherwise.
    """
    return Numbers(seed, shape, stream, first_image, dtype).normal(step, draw)


def uniform(
    seed: int,
    shape: Sequence[int],
    *,
    step: int = 0,
    stream: str = "init",
    first_image: int = 0,
    draw: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Uniform numbers of `shape` (N, ...) in (0, 1), both ends excluded.

    Arguments as in `normal`.
    """
    return Numbers(seed, shape, stream, first_image, dtype).uniform(step, draw)


class Numbers:
    """`normal` and `uniform` for many steps, with all other arguments checked once."""

    def __init__(
        self, seed: int, shape: Sequence[int], stream: str, first_image: int, dtype: DTypeLike
    ) -> None:
        if not is_integer(seed) or not 0 <= seed < 2**64:
            raise ConfigError(f"seed is {seed!r}; allowed: 0 to 2^64 - 1")
        if stream not in STREAMS:
            raise ConfigError(f"stream {stream!r} does not exist; allowed: {', '.join(STREAMS)}")
        if not len(shape):
            raise ConfigError("shape is (); random arrays have the shape (N, ...)")
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)
        self._key = seed, first_image
        self._word = STREAMS[stream]
        self._size = self.shape[0], math.prod(self.shape[1:])

    def normal(self, step: int = 0, draw: int = 0) -> NDArray[Any]:
        """Of that step; draw: further ones of the same step."""
        word = self._stream(draw)
        return backend.normal(*self._key, step, word, *self._size, self.dtype).reshape(self.shape)

    def uniform(self, step: int = 0, draw: int = 0) -> NDArray[Any]:
        """Of that step; draw: further ones of the same step."""
        word = self._stream(draw)
        return backend.uniform(*self._key, step, word, *self._size, self.dtype).reshape(self.shape)

    def _stream(self, draw: int) -> int:
        """Philox's word for the stream: draws are streams of their own, 256 apart."""
        if not isinstance(draw, int) or not 0 <= draw < 2**24:
            raise ConfigError(f"draw is {draw!r}; allowed: 0 to 2^24 - 1")
        return self._word + (draw << 8)


def permutation(seed: int, n: int, epoch: int = 0) -> NDArray[np.int64]:
    """A random order of 0 .. n - 1, another one for each `epoch`; n at most 2^33."""
    u = uniform(seed, (1, 2 * n), step=epoch, stream="data", dtype=np.float64)[0]
    # Two words make keys of 53 bits: even among 2^20 a tie has a chance of 10^-4, and a stable sort
    # keeps its order.
    return np.argsort(u[::2] + u[1::2] * 2.0**-32, kind="stable")
