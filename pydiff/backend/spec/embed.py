"""Features of times: sines and cosines of fixed frequencies, computed as the networks have it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...errors import DtypeError, ShapeError
from ..registry import active
from .checks import Array, array, arrays, expect, expect_ndim, integer

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def sinusoids(
    t: Array,
    frequency: Array,
    features: int,
    cosine_first: bool = False,
    dtype: DTypeLike = np.float32,
) -> Array:
    """[sin(a), cos(a)] of the angles a = t frequency (Vaswani et al. 2017).

    t (N,) integers or floats and frequency (features // 2,) are rounded to float32, and so are a
    and the result (N, features), which comes in `dtype`; `cosine_first` swaps the halves; an odd
    last column is 0.
    """
    features = integer("sinusoids", "features", features, 0)
    (frequency,) = arrays("sinusoids", frequency=frequency)
    frequency = np.require(frequency, np.float32)
    expect("sinusoids", "frequency", frequency, (features // 2,))
    kind = _dtype("sinusoids", dtype)
    times = np.require(_times("sinusoids", t), np.float32)
    return active().sinusoids(times, frequency, features, bool(cosine_first), kind)


def fourier(t: Array, weight: Array) -> Array:
    """[sin(a), cos(a)] of a = 2 pi log(t) weight (Tancik et al. 2020).

    t (N,) > 0, integers or floats, weight (F,) -> (N, 2 F) in the dtype of weight. log(t) is
    rounded to float32 unless t is float64, a to the wider dtype of that and weight.
    """
    (weight,) = arrays("fourier", weight=weight)
    expect_ndim("fourier", "weight", weight, "F")
    return active().fourier(_times("fourier", t), weight)


def cast(x: Array, dtype: DTypeLike) -> Array:
    """A copy of x (...) in float32 or float64."""
    return active().cast(array("cast", "x", x), _dtype("cast", dtype))


def _times(op: str, t: Any) -> Array:
    """`t` (N,) contiguous, float64 if it was that, else float32."""
    t = np.asarray(t)
    if t.dtype.kind not in "iuf":
        raise DtypeError(f"{op}: t has dtype {t.dtype}; integers or floats are needed")
    if t.ndim != 1:
        raise ShapeError(f"{op}: t has shape {t.shape}; give one time for each image (N,)")
    wide = t.dtype.kind == "f" and t.dtype.itemsize == 8
    return np.require(t, np.float64 if wide else np.float32, ("C", "A"))


def _dtype(op: str, dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind not in _FLOATS:
        raise DtypeError(f"{op}: dtype is {kind}; allowed: float32, float64")
    return kind
