"""The Fréchet distance between two sets as if they were Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from .points import Features, as_pair, with_features


def frechet_distance(x: Any, y: Any, features: Features | None = None) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) of x (N, ...) and y (M, ...), N, M >= 2.

    Heusel et al. 2017 (arXiv 1706.08500), eq. 6: the squared Wasserstein-2 distance of two
    Gaussians; with features = an Inception network it is FID. features: callable on the whole set,
    (N, ...) to (N, D); None compares the numbers themselves. Covariances have N - 1 in the
    denominator. Raises ShapeError, NonFiniteError.
    """
    a, b = as_pair(with_features(x, features), with_features(y, features), least=2)
    return frechet_of_moments(*_moments(a), *_moments(b))


def frechet_of_moments(mean_x: Any, cov_x: Any, mean_y: Any, cov_y: Any) -> float:
    """The same from means (D,) and covariances (D, D), symmetric and positive semi-definite."""
    means = [np.asarray(m, np.float64) for m in (mean_x, mean_y)]
    covs = [np.asarray(c, np.float64) for c in (cov_x, cov_y)]
    size = means[0].size
    if any(m.shape != (size,) for m in means) or any(c.shape != (size, size) for c in covs):
        raise ShapeError(
            f"means have shapes {means[0].shape}, {means[1].shape}, covariances {covs[0].shape}, "
            f"{covs[1].shape}; (D,) and (D, D) are needed"
        )
    # tr (C_x C_y)^(1/2) = tr (R C_y R)^(1/2) with R = C_x^(1/2): symmetric, so no complex roots
    values, axes = np.linalg.eigh(covs[0])
    root = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covs[1] @ root), 0.0)).sum()
    apart = float(((means[0] - means[1]) ** 2).sum())
    return max(0.0, apart + float(np.trace(covs[0]) + np.trace(covs[1]) - 2.0 * shared))


def _moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))
