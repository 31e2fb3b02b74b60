"""Euler's method with ancestral noise, and what all ancestral methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number
from .base import Noise, Predictor, Sampler, Step
from .levels import level
from .moves import ancestral, move


@dataclass(frozen=True)
class Ancestral(Sampler):
    """A sampler whose steps end with fresh noise.

    eta: the standard deviation of that noise, in units of that of q(x_s | x_t, x_0), and at most
    sigma; 0 is deterministic, 1 has the variance of DDPM's posterior. s_noise: a factor for the
    noise alone.

    Raising the level again is the forward process itself and exact in distribution, so the weak
    order is that of the step down.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        check_number("eta", self.eta)
        check_number("s_noise", self.s_noise)

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0.0

    def fresh(self, up: float, noise: Noise) -> tuple[tuple[float, np.ndarray], ...]:
        """The noise of standard deviation s_noise up, as a term of a sum; none if up is 0."""
        return ((up * self.s_noise, noise()),) if up else ()


@dataclass(frozen=True)
class EulerAncestral(Ancestral):
    """x' = alpha' x_0 + down eps + s_noise up z, down^2 + up^2 = sigma'^2.

    Euler's step to a lower noise level, then noise back up to the next one; on every schedule, with
    k-diffusion's numbers in sigma / alpha. Options: see Ancestral.
    """

    name: ClassVar[str] = "euler_ancestral"
    paper: ClassVar[str] = (
        "Crowson 2022, k-diffusion, sample_euler_ancestral; with eta = 1 the posterior of "
        "Ho et al. 2020, arXiv 2006.11239, eq. 6 and 7"
    )
    order: ClassVar[int] = 1

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Down along the flow, up by fresh noise."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        down, up = ancestral(start, end, self.eta)
        p = denoiser.predict(x, t)
        return Step(move(p, end.alpha, down, *self.fresh(up, noise)), p)
