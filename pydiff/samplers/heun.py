"""Heun's method for the probability-flow ODE, the sampler of EDM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Noise, Predictor, Step
from .churn import Churned
from .moves import move


@dataclass(frozen=True)
class Heun(Churned):
    """Euler's step, corrected by the mean of the slopes at its two ends.

    dx = x_0 dalpha + eps dsigma along the flow, so x' = x + (alpha' - alpha) (x_0 + x_0') / 2
    + (sigma' - sigma) (eps + eps') / 2: the trapezoidal rule on every schedule. For alpha = 1 it is
    EDM's Algorithm 2, on rectified flow Heun on the velocity. A step onto clean data is Euler's.
    Options: see Churned.
    """

    name: ClassVar[str] = "heun"
    paper: ClassVar[str] = (
        "Karras, Aittala, Aila, Laine 2022, Elucidating the Design Space of Diffusion-Based "
        "Generative Models, arXiv 2206.00364, Algorithm 2"
    )
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 2, lines 4 to 11."""
        schedule = denoiser.schedule
        x, t = self.churned(schedule, x, t, state, noise)
        alpha, sigma = schedule.alpha(t_next), schedule.sigma(t_next)
        p = denoiser.predict(x, t)
        moved = move(p, alpha, sigma)
        if sigma == 0.0:
            return Step(moved, p, state)
        rise, fall = 0.5 * (alpha - p.alpha), 0.5 * (sigma - p.sigma)
        half = move(p, rise, fall, (1.0, x))
        q = denoiser.predict(moved, t_next)
        return Step(move(q, rise, fall, (1.0, half)), p, state)
