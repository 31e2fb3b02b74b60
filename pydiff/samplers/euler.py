"""Euler's method for the probability-flow ODE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Noise, Predictor, Step
from .churn import Churned
from .moves import move


@dataclass(frozen=True)
class Euler(Churned):
    """x' = alpha' x_0 + sigma' eps, with both predicted at the start of the step.

    In sigma / alpha this is Euler on dx/dsigma = (x - x_0) / sigma (EDM, eq. 4 and 5), on rectified
    flow Euler on dx/dt = eps - x_0. Options: see Churned.
    """

    name: ClassVar[str] = "euler"
    paper: ClassVar[str] = (
        "Karras, Aittala, Aila, Laine 2022, Elucidating the Design Space of Diffusion-Based "
        "Generative Models, arXiv 2206.00364, Algorithm 2 without its correction"
    )
    order: ClassVar[int] = 1

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 2, lines 4 to 8."""
        schedule = denoiser.schedule
        x, t = self.churned(schedule, x, t, state, noise)
        p = denoiser.predict(x, t)
        return Step(move(p, schedule.alpha(t_next), schedule.sigma(t_next)), p, state)
