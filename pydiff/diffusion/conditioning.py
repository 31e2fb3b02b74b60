"""Sampling given an observation y = A x_0 + noise: wrappers that correct a Denoiser's x_0.

With x_0 | x_t ~ N(x0, V) and R = noise_std^2 I, Bayes' rule says

    E[x_0 | x_t, y] = x0 + V A^T (A V A^T + R)^-1 (y - A x0).

The true V is sigma^2 / alpha dx0/dx_t (Tweedie's formula for the second moment), and adding the
gradient of log p(y | x_t) to the score has the same form. The methods differ in their V:

    DDNM            V = r^2 I on both sides: no derivative
    PiGDM           r^2 I inside the inverse, the true V before it: one derivative
    MomentMatching  the true V on both sides: exact where x_0 | x_t is Gaussian

r^2 = v sigma^2 / (v alpha^2 + sigma^2) is the variance of x_0 | x_t for data N(0, v I). How biased
each is has been measured: docs/conditioning.md. Methods that change the state are in `samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import check_count, check_finite, check_positive
from ..errors import ConfigError, ShapeError
from .denoiser import Predictor, Pullback
from .guidance import Guidance, linearize
from .operators import Operator, conjugate_gradients, inner_products
from .prediction import Prediction


@dataclass(frozen=True, eq=False)
class Observation:
    """y = operator(x_0) + noise_std n, n ~ N(0, I).

    y: (N, ...) as `operator.apply` returns it, or (1, ...) for the same in all images.
    noise_std: >= 0, in the units of y; 0 is exact.
    Raises NonFiniteError and ConfigError.
    """

    operator: Operator
    y: np.ndarray
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.operator, Operator):
            raise ConfigError(f"operator must be an Operator, got {type(self.operator).__name__}")
        if not check_finite("noise_std", self.noise_std) >= 0.0:
            raise ConfigError(f"noise_std = {self.noise_std}; allowed: a number >= 0")
        object.__setattr__(self, "y", self.operator.observed(self.y))

    def residual(self, x0: np.ndarray) -> np.ndarray:
        """y - A x_0 (N, ...) in the dtype of x0."""
        seen = self.operator.apply(x0)
        return self._like(seen) - seen

    def impose(self, x0: np.ndarray) -> np.ndarray:
        """The x_0 nearest to the given one that gives y exactly; with a Mask bit for bit y."""
        self._like(self.operator.apply(x0))
        return self.operator.impose(x0, self.y.astype(x0.dtype, copy=False))

    def _like(self, seen: np.ndarray) -> np.ndarray:
        if self.y.shape[1:] != seen.shape[1:] or len(self.y) not in (1, len(seen)):
            raise ShapeError(
                f"y has shape {self.y.shape}; the operator gives {seen.shape} for this x"
            )
        return self.y.astype(seen.dtype, copy=False)


class _Conditioned(Guidance):
    """What the three wrappers share; their `predict` differs."""

    def __init__(
        self, denoiser: Predictor, observation: Observation, data_variance: float = 1.0
    ) -> None:
        super().__init__(denoiser)
        if not isinstance(observation, Observation):
            raise ConfigError(
                f"observation must be an Observation, got {type(observation).__name__}"
            )
        self.observation = observation
        self.data_variance = check_positive("data_variance", data_variance)

    def _spread(self, p: Prediction) -> float:
        """r^2, kept above 0."""
        variance = max(p.sigma**2, 1e-24)
        return self.data_variance * variance / (self.data_variance * p.alpha**2 + variance)

    def _projected(self, p: Prediction) -> Prediction:
        """DDNM's correction."""
        seen = self.observation
        if seen.noise_std == 0.0:
            return self._with(p, seen.impose(p.raw_x0))
        return self._with(p, p.raw_x0 + seen.operator.transpose(self._whitened(p)[1]))

    def _whitened(self, p: Prediction) -> tuple[np.ndarray, np.ndarray]:
        """y - A x0, and r^2 (r^2 A A^T + R)^-1 of it."""
        seen = self.observation
        residual = seen.residual(p.raw_x0)
        return residual, seen.operator.solve(residual, 1.0, seen.noise_std**2 / self._spread(p))


