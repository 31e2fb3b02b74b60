"""PNDM: linear multistep coefficients on the noise, carried by DDIM's formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..checks import check_choice, check_flag
from ..diffusion.parameterization import combine
from ..diffusion.prediction import Prediction
from .base import Noise, Predictor, Sampler, Step
from .history import explained
from .ipndm import ADAMS_BASHFORTH
from .levels import Level, level
from .moves import implied_noise, move


class _State(NamedTuple):
    steps: int  # of the whole run
    done: int = 0
    values: tuple[np.ndarray, ...] = ()  # newest first, four at most


@dataclass(frozen=True)
class PNDM(Sampler):
    """Adams-Bashforth of order 4 for the noise, after three pseudo Runge-Kutta steps.

    skip_prk_steps: instead start as PLMS of latent diffusion: one step of Heun, then two and three
    values (k-diffusion's author's variant, diffusers' `skip_prk_steps`).
    held: what is averaged over the last values, "epsilon", or "v_prediction" as diffusers does with
    a model of that kind.

    The coefficients are those of equal steps in t; on grids even in sigma / alpha the order is 4,
    on others 2. Runge-Kutta steps ask four times, in between at the middle of the step (the integer
    below it where times are integers); the first step of PLMS asks twice. A step onto clean data
    within the start is one of DDIM.
    """

    skip_prk_steps: bool = False
    held: str = "epsilon"

    name: ClassVar[str] = "pndm"
    paper: ClassVar[str] = (
        "Liu, Ren, Lin, Zhao 2022, Pseudo Numerical Methods for Diffusion Models on Manifolds, "
        "arXiv 2202.09778, Algorithm 2 with eq. 11 to 13"
    )
    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_flag("skip_prk_steps", self.skip_prk_steps)
        check_choice("held", self.held, ("epsilon", "v_prediction"))

    def start(self, times: Sequence[float]) -> _State:
        """No values yet."""
        return _State(len(times) - 1)

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: _State,
        noise: Noise,
    ) -> Step:  # fmt: skip
        """The model's value, averaged with older ones, or with those inside the step."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        x = explained(p)
        values = (self._value(p), *state.values)[:4]
        later = _State(state.steps, state.done + 1, values)
        starting = state.done < (1 if self.skip_prk_steps else 3)
        if starting and (end.sigma == 0.0 or start.alpha == 0.0 or state.steps == 1):
            return Step(move(p, end.alpha, end.sigma), p, later)
        if not starting:
            factors = ADAMS_BASHFORTH[len(values) - 1]
        elif self.skip_prk_steps:
            there = self._carried(x, start, end, (1.0,), values)
            values = (values[0], self._value(denoiser.predict(there, t_next)))
            factors = (0.5, 0.5)
        else:
            values = self._runge_kutta(denoiser, x, start, end, values[0])
            factors = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
        return Step(self._carried(x, start, end, factors, values), p, later)

    def _runge_kutta(
        self, denoiser: Predictor, x: np.ndarray, start: Level, end: Level, first: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The four values of equation 13."""
        whole = isinstance(start.t, int) and isinstance(end.t, int)
        half = (start.t - end.t) // 2 if whole else 0.5 * (start.t - end.t)
        middle = level(denoiser.schedule, start.t - half)
        values = [first]
        for there in (middle, middle, end):
            y = self._carried(x, start, there, (1.0,), (values[-1],))
            values.append(self._value(denoiser.predict(y, there.t)))
        return tuple(values)

    def _value(self, p: Prediction) -> np.ndarray:
        eps = implied_noise(p)
        if self.held == "epsilon":
            return eps
        return combine((p.alpha, -p.sigma), (eps, p.x0))

    def _carried(
        self,
        x: np.ndarray,
        start: Level,
        end: Level,
        factors: tuple[float, ...],
        values: tuple[np.ndarray, ...],
    ) -> np.ndarray:
        """DDIM's step (equation 11) with the weighted sum of the values."""
        kept = end.alpha / start.alpha
        along = end.sigma - kept * start.sigma
        if self.held == "v_prediction":  # eps = (sigma x + alpha v) / (alpha^2 + sigma^2)
            power = start.alpha**2 + start.sigma**2
            kept, along = kept + along * start.sigma / power, along * start.alpha / power
        return combine((kept, *(along * c for c in factors)), (x, *values))
