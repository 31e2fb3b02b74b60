"""Multistep sampling of consistency models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number
from ..diffusion.parameterization import combine
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class Consistency(Sampler):
    """x' = alpha' (x_0 + s_noise sqrt(r'^2 - sigma_min^2) z), r' = sigma' / alpha'.

    The model must be a consistency function: its x_0 is the end of the probability-flow path
    through x_t, not the mean E[x_0 | x_t]. Then every step ends in exact samples; with a denoiser
    each step loses variance. One evaluation suffices, more correct each other's errors.
    sigma_min: the noise level at which the model's paths end (0.002 in the paper; `sigma_min` of
    diffusers). 0 on rectified flow is diffusers' FlowMatchEuler with stochastic_sampling.
    """

    sigma_min: float = 0.002
    s_noise: float = 1.0

    name: ClassVar[str] = "consistency"
    paper: ClassVar[str] = (
        "Song, Dhariwal, Chen, Sutskever 2023, Consistency Models, arXiv 2303.01469, Algorithm 1"
    )
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("sigma_min", self.sigma_min)
        check_number("s_noise", self.s_noise)

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 1: one jump to the data, then noise up to the next level."""
        alpha, sigma = denoiser.schedule.alpha(t_next), denoiser.schedule.sigma(t_next)
        x0 = denoiser.predict(x, t).x0
        variance = sigma**2 - (alpha * self.sigma_min) ** 2
        if variance <= 0.0:
            return Step(combine((alpha,), (x0,)), x0)
        return Step(combine((alpha, self.s_noise * math.sqrt(variance)), (x0, noise())), x0)
