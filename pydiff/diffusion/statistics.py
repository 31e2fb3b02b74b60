"""What the likelihoods share: their input checked, standard errors, bits, dequantisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..checks import check_count
from ..errors import ConfigError, NonFiniteError, ShapeError
from .noise_schedule import as_float


def standard_error(values: np.ndarray, axis: int = 0) -> Any:
    """Of the mean of values along an axis; NaN where that holds one value."""
    count = values.shape[axis]
    if count < 2:
        return np.full_like(values.take(0, axis), np.nan)
    return values.std(axis, ddof=1) / math.sqrt(count)


def bits_per_dim(log_prob: Any, dimension: int, spacing: float = 1.0) -> Any:
    """-log2 of the probability, per dimension, of values that lie `spacing` apart.

    log_prob: log-density in nats, a number or (N,), of data dequantised by `dequantize`; a cell
    has the volume spacing^dimension. For images of 256 levels in [-1, 1] spacing is 2 / 256; with
    spacing = 1 it is the density itself in bits (Theis et al. 2016, arXiv 1511.01844, section 3.1).
    """
    if dimension < 1 or not 0.0 < spacing < math.inf:
        raise ConfigError(f"dimension = {dimension!r}, spacing = {spacing!r}: both must be > 0")
    nats = np.asarray(log_prob, np.float64) / dimension + math.log(spacing)
    return -nats / math.log(2.0)


def dequantize(images: np.ndarray, seed: int = 0, bins: int = 256) -> np.ndarray:
    """Uniform dequantisation: each level k of `bins` becomes uniform over its cell of [-1, 1].

    images (N, ...) in [-1, 1] hold k / (bins - 1) * 2 - 1; the result, in their dtype (float64
    stays, else float32), is (k + u) / bins * 2 - 1, u uniform in (0, 1), keyed by (seed, image). A
    density's mean log of it is at most the log-probability of the levels (Theis et al. 2016).
    Raises ConfigError unless the images are such levels.
    """
    x, count = checked_images(images), check_bins(bins)
    levels = np.rint((x + 1.0) * (0.5 * (count - 1)))
    if np.abs(levels * (2.0 / (count - 1)) - 1.0 - x).max() > 1e-5 or np.abs(x).max() > 1.0 + 1e-5:
        raise ConfigError(f"dequantize: the images do not hold {count} even levels in [-1, 1]")
    u = random.uniform(seed, x.shape, stream="data", dtype=x.dtype)
    return ((levels + u) * (2.0 / count) - 1.0).astype(x.dtype, copy=False)


def checked_images(x0: Any) -> np.ndarray:
    """x0 as floats (N, ...), finite and not empty."""
    x0 = as_float(x0, "x0")
    if x0.ndim < 2 or not x0.size:
        raise ShapeError(f"x0 has shape {x0.shape}; it must be (N, ...), not empty")
    if not np.isfinite(x0).all():
        raise NonFiniteError("x0 holds NaN or infinity")
    return x0


def check_bins(bins: Any) -> int:
    """A number of levels, or a ConfigError."""
    return check_count("bins", bins, 2, 65536)
