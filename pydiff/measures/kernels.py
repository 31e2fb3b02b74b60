"""Energy distance and maximum mean discrepancy: means over all pairs, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .points import as_pair, blocks, squared_distances

_MEDIAN_POINTS = 2000  # of each set: enough to know the median of all distances to some percent


def energy_distance(x: Any, y: Any) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| for sets x (N, ...) and y (M, ...), N, M >= 2.

    Székely & Rizzo 2013, "Energy statistics: a class of statistics based on distances", J. Stat.
    Plan. Inference 143, eq. 2.5. Unbiased (pairs of a point with itself are left out), so it may
    fall below 0 where the distributions are equal. O(N M) time; for large sets `sliced_energy`.
    Raises ShapeError, NonFiniteError.
    """
    a, b = as_pair(x, y, least=2)
    within, between = _within(a, np.sqrt) + _within(b, np.sqrt), _between(a, b, np.sqrt)
    return 2.0 * between - within


def mmd(x: Any, y: Any, bandwidths: float | Sequence[float] | None = None) -> float:
    """Squared maximum mean discrepancy, unbiased, of x (N, ...) and y (M, ...), N, M >= 2.

    Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13, eq. 3, with the mean over bandwidths h
    of exp(-|u|^2 / (2 h^2)). By default h is the median distance of up to 2000 points of each set
    (section 8 there). It may fall below 0 where the distributions are equal.
    Raises ConfigError, ShapeError, NonFiniteError.
    """
    a, b = as_pair(x, y, least=2)
    widths = [_median(a, b)] if bandwidths is None else _checked_widths(bandwidths)
    if bandwidths is None and widths[0] == 0.0:
        raise ConfigError("at least half of all points are equal, so the median distance is 0; "
                          "pass bandwidths")  # fmt: skip
    scales = [-0.5 / h**2 for h in widths]

    def kernel(square: np.ndarray) -> np.ndarray:
        return np.mean([np.exp(scale * square) for scale in scales], axis=0)

    return _within(a, kernel) + _within(b, kernel) - 2.0 * _between(a, b, kernel)


def _between(a: np.ndarray, b: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> float:
    """The mean of `of` |a_i - b_j|^2 over all pairs."""
    total = [of(squared_distances(a[rows], b)).sum() for rows in blocks(len(a), len(b))]
    return math.fsum(total) / (len(a) * len(b))


def _within(a: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> float:
    """The mean of `of` |a_i - a_j|^2 over pairs of different points."""
    total = []
    for rows in blocks(len(a), len(a)):
        values = of(squared_distances(a[rows], a))
        values[np.arange(len(values)), np.arange(rows.start, rows.stop)] = 0.0
        total.append(values.sum())
    return math.fsum(total) / (len(a) * (len(a) - 1))


def _median(a: np.ndarray, b: np.ndarray) -> float:
    both = np.concatenate([s[:: -(-len(s) // _MEDIAN_POINTS)] for s in (a, b)])
    square = squared_distances(both, both)
    return math.sqrt(float(np.median(square[np.triu_indices(len(both), 1)])))


def _checked_widths(bandwidths: float | Sequence[float]) -> list[float]:
    widths = np.atleast_1d(np.asarray(bandwidths, np.float64))
    if widths.ndim != 1 or not widths.size or not ((widths > 0) & np.isfinite(widths)).all():
        raise ConfigError(f"bandwidths = {bandwidths!r}; allowed: positive numbers")
    return widths.tolist()
