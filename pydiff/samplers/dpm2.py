"""DPM2: the midpoint method for the probability-flow ODE, without and with ancestral noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..diffusion.parameterization import combine
from .base import Noise, Predictor, Step
from .churn import Churned
from .euler_ancestral import Ancestral
from .levels import level
from .moves import ask_midway, ends, implied_noise, midpoint, move


@dataclass(frozen=True)
class DPM2(Churned):
    """x' = x + (alpha' - alpha) x_0 + (sigma' - sigma) eps, both predicted in mid-step.

    The middle is halfway in log(sigma / alpha), reached by a step of Euler. For alpha = 1 it is
    k-diffusion's sample_dpm_2. A step onto clean data is Euler's. Options: see Churned.
    """

    name: ClassVar[str] = "dpm2"
    paper: ClassVar[str] = (
        "Karras et al. 2022, arXiv 2206.00364, Algorithm 2, with the midpoint of Lu et al. 2022, "
        "DPM-Solver, arXiv 2206.00927, Algorithm 1 (Crowson 2022, k-diffusion)"
    )
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Euler to the middle, and from the start with what is predicted there."""
        schedule = denoiser.schedule
        x, t = self.churned(schedule, x, t, state, noise)
        start, end = level(schedule, t), level(schedule, t_next)
        p = denoiser.predict(x, t)
        if end.sigma == 0.0:
            return Step(move(p, end.alpha, end.sigma), p.x0, state)
        q = ask_midway(denoiser, p, midpoint(schedule, start, end, end.sigma))
        coefficients = (1.0, end.alpha - start.alpha, end.sigma - start.sigma)
        return Step(combine(coefficients, (x, q.x0, implied_noise(q))), p.x0, state)


@dataclass(frozen=True)
class DPM2Ancestral(Ancestral):
    """DPM2 to a lower noise level, then noise back up to the next one.

    For alpha = 1 it is k-diffusion's sample_dpm_2_ancestral. Options: see Ancestral.
    """

    name: ClassVar[str] = "dpm2_ancestral"
    paper: ClassVar[str] = (
        "Crowson 2022, k-diffusion, sample_dpm_2_ancestral; midpoint of Lu et al. 2022, "
        "DPM-Solver, arXiv 2206.00927, Algorithm 1"
    )
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The midpoint step, then noise; Euler's step where the lower level is clean data."""
        start, end, down, up = ends(denoiser.schedule, t, t_next, self.eta)
        p = denoiser.predict(x, t)
        if down == 0.0:
            return Step(self.raised((end.alpha,), (p.x0,), up, noise), p.x0)
        q = ask_midway(denoiser, p, midpoint(denoiser.schedule, start, end, down))
        coefficients = (1.0, end.alpha - start.alpha, down - start.sigma)
        arrays = (x, q.x0, implied_noise(q))
        return Step(self.raised(coefficients, arrays, up, noise), p.x0)
