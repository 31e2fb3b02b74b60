"""DPM2: the midpoint method for the probability-flow ODE, without and with ancestral noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Noise, Predictor, Step
from .churn import Churned
from .euler_ancestral import Ancestral
from .levels import level
from .moves import ask_midway, ends, midpoint, move


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
            return Step(move(p, end.alpha, end.sigma), p, state)
        q = ask_midway(denoiser, p, midpoint(schedule, start, end, end.sigma))
        rise, fall = end.alpha - start.alpha, end.sigma - start.sigma
        return Step(move(q, rise, fall, (1.0, x)), p, state)


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
            return Step(p.mix(end.alpha, 0.0, *self.fresh(up, noise)), p)
        q = ask_midway(denoiser, p, midpoint(denoiser.schedule, start, end, down))
        rise, fall = end.alpha - start.alpha, down - start.sigma
        return Step(move(q, rise, fall, (1.0, x), *self.fresh(up, noise)), p)
