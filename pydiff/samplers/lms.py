"""Linear multistep in sigma: Adams-Bashforth on k-diffusion's ODE, with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import check_count
from ..diffusion.parameterization import combine
from .base import Noise, Predictor, Sampler, Step
from .exponential import weights
from .history import History, explained
from .levels import level
from .moves import implied_noise, move


@dataclass(frozen=True)
class LMS(Sampler):
    """d(x / alpha) = eps d rho with rho = sigma / alpha: integrates a polynomial in rho.

    solver_order: the number of values of eps that it goes through; the first steps have fewer.
    The integral of s^k over a step, s = (rho - rho_start) / (rho_end - rho_start), is 1 / (k + 1):
    no quadrature is needed.
    """

    solver_order: int = 4

    name: ClassVar[str] = "lms"
    paper: ClassVar[str] = (
        "Crowson 2022, k-diffusion, sample_lms (Adams-Bashforth with variable steps) on the ODE of "
        "Karras et al. 2022, arXiv 2206.00364, eq. 1 with table 1"
    )
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("solver_order", self.solver_order, 1, 4)

    @property
    def order(self) -> int:
        """solver_order."""
        return self.solver_order

    def start(self, times: Sequence[float]) -> History:
        """No values yet."""
        return History.of(times)

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: History,
        noise: Noise,
    ) -> Step:
        """x' = alpha' (x / alpha + sum_j w_j eps_j)."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        state = state.known(start.ratio, implied_noise(p), self.solver_order)
        span = end.ratio - start.ratio
        if len(state.points) < 2 or span == 0.0:
            return Step(move(p, end.alpha, end.sigma), p, state.later())
        nodes = [(point.at - start.ratio) / span for point in state.points]
        integrals = [end.alpha * span / (k + 1) for k in range(len(nodes))]
        factors = (end.alpha / start.alpha, *weights(nodes, integrals))
        values = (point.value for point in state.points)
        return Step(combine(factors, (explained(p), *values)), p, state.later())
