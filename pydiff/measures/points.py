"""What all measures share: sets as rows of float64, and their distances block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..checks import is_integer
from ..errors import ConfigError, DtypeError, NonFiniteError, ShapeError

Features = Callable[[np.ndarray], Any]

_BLOCK = 1 << 21  # distances held at once: 16 MiB


def as_points(x: Any, name: str, least: int = 1) -> np.ndarray:
    """x (N, ...) as (N, D) float64.

    Raises DtypeError, ShapeError below `least` points, or NonFiniteError, each naming the set.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{name} has dtype {array.dtype}; it must be a real number type")
    if array.ndim < 1 or array.size == 0 or len(array) < least:
        raise ShapeError(f"{name} has shape {array.shape}; (N, ...) with N >= {least} is needed")
    points = array.reshape(len(array), -1).astype(np.float64)
    if not np.isfinite(points).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")
    return points


def as_pair(
    x: Any, y: Any, names: tuple[str, str] = ("x", "y"), least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of points of one dimension, moved together so that their mean is near zero."""
    a, b = as_points(x, names[0], least), as_points(y, names[1], least)
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"{names[0]} has {a.shape[1]} numbers per point, {names[1]} {b.shape[1]}; they must "
            "have the same"
        )
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b loses digits where the points are far from the origin
    centre = a.mean(axis=0)
    return a - centre, b - centre


def with_features(x: Any, features: Features | None) -> Any:
    """features(x), or x itself."""
    return x if features is None else features(np.asarray(x))


def checked_count(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer option in [low, high]; ConfigError otherwise."""
    if not is_integer(value) or value < low or (high is not None and value > high):
        most = "" if high is None else f", at most {high} (the points there are)"
        raise ConfigError(f"{name} = {value!r}; allowed: an integer >= {low}{most}")
    return int(value)


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows that hold at most `_BLOCK` numbers of `width` each."""
    rows = max(1, _BLOCK // max(width, 1))
    for first in range(0, count, rows):
        yield slice(first, min(first + rows, count))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|^2 (N, M) of points (N, D) and (M, D), never negative."""
    total = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)
    total -= 2.0 * (a @ b.T)
    return np.maximum(total, 0.0, out=total)


class Neighbours(NamedTuple):
    """Distances (N, k), nearest first, and which of the others they are, (N, k)."""

    distance: np.ndarray
    nearest: np.ndarray


def neighbours(a: np.ndarray, b: np.ndarray | None, k: int) -> Neighbours:
    """The k nearest of b (M, D) to each of a (N, D); b = None: of a itself, without the point."""
    other = a if b is None else b
    distance, index = np.empty((len(a), k)), np.empty((len(a), k), np.int64)
    for rows in blocks(len(a), len(other)):
        square = squared_distances(a[rows], other)
        if b is None:
            square[np.arange(len(square)), np.arange(rows.start, rows.stop)] = np.inf
        nearest = np.argpartition(square, k - 1, axis=1)[:, :k]
        # anew from the differences: equal points are at distance 0, not at the root of a rounding
        exact = np.linalg.norm(a[rows, None] - other[nearest], axis=2)
        order = np.argsort(exact, axis=1, kind="stable")
        distance[rows] = np.take_along_axis(exact, order, axis=1)
        index[rows] = np.take_along_axis(nearest, order, axis=1)
    return Neighbours(distance, index)
