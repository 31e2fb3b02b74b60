"""Fidelity and diversity from balls that reach to the k-th neighbour."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .points import (
    Features,
    as_pair,
    blocks,
    checked_count,
    neighbours,
    squared_distances,
    with_features,
)

_NAMES = ("real", "generated")


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: generated points that look real, real points that are generated."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """density >= 0, about 1 for equal distributions; coverage in [0, 1]."""

    density: float
    coverage: float


def precision_recall(
    real: Any, generated: Any, k: int = 3, features: Features | None = None
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2).

    real (N, ...), generated (M, ...), k < N, M. A point belongs to a set if it lies in the ball of
    one of its points, which reaches to the k-th nearest other one. features as in
    `frechet_distance`. O(N M) time. Raises ConfigError, ShapeError, NonFiniteError.
    """
    a, b = as_pair(with_features(real, features), with_features(generated, features), _NAMES, 2)
    k = checked_count("k", k, 1, min(len(a), len(b)) - 1)
    precision = _counts(b, a, _radii(a, k)) > 0
    recall = _counts(a, b, _radii(b, k)) > 0
    return PrecisionRecall(float(precision.mean()), float(recall.mean()))


def density_coverage(
    real: Any, generated: Any, k: int = 5, features: Features | None = None
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, arXiv 2002.09797, eq. 4 and 5).

    Only balls about real points count, so an outlier among the generated ones inflates nothing:
    density is the mean number of real balls about a generated point over k, coverage the share of
    real points with a generated one in their ball. Arguments and errors as in `precision_recall`.
    """
    a, b = as_pair(with_features(real, features), with_features(generated, features), _NAMES)
    k = checked_count("k", k, 1, len(a) - 1)
    radii = _radii(a, k)
    density = float(_counts(b, a, radii).mean()) / k
    covered = neighbours(a, b, 1).distance[:, 0] <= radii
    return DensityCoverage(density, float(covered.mean()))


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Distances (N,) to the k-th nearest other point."""
    return neighbours(points, None, k).distance[:, -1]


def _counts(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """In how many of the balls each point lies."""
    counts = np.empty(len(points), np.int64)
    for rows in blocks(len(points), len(centres)):
        square = squared_distances(points[rows], centres)
        counts[rows] = (square <= radii**2).sum(axis=1)
    return counts
