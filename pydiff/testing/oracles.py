"""Exact answers to grade samplers by: data whose denoiser is known in closed form.

For data x_0 ~ sum_k w_k N(m_k, C_k), x_t = alpha x_0 + sigma eps is again a mixture, of
N(alpha m_k, alpha^2 C_k + sigma^2 I), so density, score and E[x_0 | x_t] are formulas at every
noise level.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..diffusion.denoiser import Denoiser
from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.parameterization import target
from ..errors import ConfigError, ShapeError


class GaussianMixture:
    """A mixture of K Gaussians in D dimensions, as the distribution of clean data.

    means (K, D); covariances (K, D, D) symmetric, positive semi-definite (low rank is allowed), or
    (K,) for isotropic ones; weights (K,), default equal. Everything is computed in float64.
    Methods take points (N, ...) with D numbers each and return arrays of that shape.
    """

    def __init__(self, means: Any, covariances: Any, weights: Any = None) -> None:
        self.means = np.atleast_2d(np.asarray(means, np.float64))
        count, dimension = self.means.shape
        covariances = np.asarray(covariances, np.float64)
        if covariances.ndim == 1:
            covariances = covariances[:, None, None] * np.eye(dimension)
        if covariances.shape != (count, dimension, dimension):
            raise ShapeError(
                f"covariances have shape {covariances.shape}; means {self.means.shape} need "
                f"({count},) or {(count, dimension, dimension)}"
            )
        self.weights = (
            np.full(count, 1.0 / count) if weights is None else np.asarray(weights, float)
        )
        if self.weights.shape != (count,) or not np.isclose(self.weights.sum(), 1.0):
            raise ConfigError(f"weights must be ({count},) and sum to 1, got {self.weights}")
        self.covariances = covariances
        values, self._axes = np.linalg.eigh(covariances)  # (K, D), (K, D, D), columns are axes
        if values.min() < -1e-12 * max(values.max(), 1.0):
            raise ConfigError(f"a covariance has the negative eigenvalue {values.min()}")
        self._variances = np.maximum(values, 0.0)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, D) exact draws of x_0."""
        generator = np.random.default_rng(seed)
        k = generator.choice(len(self.weights), n, p=self.weights)
        scaled = generator.standard_normal((n, self.means.shape[1])) * np.sqrt(self._variances[k])
        return self.means[k] + np.einsum("nij,nj->ni", self._axes[k], scaled)

    def log_density(self, x: np.ndarray, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
        """log q(x_t) at points x (N, ...): (N,)."""
        return np.logaddexp.reduce(self._components(x, alpha, sigma)[0], axis=0)

    def denoise(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """E[x_0 | x_t = x], the best denoiser there is, in the dtype and shape of x (N, ...)."""
        logs, offsets, variances = self._components(x, alpha, sigma)
        share = np.exp(logs - np.logaddexp.reduce(logs, axis=0))  # (K, N)
        pulled = offsets * (alpha * self._variances[:, None] / variances[:, None])
        x0 = self.means[:, None] + np.einsum("kij,knj->kni", self._axes, pulled)
        return np.einsum("kn,kni->ni", share, x0).reshape(x.shape).astype(x.dtype)

    def score(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """The gradient of log q(x_t) at x (N, ...), sigma > 0 (Tweedie's formula)."""
        return (alpha * self.denoise(x, alpha, sigma) - x) / sigma**2

    def denoiser(
        self, schedule: NoiseSchedule, prediction: str = "sample", clip: Any = None
    ) -> Denoiser:
        """The exact denoiser as a Denoiser whose model has any prediction type."""

        def model(x: np.ndarray, t: float) -> np.ndarray:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            x0 = self.denoise(x, alpha, sigma)
            eps = (x - alpha * x0) / sigma
            return target(prediction, x0, eps, alpha, sigma)

        return Denoiser(model, schedule, prediction, clip)

    def flow_map(self, x: np.ndarray, schedule: NoiseSchedule, t: float, s: float) -> np.ndarray:
        """x (N, ...) carried along the probability-flow ODE from t to s, for one Gaussian, exactly.

        In the eigenbasis each deviation from the mean grows with the standard deviation.
        """
        if len(self.weights) != 1:
            raise ConfigError("the probability-flow map has a closed form for one Gaussian only")
        levels = [(schedule.alpha(u), schedule.sigma(u)) for u in (t, s)]
        std_t, std_s = (np.sqrt(a * a * self._variances[0] + b * b) for a, b in levels)
        offset = (x.reshape(len(x), -1) - levels[0][0] * self.means[0]) @ self._axes[0]
        moved = (offset * (std_s / std_t)) @ self._axes[0].T + levels[1][0] * self.means[0]
        return moved.reshape(x.shape).astype(x.dtype)

    def _components(
        self, x: np.ndarray, alpha: float, sigma: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log w_k N(x; ...) (K, N), and in the eigenbases: offsets (K, N, D), variances (K, D)."""
        points = np.asarray(x, np.float64).reshape(len(x), -1)
        if points.shape[1] != self.means.shape[1]:
            raise ShapeError(
                f"x has shape {x.shape}; the data have {self.means.shape[1]} dimensions"
            )
        variances = alpha * alpha * self._variances + sigma * sigma
        offsets = np.einsum("knj,kji->kni", points - alpha * self.means[:, None], self._axes)
        logs = -0.5 * (
            (offsets**2 / variances[:, None]).sum(-1)
            + np.log(2.0 * math.pi * variances).sum(-1)[:, None]
        )
        return logs + np.log(self.weights)[:, None], offsets, variances
