"""The probability-flow ODE, solved to a tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import check_count, check_positive
from ..diffusion.parameterization import combine
from ..diffusion.runge_kutta import (
    EVALUATIONS,
    attempt,
    check_budget,
    check_progress,
    first_step,
    next_step,
)
from .base import Noise, Predictor, Sampler, Step
from .levels import Level, as_clean, level, level_at
from .moves import implied_noise, level_before


class _State(NamedTuple):
    angle: float
    h: float
    slope: np.ndarray
    evaluations: int


@dataclass(frozen=True)
class ODE(Sampler):
    """Dormand-Prince 5(4) on dz/dphi = cos(phi) eps - sin(phi) x_0.

    z = x / sqrt(alpha^2 + sigma^2) as a function of the angle phi = atan(sigma / alpha), which is
    finite and smooth at both ends of every schedule (Salimans & Ho 2022, arXiv 2202.00512,
    appendix D). It chooses its steps itself: the loop takes only the ends of the grid, unless the
    grid is given explicitly, whose times are then all met. Onto clean data it goes by x_0 from the
    least noisy level that the model sees.
    rtol, atol: the error of each step is at most atol + rtol |z|, as a root mean square over the
    batch, so an image depends, within the tolerance, on the batch it is drawn in.
    max_evaluations: beyond them it is a ConfigError.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_evaluations: int = 10_000

    name: ClassVar[str] = "ode"
    paper: ClassVar[str] = (
        "Song et al. 2021, Score-Based Generative Modeling through SDEs, arXiv 2011.13456, "
        "section 4.3 and appendix D"
    )
    order: ClassVar[int] = 5
    evaluations: ClassVar[int] = EVALUATIONS
    stochastic: ClassVar[bool] = False
    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("rtol", self.rtol)
        check_positive("atol", self.atol)
        check_count("max_evaluations", self.max_evaluations)

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """One attempt; if its error is too large, x stays and the next one is shorter."""
        schedule = denoiser.schedule
        clean = schedule.sigma(t_next) == 0.0
        field = _Field(denoiser, level(schedule, t), level_before(schedule, t_next))
        if as_clean(field.start, field.end):  # as noisy as the last level: x_0 is next
            x0 = denoiser.predict(x, t).x0
            return Step(combine((schedule.alpha(t_next),), (x0,)), x0, state)
        z = combine((1.0 / _norm(field.start),), (x,))
        state = self._first(field, z) if state is None else state
        x0 = field.x0(z, state)
        last = abs(field.end_angle - state.angle) <= abs(state.h)
        h = field.end_angle - state.angle if last else state.h
        check_budget(state.evaluations + EVALUATIONS, self.max_evaluations, t)
        check_progress(state.angle, h)
        tried = attempt(field, state.angle, z, h, state.slope, self.rtol, self.atol)
        after = _State(
            field.end_angle if last else state.angle + h,
            next_step(h, tried.error_ratio),
            tried.slope,
            state.evaluations + EVALUATIONS,
        )
        if not tried.error_ratio <= 1.0:
            return Step(x, x0, state._replace(h=after.h, evaluations=after.evaluations), t)
        if last and clean:
            end = field.x0(tried.y, after)
            return Step(combine((schedule.alpha(t_next),), (end,)), x0, after)
        here = field.end if last else field.level(after.angle)
        return Step(combine((_norm(here),), (tried.y,)), x0, after, None if last else here.t)

    def _first(self, field: _Field, z: np.ndarray) -> _State:
        angle = _angle(field.start)
        slope = field(angle, z)
        h = first_step(field, angle, z, field.end_angle, slope, self.rtol, self.atol)
        return _State(angle, h, slope, 2)


class _Field:
    """dz/dphi between two levels."""

    def __init__(self, denoiser: Predictor, start: Level, end: Level) -> None:
        self.start, self.end = start, end
        self.end_angle = _angle(end)
        self._denoiser = denoiser

    def __call__(self, angle: float, z: np.ndarray) -> np.ndarray:
        here = self.level(angle)
        p = self._denoiser.predict(combine((_norm(here),), (z,)), here.t)
        return combine((math.cos(angle), -math.sin(angle)), (implied_noise(p), p.x0))

    def x0(self, z: np.ndarray, state: _State) -> np.ndarray:
        """The x_0 that was predicted where this slope was."""
        return combine((math.cos(state.angle), -math.sin(state.angle)), (z, state.slope))

    def level(self, angle: float) -> Level:
        """The level of an angle; the ends exactly, whatever rounding does."""
        if angle >= _angle(self.start):
            return self.start
        if angle <= self.end_angle:
            return self.end
        half = -math.log(math.tan(angle))
        half = min(max(half, self.start.half_log_snr), self.end.half_log_snr)
        return level_at(self._denoiser.schedule, half)


def _angle(at: Level) -> float:
    return math.atan2(at.sigma, at.alpha)


def _norm(at: Level) -> float:
    return math.hypot(at.alpha, at.sigma)
