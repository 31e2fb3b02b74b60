"""Ancestral sampling of DDPM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..diffusion.process import posterior
from ..diffusion.variance import check_variance, reverse_std
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class DDPM(Sampler):
    """x_s ~ N(mean of q(x_s | x_t, x_0), variance) with the predicted x_0, s < t.

    variance: "fixed_small", the variance of that posterior, exact for data at one point;
    "fixed_large", that of q(x_t | x_s), exact for N(0, I) data; "learned" or "learned_range", what
    the network gives (see `diffusion.variance.reverse_std`; the Denoiser needs learned_variance).
    Between any two times of the grid the posterior is the one for just that pair. The step onto
    clean data adds no noise (line 3); diffusers adds some there, under all but fixed_small, if that
    step starts at t > 0, as under trailing.
    """

    variance: str = "fixed_small"

    name: ClassVar[str] = "ddpm"
    paper: ClassVar[str] = (
        "Ho, Jain, Abbeel 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239, "
        "Algorithm 2 with eq. 6 and 7"
    )
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_variance(self.variance)

    @property
    def stochastic(self) -> bool:
        """Always."""
        return True

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 2, lines 3 and 4."""
        p = denoiser.predict(x, t)
        mean = posterior(denoiser.schedule, t_next, t)
        if mean.variance == 0.0:
            return Step(p.mix(mean.from_x0, 0.0, (mean.from_x, x)), p)
        std, z = reverse_std(self.variance, denoiser.schedule, t_next, t, p.variance), noise()
        drawn = (std, z) if isinstance(std, float) else (1.0, std * z)
        return Step(p.mix(mean.from_x0, 0.0, (mean.from_x, x), drawn), p)
