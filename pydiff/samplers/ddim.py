"""DDIM: the non-Markovian family that runs from deterministic to ancestral sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number
from ..diffusion.process import posterior
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class DDIM(Sampler):
    """x_s = alpha_s x_0 + sqrt(sigma_s^2 - std^2) eps + std z, s < t.

    eta: std is eta times the standard deviation of q(x_s | x_t, x_0). 0 is deterministic, a first
    order solver of the probability-flow ODE; 1 has the variance of DDPM's fixed_small.
    eps_from_clipped: where the denoiser clips x_0, take eps from the clipped x_0 too, so that
    both describe one x_t (GLIDE; `use_clipped_model_output` of diffusers). By default eps is the
    model's own.
    """

    eta: float = 0.0
    eps_from_clipped: bool = False

    name: ClassVar[str] = "ddim"
    paper: ClassVar[str] = (
        "Song, Meng, Ermon 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502, "
        "eq. 12 and 16"
    )
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_number("eta", self.eta, high=1.0)

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0.0

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Equation 12, std from equation 16."""
        schedule = denoiser.schedule
        alpha, sigma = schedule.alpha(t_next), schedule.sigma(t_next)
        p = denoiser.predict(x, t)
        variance = self.eta**2 * posterior(schedule, t_next, t).variance if self.eta else 0.0
        direction = math.sqrt(max(sigma**2 - variance, 0.0))
        drawn = ((math.sqrt(variance), noise()),) if variance > 0.0 else ()
        if not self.eps_from_clipped:
            return Step(p.mix(alpha, direction, *drawn), p)
        return Step(p.mix(alpha, 0.0, (direction, p.noise_for(p.x0)), *drawn), p)
