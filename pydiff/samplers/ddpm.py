"""Ancestral sampling of DDPM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..diffusion.prediction import Prediction
from ..diffusion.process import posterior, transition
from ..errors import ConfigError
from .base import Noise, Predictor, Sampler, Step

_VARIANCES = ("fixed_small", "fixed_large", "learned", "learned_range")


@dataclass(frozen=True)
class DDPM(Sampler):
    """x_s ~ N(mean of q(x_s | x_t, x_0), variance) with the predicted x_0, s < t.

    variance: "fixed_small", the variance of that posterior, exact for data at one point;
    "fixed_large", that of q(x_t | x_s), exact for N(0, I) data; "learned_range", what the network
    says between the two, v in [-1, 1] of fixed_small^((1 - v) / 2) fixed_large^((1 + v) / 2); or
    "learned", the network's output itself. The last two need a Denoiser with learned_variance.
    Between any two times of the grid the posterior is the one for just that pair. The step onto
    clean data adds no noise (line 3); diffusers' fixed_large adds some there if that step starts
    at t > 0, as under trailing.
    """

    variance: str = "fixed_small"

    name: ClassVar[str] = "ddpm"
    paper: ClassVar[str] = (
        "Ho, Jain, Abbeel 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239, "
        "Algorithm 2 with eq. 6 and 7; Nichol, Dhariwal 2021, arXiv 2102.09672, eq. 15"
    )
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in _VARIANCES:
            raise ConfigError(f"variance = {self.variance!r}; allowed: {', '.join(_VARIANCES)}")

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
        small, large = mean.variance, transition(denoiser.schedule, t_next, t).variance
        if self.variance in ("fixed_small", "fixed_large"):
            drawn = math.sqrt(small if self.variance == "fixed_small" else large), noise()
        else:
            drawn = 1.0, self._learned_std(p, small, large) * noise()
        return Step(p.mix(mean.from_x0, 0.0, (mean.from_x, x), drawn), p)

    def _learned_std(self, p: Prediction, small: float, large: float) -> np.ndarray:
        if p.variance is None:
            raise ConfigError(
                f"variance = {self.variance!r}, but the model gives none; allowed: a Denoiser with "
                "learned_variance=True, or variance fixed_small or fixed_large"
            )
        if self.variance == "learned":
            return np.sqrt(np.maximum(p.variance, 0.0))
        middle, half = 0.25 * math.log(small * large), 0.25 * math.log(large / small)
        return np.exp(middle + half * p.variance)
