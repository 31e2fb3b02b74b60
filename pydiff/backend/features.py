"""The features of times for the reference: `sinusoids`, `fourier` and `cast` in plain NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_quiet = np.errstate(all="ignore")  # infinities and NaN are results here, not surprises


@_quiet
def sinusoids(
    t: Array, frequency: Array, features: int, cosine_first: bool, dtype: np.dtype[Any]
) -> Array:
    angle = (t[:, None] * frequency).astype(np.float64)
    pair = [np.cos(angle), np.sin(angle)] if cosine_first else [np.sin(angle), np.cos(angle)]
    padding = np.zeros((len(t), features % 2))
    return np.concatenate([*pair, padding], axis=1).astype(np.float32).astype(dtype)


@_quiet
def fourier(t: Array, weight: Array) -> Array:
    log_t = np.log(t.astype(np.float64)).astype(t.dtype)
    angle = 2 * (log_t[:, None] * weight) * weight.dtype.type(math.pi)
    wide = angle.astype(np.float64)
    return np.concatenate([np.sin(wide), np.cos(wide)], axis=1).astype(weight.dtype)


@_quiet
def cast(x: Array, dtype: np.dtype[Any]) -> Array:
    return np.array(x, dtype, order="C")
