"""Improved PNDM: Adams-Bashforth coefficients on the noise, without the Runge-Kutta start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import check_flag
from ..diffusion.parameterization import combine
from .base import Noise, Predictor, Sampler, Step
from .history import explained
from .levels import level
from .moves import implied_noise

# For steps of one size, newest value first: 1, 2, 3 and 4 values.
ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


@dataclass(frozen=True)
class IPNDM(Sampler):
    """A DDIM step with eps = sum_j c_j eps_j over the last values, at most four.

    c are the coefficients for equal steps, in any grid: on grids even in sigma / alpha this is LMS,
    on others the order is 2 however many values there are, as DDIM's step weighs the noise evenly
    over the step.
    from_nothing: where alpha = 0 at the start, take x_0 = 0 there, as diffusers does, instead of
    what the model predicts.
    """

    from_nothing: bool = False

    name: ClassVar[str] = "ipndm"
    paper: ClassVar[str] = (
        "Zhang & Chen 2023, Fast Sampling of Diffusion Models with Exponential Integrator, arXiv "
        "2204.13902, appendix H.2 (iPNDM), after Liu et al. 2022, PNDM, arXiv 2202.09778"
    )
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_flag("from_nothing", self.from_nothing)

    def start(self, times: Sequence[float]) -> tuple[np.ndarray, ...]:
        """No values yet."""
        return ()

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: tuple[np.ndarray, ...],
        noise: Noise,
    ) -> Step:
        """x' = alpha' (x - sigma eps) / alpha + sigma' eps."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        values = (implied_noise(p), *state)[:4]
        if start.alpha == 0.0:
            kept = 0.0 if self.from_nothing else end.alpha
            return Step(combine((kept, end.sigma), (p.x0, values[0])), p, values)
        kept = end.alpha / start.alpha
        direction = end.sigma - kept * start.sigma
        factors = [direction * c for c in ADAMS_BASHFORTH[len(values) - 1]]
        return Step(combine((kept, *factors), (explained(p), *values)), p, values)
