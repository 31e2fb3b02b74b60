"""SA-Solver: stochastic Adams methods, predictor and corrector, for a family of reverse SDEs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..checks import check_choice, check_count, check_flag, check_number
from .base import Noise, Predictor, Sampler, Step
from .exponential import Interval, interval
from .history import History, Point, explained, integrate, value
from .levels import level


class _Last(NamedTuple):
    """The step before, to be corrected: x and the noise it started with, and how many points."""

    part: Interval
    x: np.ndarray
    z: np.ndarray | None
    points: tuple[Point, ...]
    used: int


@dataclass(frozen=True)
class SASolver(Sampler):
    """Solves the reverse SDE of noise tau: 0 is the probability-flow ODE, 1 the usual one.

    predictor_order: the number of last values that predict. corrector_order: the number of values
    that correct a step afterwards, with the one at its end; 0 corrects nothing. algorithm_type:
    "data_prediction" interpolates x_0, "noise_prediction" eps.
    tau: within sigma / alpha in [tau_low, tau_high] at the start of a step, else 0. The defaults
    are EDM's range of churn (arXiv 2206.00364, table 5); diffusers' SASolver has tau = 1 at
    timesteps 200 .. 800. simplified: order 2 over x_0 takes 1/2 for the integral of s, as
    the authors' code does; else all integrals are exact. lower_order_final: the last steps are of
    order ..., 2, 1. A step onto clean data is of order 1: it gives the predicted x_0. One draw of
    noise per step, also where tau is 0, as in the authors' code.
    """

    predictor_order: int = 2
    corrector_order: int = 2
    algorithm_type: str = "data_prediction"
    tau: float = 1.0
    tau_low: float = 0.05
    tau_high: float = 50.0
    lower_order_final: bool = True
    simplified: bool = True

    name: ClassVar[str] = "sa_solver"
    paper: ClassVar[str] = (
        "Xue et al. 2023, SA-Solver: Stochastic Adams Solver, arXiv 2309.05019, Algorithm 1"
    )

    def __post_init__(self) -> None:
        check_count("predictor_order", self.predictor_order, 1, 4)
        check_count("corrector_order", self.corrector_order, 0, 4)
        kinds = ("data_prediction", "noise_prediction")
        check_choice("algorithm_type", self.algorithm_type, kinds)
        check_number("tau", self.tau)
        check_number("tau_low", self.tau_low)
        check_number("tau_high", self.tau_high)
        check_flag("lower_order_final", self.lower_order_final)
        check_flag("simplified", self.simplified)

    @property
    def order(self) -> int:
        """As many as values correct, at most 2 if the last step is of order 1, or with noise."""
        full = max(self.predictor_order, self.corrector_order)
        if self.lower_order_final or self.stochastic:
            return min(2, full)
        return min(full, self.predictor_order + 1)

    @property
    def stochastic(self) -> bool:
        """Whether tau > 0."""
        return self.tau > 0.0

    @property
    def _data(self) -> bool:
        return self.algorithm_type == "data_prediction"

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
        x, said = explained(p), Point(start.half_log_snr, value(p, self._data))
        if last is not None and self.corrector_order > 0:
            x = self._corrected(last, said, history.left)
        keep = max(self.predictor_order, self.corrector_order - 1)
        history = history.known(*said, keep)
        tau = self.tau if self.tau_low <= start.ratio <= self.tau_high else 0.0
        part = interval(start, end, self._data, tau * tau)
        z = noise() if self.stochastic and end.sigma > 0.0 else None
        count = min(self.predictor_order, len(history.points))
        if self.lower_order_final:
            count = min(count, history.left)
        if not part.bounded or end.sigma == 0.0 or count == 0:
            only = (Point(said.at, value(p, part.data)),)
            moved = integrate(part, x, only, part.integrals(1), z)
            return Step(moved, p, (history.later(), None))
        moved = integrate(part, x, history.points, self._integrals(part, count), z)
        return Step(moved, p, (history.later(), _Last(part, x, z, history.points, count)))

    def _corrected(self, last: _Last, said: Point, left: int) -> np.ndarray:
        """The last step again with the same noise, and with the value at its end."""
        count = min(self.corrector_order, len(last.points) + 1)
        if self.lower_order_final:
            count = min(count, left + 2)
        points = (said, *last.points[: count - 1])
        integrals = self._integrals(last.part, count)
        return integrate(last.part, last.x, points, integrals, last.z, last.points[0].at)

    def _integrals(self, part: Interval, count: int) -> list[float]:
        if count == 2 and self.simplified and part.data:
            return [part.constant, 0.5 * part.rate]
        return part.integrals(count)
