"""Distances along lines, where sorting solves them exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import random
from ..checks import is_number
from ..errors import ConfigError
from .points import as_pair, blocks, checked_count


def wasserstein_1d(a: Any, b: Any, p: float = 2.0) -> float:
    """W_p of two sets of numbers (N,) and (M,): (integral of |F^-1 - G^-1|^p)^(1/p), exactly.

    p >= 1. Raises ConfigError, ShapeError unless each point is one number, NonFiniteError.
    """
    first, second = as_pair(a, b, ("a", "b"))
    if first.shape[1] != 1:
        raise ConfigError(f"a has {first.shape[1]} numbers per point; use sliced_wasserstein")
    cost = _transport(np.sort(first[:, 0]), np.sort(second[:, 0]), _checked_p(p))
    return cost ** (1.0 / p)


def sliced_wasserstein(
    x: Any, y: Any, p: float = 2.0, directions: int = 128, seed: int = 0
) -> float:
    """The p-mean over random directions of W_p of the projections of x (N, ...) and y (M, ...).

    Bonneel, Rabin, Peyré, Pfister 2015, "Sliced and Radon Wasserstein Barycenters of Measures",
    J. Math. Imaging Vis. 51, section 3. The directions are uniform on the sphere and depend on
    (seed, their number) alone; each projection is solved exactly, O(N log N).
    Raises ConfigError, ShapeError, NonFiniteError.
    """
    p, costs = _checked_p(p), []
    for first, second in _projections(x, y, directions, seed):
        costs.append(_transport(first, second, p))
    return float(np.mean(costs)) ** (1.0 / p)


def sliced_energy(x: Any, y: Any, directions: int = 128, seed: int = 0) -> float:
    """The energy distance (see `energy_distance`) of large sets, by projections: O(N log N).

    In one dimension it is 2 integral (F - G)^2 (Székely & Rizzo 2013, J. Stat. Plan. Inference
    143, section 2), and |u| is the mean of |theta . u| over directions up to a constant; so the
    mean over random directions is an unbiased estimate of the distance between the two sets,
    exact in one dimension. x (N, ...), y (M, ...); errors as in `sliced_wasserstein`.
    """
    values = [_cramer(first, second) for first, second in _projections(x, y, directions, seed)]
    dimension = math.prod(np.shape(x)[1:])
    # E |theta . u| = |u| Gamma(d / 2) / (sqrt(pi) Gamma((d + 1) / 2))
    log_mean = math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)
    return 2.0 * float(np.mean(values)) * math.sqrt(math.pi) * math.exp(-log_mean)


def _projections(
    x: Any, y: Any, directions: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both sets along each direction, sorted."""
    count = checked_count("directions", directions, 1)
    a, b = as_pair(x, y)
    axes = random.normal(seed, (count, a.shape[1]), stream="data", dtype=np.float64)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for rows in blocks(count, len(a) + len(b)):
        along = np.sort(axes[rows] @ a.T, axis=1), np.sort(axes[rows] @ b.T, axis=1)
        yield from zip(*along, strict=True)


def _transport(a: np.ndarray, b: np.ndarray, p: float) -> float:
    """W_p^p of sorted numbers (N,) and (M,)."""
    if len(a) == len(b):
        return float((np.abs(a - b) ** p).mean())
    # Both quantile functions are steps: those of a jump at i M, those of b at j N, in units of
    # 1 / (N M), which are whole numbers.
    n, m = len(a), len(b)
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths = np.diff(ends, prepend=0) / (n * m)
    gaps = np.abs(a[(ends - 1) // m] - b[(ends - 1) // n])
    return float((widths * gaps**p).sum())


def _cramer(a: np.ndarray, b: np.ndarray) -> float:
    """The integral of (F - G)^2 for sorted numbers (N,) and (M,)."""
    both = np.concatenate((a, b))
    order = np.argsort(both, kind="stable")
    steps = np.where(order < len(a), 1.0 / len(a), -1.0 / len(b))
    return float((np.cumsum(steps)[:-1] ** 2 * np.diff(both[order])).sum())


def _checked_p(p: Any) -> float:
    if not is_number(p) or not 1.0 <= p < math.inf:
        raise ConfigError(f"p = {p!r}; allowed: a number >= 1")
    return float(p)
