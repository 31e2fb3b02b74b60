"""The Gaussian mixture: every question about it has a closed answer at every noise level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...diffusion.denoiser import Denoiser
from ...diffusion.noise_schedule import NoiseSchedule
from ...diffusion.parameterization import PREDICTIONS, target
from ...errors import ConfigError, ShapeError
from .bayes import LinearObservation, condition
from .covariance import Covariance, Factor, Spectral


class GaussianMixture:
    """A mixture of K Gaussians in D dimensions, as the distribution of clean data.

    For data x_0 ~ sum_k w_k N(m_k, C_k), x_t = alpha x_0 + sigma eps is again a mixture, of
    N(alpha m_k, alpha^2 C_k + sigma^2 I), so density, score and E[x_0 | x_t] are formulas at every
    noise level; K = 1 is a Gaussian. `from_factors` makes one of low rank for large D.

    means (K, D); covariances (K, D, D) symmetric, positive semi-definite (low rank is allowed), or
    (K,) for isotropic ones; weights (K,), default equal. Everything is computed in float64.
    Methods take points (N, ...) with D numbers each and return arrays of that shape and dtype.
    Raises ShapeError and ConfigError for arguments that are no mixture.
    """

    means: np.ndarray
    weights: np.ndarray

    def __init__(self, means: Any, covariances: Any, weights: Any = None) -> None:
        means = np.atleast_2d(np.asarray(means, np.float64))
        covariances = np.asarray(covariances, np.float64)
        count, dimension = means.shape
        parts: list[Covariance]
        if covariances.shape == (count,):
            parts = [Spectral(np.empty((dimension, 0)), np.empty(0), float(c)) for c in covariances]
        elif covariances.shape == (count, dimension, dimension):
            parts = [Spectral.of(c) for c in covariances]
        else:
            raise ShapeError(
                f"covariances have shape {covariances.shape}; means {means.shape} need "
                f"({count},) or {(count, dimension, dimension)}"
            )
        self._fill(means, parts, weights)

    @classmethod
    def from_factors(
        cls, means: Any, factors: Any, noise: Any, weights: Any = None
    ) -> GaussianMixture:
        """x = m_k + F_k z + n, z ~ N(0, I) and n ~ N(0, diag(noise_k)): cost O(D R), any D.

        means (K, D); factors (K, D, R); noise: variances, a number, (K,) or (K, D).
        """
        means = np.atleast_2d(np.asarray(means, np.float64))
        factors, noise = np.asarray(factors, np.float64), np.asarray(noise, np.float64)
        if factors.ndim != 3 or factors.shape[:2] != means.shape:
            raise ShapeError(
                f"factors have shape {factors.shape}; means {means.shape} need (K, D, R)"
            )
        if noise.ndim < 2 and noise.shape in ((), (len(means),)):
            isotropic = np.broadcast_to(noise, len(means))
            parts: list[Covariance] = [
                Spectral.of_factor(f, float(n)) for f, n in zip(factors, isotropic, strict=True)
            ]
        elif noise.shape == means.shape:
            parts = [Factor(f, n) for f, n in zip(factors, noise, strict=True)]
        else:
            raise ShapeError(f"noise has shape {noise.shape}; allowed: (), (K,) or {means.shape}")
        return cls._of(means, parts, weights)

    @classmethod
    def _of(cls, means: np.ndarray, parts: Sequence[Covariance], weights: Any) -> GaussianMixture:
        mixture = cls.__new__(cls)
        mixture._fill(means, parts, weights)
        return mixture

    def _fill(self, means: np.ndarray, parts: Sequence[Covariance], weights: Any) -> None:
        count = len(means)
        equal = np.full(count, 1.0 / count)
        weights = equal if weights is None else np.asarray(weights, np.float64)
        fits = weights.shape == (count,) and np.isclose(weights.sum(), 1.0) and (weights >= 0).all()
        if not fits:
            raise ConfigError(f"weights must be ({count},), >= 0, and sum to 1, got {weights}")
        self.means, self.weights, self._parts = means, weights, tuple(parts)
        isotropic = all(isinstance(part, Spectral) and not part.variances.size for part in parts)
        self._isotropic = np.array([part.spectral().rest for part in parts]) if isotropic else None

    @property
    def dimension(self) -> int:
        """D."""
        return self.means.shape[1]

    @property
    def covariances(self) -> np.ndarray:
        """C_k as (K, D, D), also where they are held as factors."""
        return np.stack([part.dense() for part in self._parts])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D) of the whole mixture."""
        mean = self.weights @ self.means
        offsets = self.means - mean
        inner = np.einsum("k,kij->ij", self.weights, self.covariances)
        return mean, inner + (self.weights[:, None] * offsets).T @ offsets

    def component(self, k: int) -> GaussianMixture:
        """The k-th Gaussian alone."""
        return self._of(self.means[k : k + 1], self._parts[k : k + 1], None)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, D) exact draws of x_0."""
        generator = np.random.default_rng(seed)
        k = generator.choice(len(self.weights), n, p=self.weights)
        x = self.means[k]
        for i, part in enumerate(self._parts):
            chosen = np.flatnonzero(k == i)
            x[chosen] += part.sample(len(chosen), generator)
        return x

    # ---------------------------------------------------------------- at a noise level

    def log_density(self, x: np.ndarray, alpha: float = 1.0, sigma: float = 0.0) -> np.ndarray:
        """log q(x_t) at points x (N, ...): (N,). ConfigError where there is no density."""
        return np.logaddexp.reduce(self._log_joint(self._points(x), alpha, sigma), axis=0)

    def log_component(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """log p(k | x_t) at points x (N, ...): (K, N), the perfect noise-aware classifier."""
        joint = self._log_joint(self._points(x), alpha, sigma)
        return joint - np.logaddexp.reduce(joint, axis=0)

    def denoise(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """E[x_0 | x_t = x], the best denoiser there is, in the dtype and shape of x (N, ...)."""
        points = self._points(x)
        if sigma == 0.0:
            return (points / alpha).reshape(x.shape).astype(x.dtype)
        if self._isotropic is not None:
            return self._isotropic_mean(points, alpha, sigma).reshape(x.shape).astype(x.dtype)
        share = np.exp(self.log_component(x, alpha, sigma))
        x0 = np.zeros_like(points)
        for weight, guess in zip(share, self._guesses(points, alpha, sigma), strict=True):
            x0 += weight[:, None] * guess
        return x0.reshape(x.shape).astype(x.dtype)

    def jacobian_product(
        self, x: np.ndarray, v: np.ndarray, alpha: float, sigma: float
    ) -> np.ndarray:
        """J v with J = d E[x_0 | x_t] / d x_t at x; x and v (N, ...), sigma > 0.

        J = alpha / sigma^2 Cov[x_0 | x_t] is symmetric, so this is v^T J too.
        """
        points, vectors = self._points(x), self._points(v)
        share = np.exp(self.log_component(x, alpha, sigma))
        guesses = list(self._guesses(points, alpha, sigma))
        mean = sum(w[:, None] * guess for w, guess in zip(share, guesses, strict=True))
        product = np.zeros_like(points)
        for weight, part, guess in zip(share, self._parts, guesses, strict=True):
            offset = guess - mean
            between = offset * (offset * vectors).sum(1, keepdims=True) / sigma**2
            product += weight[:, None] * (part.gain(vectors, alpha, sigma) + between)
        return (alpha * product).reshape(x.shape).astype(x.dtype)

    def score(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """The gradient of log q(x_t) at x (N, ...), sigma > 0 (Tweedie's formula)."""
        return (alpha * self.denoise(x, alpha, sigma) - x) / sigma**2

    def component_score(self, x: np.ndarray, k: int, alpha: float, sigma: float) -> np.ndarray:
        """The gradient of log p(k | x_t) at x (N, ...), sigma > 0: what a classifier gives."""
        one = self.component(k).denoise(x, alpha, sigma)
        return (alpha / sigma**2) * (one - self.denoise(x, alpha, sigma))

    def denoiser(
        self, schedule: NoiseSchedule, prediction: str = "sample", clip: Any = None
    ) -> Denoiser:
        """The exact denoiser as a Denoiser whose model has any prediction type, with its vjp."""

        def model(x: np.ndarray, t: float) -> np.ndarray:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            x0 = self.denoise(x, alpha, sigma)
            eps = (x - alpha * x0) / sigma
            return target(prediction, x0, eps, alpha, sigma)

        def vjp(x: np.ndarray, t: float, v: np.ndarray) -> np.ndarray:
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            from_x0, from_eps = PREDICTIONS[prediction].target(alpha, sigma)
            product = self.jacobian_product(x, v, alpha, sigma)
            return (from_x0 - from_eps * alpha / sigma) * product + (from_eps / sigma) * v

        return Denoiser(model, schedule, prediction, clip, vjp=vjp)

    def flow_map(self, x: np.ndarray, schedule: NoiseSchedule, t: float, s: float) -> np.ndarray:
        """x (N, ...) carried along the probability-flow ODE from t to s, for one Gaussian, exactly.

        In the eigenbasis each deviation from the mean grows with the standard deviation.
        """
        if len(self.weights) != 1:
            raise ConfigError("the probability-flow map has a closed form for one Gaussian only")
        spectral = self._parts[0].spectral()
        (alpha_t, along_t, across_t), (alpha_s, along_s, across_s) = (
            (schedule.alpha(u), *spectral.at(schedule.alpha(u), schedule.sigma(u))) for u in (t, s)
        )
        offset = self._points(x) - alpha_t * self.means[0]
        growth = np.sqrt(along_s / along_t), math.sqrt(across_s / across_t) if across_t else 0.0
        moved = spectral.apply(offset, *growth) + alpha_s * self.means[0]
        return moved.reshape(x.shape).astype(x.dtype)

    # ---------------------------------------------------------------- observations

    def posterior(self, a: Any, y: Any, noise_std: float = 0.0) -> GaussianMixture:
        """x_0 given y = A x_0 + noise_std n, n ~ N(0, I): again a mixture, by Bayes' rule.

        a: A as (M, D), with y of M numbers; or (D,) bool, the coordinates that are observed, with
        y of D numbers of which the others are not read (factors keep their low rank then).
        As x_t depends on y through x_0 alone, the denoiser of the posterior is the exact
        E[x_0 | x_t, y]. Raises ConfigError where p(y) has no density.
        """
        observation = LinearObservation.checked(a, y, noise_std, self.dimension)
        given = [
            condition(mean, part, observation)
            for mean, part in zip(self.means, self._parts, strict=True)
        ]
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights) + [one.log_evidence for one in given]
        weights = np.exp(logs - np.logaddexp.reduce(logs))
        means = np.stack([one.mean for one in given])
        return self._of(means, [one.covariance for one in given], weights)

    # ---------------------------------------------------------------- shared

    def _points(self, x: np.ndarray) -> np.ndarray:
        points = np.asarray(x, np.float64).reshape(len(x), -1)
        if points.shape[1] != self.dimension:
            raise ShapeError(f"x has shape {x.shape}; the data have {self.dimension} dimensions")
        return points

    def _log_joint(self, points: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """log w_k N(x; alpha m_k, alpha^2 C_k + sigma^2 I): (K, N)."""
        logs = np.empty((len(self.weights), len(points)))
        constant = self.dimension * math.log(2.0 * math.pi)
        for k, (mean, part) in enumerate(zip(self.means, self._parts, strict=True)):
            offset = points - alpha * mean
            solved, log_det = part.inverse(offset, alpha, sigma)
            logs[k] = -0.5 * ((offset * solved).sum(1) + log_det + constant)
        with np.errstate(divide="ignore"):
            return logs + np.log(self.weights)[:, None]

    def _isotropic_mean(self, points: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """E[x_0 | x_t] for C_k = v_k I: the same formulas along the longer axis, the points, which
        for many points of few dimensions is ten times as fast."""
        assert self._isotropic is not None
        across = np.ascontiguousarray(points.T)  # (D, N)
        variances = alpha * alpha * self._isotropic + sigma * sigma
        logs = np.empty((len(self.weights), len(points)))
        for k, mean in enumerate(self.means):
            logs[k] = ((across - alpha * mean[:, None]) ** 2).sum(0)
        logs *= -0.5 / variances[:, None]
        with np.errstate(divide="ignore"):
            logs += (np.log(self.weights) - 0.5 * self.dimension * np.log(variances))[:, None]
        share = np.exp(logs - logs.max(0))
        share /= share.sum(0)
        # E[x_0 | x_t, k] = m_k + g_k (x - alpha m_k)
        gains = alpha * self._isotropic / variances
        own = (1.0 - alpha * gains)[:, None] * self.means
        return (own.T @ share + (gains @ share) * across).T

    def _guesses(self, points: np.ndarray, alpha: float, sigma: float) -> Any:
        """E[x_0 | x_t, k] for each k."""
        for mean, part in zip(self.means, self._parts, strict=True):
            yield mean + alpha * part.gain(points - alpha * mean, alpha, sigma)
