"""UniPC: a predictor and a corrector from one formula, one evaluation per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..checks import check_choice, check_count, check_flag
from ..errors import ConfigError
from .base import Noise, Predictor, Sampler, Step
from .exponential import Interval, interval
from .history import History, Point, explained, integrate, value
from .levels import level


class _Last(NamedTuple):
    """The step before: where it started, from which points it went, how many it used."""

    part: Interval
    x: np.ndarray
    points: tuple[Point, ...]
    used: int


@dataclass(frozen=True)
class UniPC(Sampler):
    """Each step predicts from the last values; the value there corrects that step afterwards.

    solver_order: p values predict, and p + 1, with the one at the end, correct. solver_type: "bh1"
    or "bh2", B(h) = h or e^h - 1, which matters to the predictor of order 2 and the corrector of
    order 1 (its footnotes: a_1 = 1/2). predict_x0: interpolate x_0, or else eps.
    lower_order_final: the last steps are of order p - 1, ..., 1. disable_corrector: the numbers of
    steps, from 0, that are left uncorrected. A step onto clean data is of order 1: it gives the
    predicted x_0.
    """

    solver_order: int = 2
    solver_type: str = "bh2"
    predict_x0: bool = True
    lower_order_final: bool = True
    disable_corrector: tuple[int, ...] = ()

    name: ClassVar[str] = "unipc"
    paper: ClassVar[str] = (
        "Zhao, Bai, Rao, Zhou, Lu 2023, UniPC: A Unified Predictor-Corrector Framework, arXiv "
        "2302.04867, Algorithms 5 to 8"
    )
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("solver_order", self.solver_order, 1, 8)
        check_choice("solver_type", self.solver_type, ("bh1", "bh2"))
        check_flag("predict_x0", self.predict_x0)
        check_flag("lower_order_final", self.lower_order_final)
        good = isinstance(self.disable_corrector, tuple)
        if not good or not all(type(i) is int and i >= 0 for i in self.disable_corrector):
            raise ConfigError(
                f"disable_corrector = {self.disable_corrector!r}; allowed: a tuple of step numbers"
            )

    @property
    def order(self) -> int:
        """p + 1 (theorem 3.1), but 2 where the last step, uncorrected, is of order 1."""
        return min(2, self.solver_order + 1) if self.lower_order_final else self.solver_order + 1

    def start(self, times: Sequence[float]) -> tuple[History, _Last | None]:
        """No values and nothing to correct."""
        return History.of(times), None

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: tuple[History, _Last | None],
        noise: Noise,
    ) -> Step:
        """The model once; correct the step that led here, predict the next."""
        history, last = state
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        x, said = explained(p), Point(start.half_log_snr, value(p, self.predict_x0))
        if last is not None and history.steps - history.left - 1 not in self.disable_corrector:
            x = self._corrected(last, said)
        history = history.known(*said, self.solver_order)
        part = interval(start, end, self.predict_x0)
        count = min(len(history.points), history.left if self.lower_order_final else 8)
        if not part.bounded or end.sigma == 0.0 or count == 0:
            only = (Point(said.at, value(p, part.data)),)
            return Step(integrate(part, x, only, part.integrals(1)), p, (history.later(), None))
        integrals = part.integrals(count)
        if count == 2:
            integrals[1] = self._half(part)
        moved = integrate(part, x, history.points, integrals)
        return Step(moved, p, (history.later(), _Last(part, x, history.points, count)))

    def _corrected(self, last: _Last, said: Point) -> np.ndarray:
        """The last step again, with the value at its end as one more point."""
        integrals = last.part.integrals(last.used + 1)
        if last.used == 1:
            integrals[1] = self._half(last.part)
        points = (last.points[0], said, *last.points[1 : last.used])
        return integrate(last.part, last.x, points, integrals)

    def _half(self, part: Interval) -> float:
        """B(h) / 2: the integral of s up to the order."""
        return 0.5 * (part.rate if self.solver_type == "bh1" else part.constant)
