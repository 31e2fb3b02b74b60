"""One Gaussian given a linear observation y = A x + noise: Bayes' rule in closed form."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...errors import ConfigError, ShapeError
from .covariance import Covariance, Factor, Spectral


class Conditioned(NamedTuple):
    """N(mean, covariance) given y, and log p(y)."""

    mean: np.ndarray
    covariance: Covariance
    log_evidence: float


class LinearObservation(NamedTuple):
    """y = rows x + N(0, variance I): rows (M, D), y (M,); or seen (D,) bool and y (D,)."""

    rows: np.ndarray | None
    seen: np.ndarray | None
    y: np.ndarray
    variance: float

    @classmethod
    def checked(cls, a: Any, y: Any, noise_std: float, dimension: int) -> LinearObservation:
        a, y = np.asarray(a), np.asarray(y, np.float64).reshape(-1)
        masked = a.dtype == bool
        fits = a.size == dimension if masked else a.ndim == 2 and a.shape[1] == dimension
        if not fits:
            raise ShapeError(
                f"A has shape {a.shape}; the data have {dimension} dimensions, so it must be "
                f"(M, {dimension}), or {dimension} bools"
            )
        wanted = dimension if masked else len(a)
        if y.size != wanted:
            raise ShapeError(f"y has {y.size} numbers; A of shape {a.shape} needs {wanted}")
        if not 0.0 <= noise_std < math.inf:
            raise ConfigError(f"noise_std = {noise_std}; allowed: a number >= 0")
        if masked:
            return cls(None, a.reshape(-1), y, noise_std**2)
        return cls(a.astype(np.float64), None, y, noise_std**2)


def condition(mean: np.ndarray, covariance: Covariance, given: LinearObservation) -> Conditioned:
    """x ~ N(mean, covariance) given y."""
    if given.rows is not None:
        return observe(mean, covariance, given.rows, given.y, given.variance)
    assert given.seen is not None
    factor = covariance.factored()
    if factor is not None and factor.noise.min() + given.variance > 0.0:
        return observe_some(mean, factor, given.seen, given.y, given.variance)
    rows = np.eye(len(mean))[given.seen]
    return observe(mean, covariance, rows, given.y[given.seen], given.variance)


def observe(
    mean: np.ndarray, covariance: Covariance, rows: np.ndarray, y: np.ndarray, variance: float
) -> Conditioned:
    """x ~ N(mean, C) given y = rows x + N(0, variance I): Kalman's update; rows (M, D), y (M,)."""
    spread = covariance.multiply(rows)  # A C (M, D)
    marginal = spread @ rows.T + variance * np.eye(len(rows))
    residual = y - rows @ mean
    try:
        root = np.linalg.cholesky(marginal)
    except np.linalg.LinAlgError:
        raise ConfigError(
            "the observation is degenerate: A C A^T + noise_std^2 I is singular; pass noise_std > 0"
            " or leave out the rows of A that follow from others"
        ) from None
    white = np.linalg.solve(root, np.column_stack([residual, spread]))
    moved = mean + white[:, 1:].T @ white[:, 0]
    left = covariance.dense() - white[:, 1:].T @ white[:, 1:]
    log_evidence = _log_normal(float((white[:, 0] ** 2).sum()), 2 * np.log(np.diag(root)).sum(), y)
    return Conditioned(moved, Spectral.of(0.5 * (left + left.T)), log_evidence)


def observe_some(
    mean: np.ndarray, factor: Factor, seen: np.ndarray, y: np.ndarray, variance: float
) -> Conditioned:
    """The same where the coordinates seen (D,) bool are observed: the result keeps its low rank.

    x = mean + F z + own. Given z the coordinates are independent, so z | y is a Gaussian of R
    numbers, and each coordinate moves from mean + F z towards its y by the share of its own noise.
    """
    f, own = factor.factor, factor.noise
    total = own[seen] + variance
    scaled = f[seen] / total[:, None]
    precision = np.eye(f.shape[1]) + f[seen].T @ scaled
    residual = y[seen] - mean[seen]
    pulled = residual @ scaled
    z = np.linalg.solve(precision, pulled)
    gain = np.zeros_like(own)
    gain[seen] = own[seen] / total
    moved = mean + f @ z
    moved[seen] += gain[seen] * (y[seen] - moved[seen])
    root = np.linalg.inv(np.linalg.cholesky(precision)).T  # root root^T = precision^-1
    log_det = np.linalg.slogdet(precision)[1] + np.log(total).sum()
    square = float((residual**2 / total).sum() - pulled @ z)
    left = Factor((1.0 - gain)[:, None] * (f @ root), (1.0 - gain) * own)
    return Conditioned(moved, left, _log_normal(square, log_det, residual))


def _log_normal(square: float, log_det: float, y: np.ndarray) -> float:
    return -0.5 * (square + float(log_det) + y.size * math.log(2.0 * math.pi))
