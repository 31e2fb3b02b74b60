"""DPM-Solver++ for the reverse SDE, one step at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_flag
from ..diffusion.prediction import Prediction
from .base import Noise, Predictor, Step
from .euler_ancestral import Ancestral
from .levels import Level, level
from .moves import ancestral, midpoint

Terms = tuple[tuple[float, np.ndarray], ...]  # a sum of standard normal arrays, each with a factor


@dataclass(frozen=True)
class DPMppSDE(Ancestral):
    """x' = (down / sigma) x + (alpha' - alpha down / sigma) x_0 + s_noise up z, x_0 from mid-step.

    Unlike the ancestral methods, the middle is a point of the SDE too, with noise of its own.
    brownian: the noise of the half and of the whole step are those of one Brownian path, which the
    second order needs; False draws them independently, as happens where a list of draws
    replaces diffusers' Brownian tree. Other options: see Ancestral.
    """

    brownian: bool = True

    name: ClassVar[str] = "dpmpp_sde"
    paper: ClassVar[str] = (
        "Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, SDE-DPM-Solver++; Crowson "
        "2022, k-diffusion, sample_dpmpp_sde with r = 1/2"
    )
    evaluations: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("brownian", self.brownian)

    @property
    def order(self) -> int:
        """2, or weak order 1 where the two draws are independent."""
        return 2 if self.brownian or self.eta == 0.0 else 1

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """To the middle, and from the start with what is predicted there. state: the last end."""
        schedule = denoiser.schedule
        start = state if state is not None and state.t == t else level(schedule, t)
        end = level(schedule, t_next)
        p = denoiser.predict(x, t)
        if end.sigma == 0.0:
            return Step(p.mix(end.alpha, 0.0), p)
        middle = midpoint(schedule, start, end, end.sigma)
        first = ((1.0, noise()),) if self.eta else ()
        q = denoiser.predict(self._to(start, middle, x, p, first), middle.t)
        z = self._whole(first, start, middle, end, noise)
        return Step(self._to(start, end, x, q, z), p, end)

    def _to(self, start: Level, end: Level, x: np.ndarray, p: Prediction, z: Terms) -> np.ndarray:
        down, up = ancestral(start, end, self.eta)
        kept, std = down / start.sigma, up * self.s_noise
        drawn = [(std * c, array) for c, array in z]
        return p.mix(end.alpha - kept * start.alpha, 0.0, (kept, x), *drawn)

    def _whole(self, first: Terms, start: Level, middle: Level, end: Level, noise: Noise) -> Terms:
        """The noise of the whole step, whose first part is known.

        The noise of the exact solution is a martingale in lambda; its variance grows as the SNR.
        """
        if not first or not self.brownian:
            return ((1.0, noise()),) if first else ()
        snr = [math.exp(2.0 * (at.half_log_snr - end.half_log_snr)) for at in (start, middle)]
        share = (snr[1] - snr[0]) / (1.0 - snr[0])
        return (math.sqrt(share), first[0][1]), (math.sqrt(1.0 - share), noise())
