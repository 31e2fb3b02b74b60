"""Twisted sequential Monte Carlo: guided particles that are weighted until they are exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..checks import check_choice, check_number
from ..diffusion.conditioning import Observation, PiGDM
from ..diffusion.guidance import linearize
from ..diffusion.operators import inner_products
from ..diffusion.parameterization import combine
from ..diffusion.process import posterior, transition
from ..errors import ConfigError, ShapeError
from .base import Noise, Predictor, Sampler, Step


class _Weights(NamedTuple):
    """log_weights: (N,), all but the likelihood of the particles' present x. end: the last time."""

    log_weights: np.ndarray | float
    end: float


@dataclass(frozen=True, eq=False)
class TwistedSMC(Sampler):
    """Posterior samples for any data, exact in the limit of many particles and steps.

    The batch is one set of particles for one y: image i does depend on the others. Each takes
    ancestral steps guided by PiGDM; its weight collects p(x_s | x_t) / q(x_s | x_t) and the growth
    of the twisting function psi_t = N(y; A x0(x_t), r^2 A A^T + R), which becomes the likelihood.
    Where the effective sample size falls below ess_threshold N, and at the end, particles are drawn
    anew by their weights (systematic resampling), so the result is an unweighted sample.

    observation: y of one image, (1, ...). data_variance: v of PiGDM. variance: that of the steps,
    as in DDPM. The more numbers y has and the smaller noise_std, the more particles it takes:
    measured in docs/conditioning.md. Needs a denoiser with a derivative.
    """

    observation: Observation
    data_variance: float = 1.0
    ess_threshold: float = 0.5
    variance: str = "fixed_large"

    name: ClassVar[str] = "twisted_smc"
    paper: ClassVar[str] = (
        "Wu, Trippe, Naesseth, Blei, Cunningham 2023, Practical and Asymptotically Exact "
        "Conditional Sampling in Diffusion Models, arXiv 2306.17775, Algorithm 1"
    )
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.observation, Observation):
            raise ConfigError(
                f"observation must be an Observation, got {type(self.observation).__name__}"
            )
        if len(self.observation.y) != 1:
            raise ShapeError(
                f"y has shape {self.observation.y.shape}; particles share one (1, ...)"
            )
        check_number("ess_threshold", self.ess_threshold, high=1.0)
        check_choice("variance", self.variance, ("fixed_small", "fixed_large"))

    def start(self, times: Sequence[float]) -> _Weights:
        """Equal weights."""
        return _Weights(0.0, times[-1])

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: _Weights,
        noise: Noise,
    ) -> Step:
        """Weigh, resample where needed, and take the guided ancestral step."""
        guide = PiGDM(denoiser, self.observation, self.data_variance)
        p, pull = linearize(denoiser, x, t)
        guided, log_psi = guide.guided(p, pull)
        logs, ending = state.log_weights + log_psi, t_next == state.end
        x0, plain = guided.x0, p.x0
        if ending or _effective(logs) < self.ess_threshold * len(x):
            chosen = _systematic(logs, noise())
            x, x0, plain, log_psi = x[chosen], x0[chosen], plain[chosen], log_psi[chosen]
            logs = np.zeros(len(x))
        mean = posterior(denoiser.schedule, t_next, t)
        if mean.variance == 0.0:
            return Step(combine((mean.from_x, mean.from_x0), (x, x0)), x0, state)
        variance = mean.variance
        if self.variance == "fixed_large":
            variance = transition(denoiser.schedule, t_next, t).variance
        z, std = noise(), math.sqrt(variance)
        shift = mean.from_x0 * (x0 - plain)
        # log p - log q at q's mean + std z, where p's mean is that of q less the shift
        ratio = -inner_products(shift, shift + 2.0 * std * z) / (2.0 * variance)
        moved = combine((mean.from_x, mean.from_x0, std), (x, x0, z))
        return Step(moved, x0, _Weights(logs + ratio - log_psi, state.end))


def _effective(logs: np.ndarray) -> float:
    """The effective sample size 1 / sum w^2."""
    weights = np.exp(logs - logs.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def _systematic(logs: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Indices (N,) drawn by weight, each within 1 of N times its share; z: one normal number in it.

    Kitagawa 1996, "Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models".
    """
    weights = np.exp(logs - logs.max())
    uniform = 0.5 * (1.0 + math.erf(float(z.flat[0]) / math.sqrt(2.0)))
    ladder = np.cumsum(weights / weights.sum())
    rungs = (np.arange(len(logs)) + uniform) / len(logs)
    return np.minimum(np.searchsorted(ladder, rungs), len(logs) - 1)
