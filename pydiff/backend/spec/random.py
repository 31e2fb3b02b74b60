"""Counter-based random numbers: Philox-4x32-10 (Salmon et al. 2011).

Element e of image i is a function of (seed, first_image + i, step, stream, e) alone: counter words
(e // 4, image, step, stream), the two halves of `seed` as key, output word e % 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...errors import DtypeError
from ..registry import active
from .checks import Array, integer

_KINDS = (np.dtype(np.float32), np.dtype(np.float64))


def uniform(
    seed: int,
    first_image: int,
    step: int,
    stream: int,
    images: int,
    n: int,
    dtype: DTypeLike = np.float32,
) -> Array:
    """Uniform numbers (u + 1/2) 2^-32, computed in float64 and rounded once to `dtype`, but
    never up to 1: in (0, 1). -> (images, n)

    seed 0 to 2^64 - 1; first_image + images, step and stream below 2^32; n at most 2^34.
    """
    return active().uniform(*_checked("uniform", seed, first_image, step, stream, images, n, dtype))


def normal(
    seed: int,
    first_image: int,
    step: int,
    stream: int,
    images: int,
    n: int,
    dtype: DTypeLike = np.float32,
) -> Array:
    """Standard normal numbers by Box & Muller (1958) from pairs of the words of `uniform`, computed
    in float64 and rounded once to `dtype`. Arguments as in `uniform`. -> (images, n)"""
    return active().normal(*_checked("normal", seed, first_image, step, stream, images, n, dtype))


def _checked(
    op: str,
    seed: int,
    first_image: int,
    step: int,
    stream: int,
    images: int,
    n: int,
    dtype: DTypeLike,
) -> tuple[Any, ...]:
    kind = np.dtype(dtype)
    if kind not in _KINDS:
        raise DtypeError(f"{op}: dtype is {kind}; allowed: float32, float64")
    images = integer(op, "images", images, 0, 2**32)
    return (
        integer(op, "seed", seed, 0, 2**64 - 1),
        integer(op, "first_image", first_image, 0, 2**32 - images),
        integer(op, "step", step, 0, 2**32 - 1),
        integer(op, "stream", stream, 0, 2**32 - 1),
        images,
        integer(op, "n", n, 0, 2**34),
        kind,
    )
