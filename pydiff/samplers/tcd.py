"""Trajectory consistency distillation: strategic stochastic sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number
from ..diffusion.process import transition
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class TCD(Sampler):
    """A step of DDIM beyond t', to s = (1 - eta) t', then the forward process from s to t'.

    eta: gamma of the paper. 0 is DDIM; 1 goes to the least noisy level and back, as LCM does.
    Times are those of a discrete schedule, or any that begin at 0; s is rounded down where t' is
    an int. The step to the last time of the grid adds no noise.
    """

    eta: float = 0.3

    name: ClassVar[str] = "tcd"
    paper: ClassVar[str] = (
        "Zheng et al. 2024, Trajectory Consistency Distillation, arXiv 2402.19159, "
        "strategic stochastic sampling, Algorithm 4"
    )
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_number("eta", self.eta, high=1.0)

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0.0

    def start(self, times: Any) -> float:
        """The last time of the grid."""
        return float(times[-1])

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Beyond t', and back."""
        schedule = denoiser.schedule
        p = denoiser.predict(x, t)
        beyond = t_next if t_next == schedule.t_clean else (1.0 - self.eta) * t_next
        if isinstance(t_next, int):
            beyond = math.floor(beyond)
        alpha, sigma = schedule.alpha(beyond), schedule.sigma(beyond)
        if t_next == state or beyond == t_next:
            return Step(p.mix(alpha, sigma), p, state)
        forward = transition(schedule, beyond, t_next)
        drawn = math.sqrt(forward.variance), noise()
        return Step(p.mix(forward.scale * alpha, forward.scale * sigma, drawn), p, state)
