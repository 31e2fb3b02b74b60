"""DPM-Solver++ (2S) with ancestral noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Noise, Predictor, Step
from .euler_ancestral import Ancestral
from .moves import ask_midway, ends, midpoint


@dataclass(frozen=True)
class DPMpp2SAncestral(Ancestral):
    """x' = (down / sigma) x + (alpha' - alpha down / sigma) x_0 + s_noise up z, x_0 from mid-step.

    The exponential midpoint step of DPM-Solver++ in lambda = log(alpha / sigma) to a lower noise
    level, then noise back up to the next one. Options: see Ancestral.
    """

    name: ClassVar[str] = "dpmpp_2s_ancestral"
    paper: ClassVar[str] = (
        "Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, Algorithm 1 with r = 1/2; ancestral noise "
        "of Crowson 2022, k-diffusion, sample_dpmpp_2s_ancestral"
    )
    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The midpoint step, then noise; Euler's step where the lower level is clean data."""
        start, end, down, up = ends(denoiser.schedule, t, t_next, self.eta)
        p = q = denoiser.predict(x, t)
        if down > 0.0:
            q = ask_midway(denoiser, p, midpoint(denoiser.schedule, start, end, down))
        kept = down / start.sigma
        gain = end.alpha - kept * start.alpha
        return Step(q.mix(gain, 0.0, (kept, x), *self.fresh(up, noise)), p)
