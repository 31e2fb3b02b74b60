"""Whether a model repeats its training set: distances of its samples to the nearest of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .points import Features, as_pair, checked_count, neighbours, with_features


class NearestTraining(NamedTuple):
    """For each of N samples: distance (N,) to the nearest training point, which one that is,
    nearest (N,), and ratio (N,), that distance over the mean distance to the k nearest ones."""

    distance: np.ndarray
    nearest: np.ndarray
    ratio: np.ndarray

    def copies(self, threshold: float = 0.5) -> float:
        """The share of samples that are much nearer to one training point than to its neighbours.

        Carlini et al. 2023 (arXiv 2301.13188), section 5, with their alpha = 0.5, k = 50. Meant for
        images: among points in a plane the nearest of 50 is near for any sample.
        """
        return float((self.ratio < threshold).mean())


def nearest_training(
    samples: Any, training: Any, k: int = 50, features: Features | None = None
) -> NearestTraining:
    """Distances (Euclidean) of samples (N, ...) to a training set (M, ...), M >= k >= 2.

    A ratio near 0 is a copy, one near 1 says that the sample is as far from its nearest training
    point as from the next ones; where all k are at distance 0 it is 0. The distances of held-out
    data give the scale: a model that generalises is no nearer to its training set than they are.
    features as in `frechet_distance`. Raises ConfigError, ShapeError, NonFiniteError.
    """
    names = ("samples", "training")
    a, b = as_pair(with_features(samples, features), with_features(training, features), names)
    found = neighbours(a, b, checked_count("k", k, 2, len(b)))
    distance, mean = found.distance[:, 0], found.distance.mean(axis=1)
    ratio = np.divide(distance, mean, out=np.zeros_like(mean), where=mean > 0.0)
    return NearestTraining(distance, found.nearest[:, 0], ratio)