class DDNM(_Conditioned):
    """Null-space projection: what y determines of x_0 is taken from y, the rest from the denoiser.

    Wang, Yu, Zhang 2023, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model",
    arXiv 2212.00490, Algorithm 1; with noise_std > 0 the correction shrinks as V = r^2 I implies.
    Noise-free, every x_0 has A x_0 = y, and with a Mask a run to clean data returns y bit for bit.

    data_variance: v, that of a number of the data. No derivative of the model is needed.
    """

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """The corrected x_0 at x (N, ...), time t."""
        return self._projected(self.denoiser.predict(x, t))


class PiGDM(_Conditioned):
    """Pseudo-inverse guidance: the gradient of log N(y; A x0(x_t), r^2 A A^T + R).

    Song, Vahdat, Mardani, Kautz 2023, "Pseudoinverse-Guided Diffusion Models for Inverse Problems"
    (ICLR), section 3, added to the score. Noise-free y is met in the limit, not exactly:
    `observation.impose` the result where it must be. At alpha = 0 it is DDNM, as the derivative
    says nothing there.

    data_variance: v. Needs a denoiser with a derivative (`Denoiser.linearize`).
    """

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """The guided x_0 at x (N, ...), time t: one model evaluation, one derivative."""
        return self.guided(*linearize(self.denoiser, x, t))[0]

    def guided(self, p: Prediction, pull: Pullback) -> tuple[Prediction, np.ndarray]:
        """p guided, and (N,) float64: log N(y; A x0, r^2 A A^T + R) but for a constant."""
        spread = self._spread(p)
        residual, inner = self._whitened(p)
        log_likelihood = -0.5 / spread * inner_products(residual, inner)
        if p.alpha == 0.0:
            return self._projected(p), log_likelihood
        gain = p.sigma**2 / (p.alpha * spread)
        moved = p.raw_x0 + gain * pull(self.observation.operator.transpose(inner))
        return self._with(p, moved), log_likelihood


class MomentMatching(_Conditioned):
    """Bayes' rule with the covariance of x_0 | x_t that the denoiser's derivative gives.

    Boys et al. 2023, "Tweedie Moment Projected Diffusions for Inverse Problems", arXiv 2310.06721,
    solved by conjugate gradients without forming V, as Rozet et al. 2024, arXiv 2405.13712.
    Exact for Gaussian data, so that samples have the mean and covariance of the posterior; for
    other data it is the best Gaussian approximation of x_0 | x_t. At alpha = 0 it is DDNM.

    iterations, tolerance: when the solver stops; each iteration costs one derivative. As many
        iterations as y has numbers are exact. Networks only approximate a symmetric derivative, so
        few iterations are also safer.
    """

    def __init__(
        self,
        denoiser: Predictor,
        observation: Observation,
        iterations: int = 10,
        tolerance: float = 1e-5,
        data_variance: float = 1.0,
    ) -> None:
        super().__init__(denoiser, observation, data_variance)
        self.iterations = check_count("iterations", iterations)
        self.tolerance = check_finite("tolerance", tolerance)

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """The posterior mean of x_0 at x (N, ...), time t."""
        p, pull = linearize(self.denoiser, x, t)
        if p.alpha == 0.0:
            return self._projected(p)
        seen, noise = self.observation, self.observation.noise_std**2
        spread = p.sigma**2 / p.alpha

        def product(v: np.ndarray) -> np.ndarray:
            return spread * seen.operator.apply(pull(seen.operator.transpose(v))) + noise * v

        inner = conjugate_gradients(
            product, seen.residual(p.raw_x0), self.iterations, self.tolerance
        )
        return self._with(p, p.raw_x0 + spread * pull(seen.operator.transpose(inner)))
