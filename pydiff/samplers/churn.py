"""Stochasticity of EDM: more noise before each deterministic step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import check_number
from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.parameterization import combine
from .base import Noise, Sampler
from .levels import level, level_at


@dataclass(frozen=True)
class Churned(Sampler):
    """A sampler whose steps may begin with churn (Karras et al. 2022, arXiv 2206.00364, Alg. 2).

    s_churn: each step raises sigma / alpha by min(s_churn / steps, sqrt(2) - 1) of itself, where it
    lies in [s_tmin, s_tmax], and never beyond the schedule's own end. s_noise: the standard
    deviation of the noise that does it. The model is asked at the raised level, as in the paper;
    diffusers' Euler asks it before.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        for name in ("s_churn", "s_tmin", "s_tmax", "s_noise"):
            check_number(name, getattr(self, name))

    @property
    def stochastic(self) -> bool:
        """Whether s_churn > 0."""
        return self.s_churn > 0.0

    def start(self, times: Sequence[float]) -> float:
        """gamma, the same in each step."""
        return min(self.s_churn / (len(times) - 1), math.sqrt(2.0) - 1.0)

    def churned(
        self, schedule: NoiseSchedule, x: np.ndarray, t: float, gamma: float, noise: Noise
    ) -> tuple[np.ndarray, float]:
        """x and t after the churn (Algorithm 2, lines 4 to 6)."""
        if gamma == 0.0:
            return x, t
        here = level(schedule, t)
        if not self.s_tmin <= here.ratio <= self.s_tmax or math.isinf(here.ratio):
            return x, t
        noisiest = 0.5 * schedule.log_snr(schedule.t_last)
        there = level_at(schedule, max(here.half_log_snr - math.log1p(gamma), noisiest))
        added = there.ratio**2 - here.ratio**2
        if added <= 0.0:
            return x, t
        scale = there.alpha / here.alpha
        return combine(
            (scale, there.alpha * math.sqrt(added) * self.s_noise), (x, noise())
        ), there.t
