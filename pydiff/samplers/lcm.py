"""Latent consistency models: multistep sampling with boundary scalings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number, check_positive
from ..diffusion.parameterization import combine
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class LCM(Sampler):
    """f = c_skip(t) x + c_out(t) x_0, x' = alpha' f + sigma' z; the last step returns f.

    c_skip = sigma_data^2 / (s^2 + sigma_data^2), c_out = s / sqrt(s^2 + sigma_data^2),
    s = timestep_scaling t, t the time of a discrete schedule: x_0 is left alone but for t near 0.
    The model must be a consistency function (see Consistency). Spacing: `partial(grids.lcm,
    original_inference_steps=50)`, times at which such models were distilled.
    """

    timestep_scaling: float = 10.0
    sigma_data: float = 0.5

    name: ClassVar[str] = "lcm"
    paper: ClassVar[str] = (
        "Luo, Tan, Huang, Li, Zhao 2023, Latent Consistency Models, arXiv 2310.04378, Algorithm 3 "
        "and eq. 9"
    )
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("timestep_scaling", self.timestep_scaling)
        check_positive("sigma_data", self.sigma_data)

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 3, lines 3 to 5."""
        alpha, sigma = denoiser.schedule.alpha(t_next), denoiser.schedule.sigma(t_next)
        scaled = self.timestep_scaling * t
        size = math.hypot(scaled, self.sigma_data)
        skip, out = (self.sigma_data / size) ** 2, scaled / size
        x0 = denoiser.predict(x, t).x0
        if sigma == 0.0:
            return Step(combine((alpha * skip, alpha * out), (x, x0)), x0)
        return Step(combine((alpha * skip, alpha * out, sigma), (x, x0, noise())), x0)
