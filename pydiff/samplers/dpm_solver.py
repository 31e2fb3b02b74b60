"""DPM-Solver as a multistep method, and what it shares with DPM-Solver++ and DEIS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..checks import check_choice, check_count, check_flag, check_number
from .base import Noise, Predictor, Sampler, Step
from .exponential import Interval, interval
from .history import History, Point, explained, integrate, value
from .levels import Level, level

_FEW = 15  # steps: below, lower_order_final acts


@dataclass(frozen=True)
class Multistep(Sampler):
    """An exponential integrator over a polynomial through the last values of the model.

    The first steps, for want of older values, are of lower order. A step onto clean data is of
    order 1: it gives the predicted x_0.
    solver_type: how order 2 integrates the slope: "heun" exactly, "midpoint" as half of the
    integral of 1 (equal up to the order). lower_order_final: in runs of less than 15 steps the last
    step is of order 1 and the last but one at most of order 2. euler_at_final: the last step is of
    order 1 in any run.
    """

    solver_type: str = "midpoint"
    lower_order_final: bool = True
    euler_at_final: bool = False

    data: ClassVar[bool] = True  # whether x_0 is interpolated, or eps

    def __post_init__(self) -> None:
        check_choice("solver_type", self.solver_type, ("midpoint", "heun"))
        check_flag("lower_order_final", self.lower_order_final)
        check_flag("euler_at_final", self.euler_at_final)

    @property
    def highest(self) -> int:
        """The number of values that a step uses."""
        raise NotImplementedError

    @property
    def noisiness(self) -> float:
        """eta of the reverse SDE that is solved."""
        return 0.0

    @property
    def order(self) -> int:
        """The number of values used; with noise the weak order, at most 2."""
        return min(2, self.highest) if self.noisiness else self.highest

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.noisiness > 0.0

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
        """The model once, and the integral of the polynomial through its last values."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        part = interval(start, end, self.data, self.noisiness)
        state = state.known(start.half_log_snr, value(p, self.data), self.highest)
        count = self._count(state, part, end)
        points = state.points
        if count == 1:
            points = (Point(start.half_log_snr, value(p, part.data)),)
        z = noise() if part.std > 0.0 else None
        integrals = self._integrals(part, count)
        moved = integrate(part, explained(p), points, integrals, z, s_noise=self._s_noise)
        return Step(moved, p, state.later())

    @property
    def _s_noise(self) -> float:
        return 1.0

    def _count(self, state: History, part: Interval, end: Level) -> int:
        """How many values this step uses."""
        few = self.lower_order_final and state.steps < _FEW
        if not part.bounded or end.sigma == 0.0 or not state.points:
            return 1
        if state.left == 1 and (few or self.euler_at_final):
            return 1
        return min(2 if state.left == 2 and few else self.highest, len(state.points))

    def _integrals(self, part: Interval, count: int) -> list[float]:
        integrals = part.integrals(count)
        if count == 2 and self.solver_type == "midpoint":
            integrals[1] = 0.5 * integrals[0]
        return integrals


@dataclass(frozen=True)
class UpToThree(Multistep):
    """Base of those of order 3.

    third_order: "exact"; or "halved", which takes half of the second derivative, as the authors'
    code, k-diffusion and diffusers do: it leaves the order at 2.
    """

    third_order: str = "exact"

    third_orders: ClassVar[tuple[str, ...]] = ("exact", "halved")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("third_order", self.third_order, self.third_orders)

    @property
    def order(self) -> int:
        """The number of values used, but 2 of 3 if not exact; with noise the weak order."""
        return min(super().order, 3 if self.third_order == "exact" else 2)

    def _integrals(self, part: Interval, count: int) -> list[float]:
        integrals = super()._integrals(part, count)
        if count == 3 and self.third_order != "exact":
            integrals[2] *= 0.5
        return integrals


@dataclass(frozen=True)
class Ordered(Multistep):
    """Base of those whose number of values is an option."""

    solver_order: int = 2

    most: ClassVar[int] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("solver_order", self.solver_order, 1, self.most)

    @property
    def highest(self) -> int:
        """solver_order."""
        return self.solver_order


@dataclass(frozen=True)
class DPMSolver(Ordered, UpToThree):
    """Interpolates eps over lambda; diffusers' `algorithm_type` "dpmsolver" and "sde-dpmsolver".

    solver_order: 1, 2 or 3. eta: 0 solves the probability-flow ODE, 1 the reverse SDE (diffusers'
    "sde-dpmsolver", of order 1 and 2). third_order: "exact", or "halved" as in diffusers, which is
    of order 2. Other options: see Multistep. Where alpha is 0, and onto clean data, steps are those
    of DPMpp2M.
    """

    eta: float = 0.0

    name: ClassVar[str] = "dpm_solver"
    paper: ClassVar[str] = (
        "Lu et al. 2022, DPM-Solver, arXiv 2206.00927, proposition 3.1, in the multistep form of "
        "DPM-Solver++, arXiv 2211.01095, section 4.2 and (eta > 0) section 5"
    )
    data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("eta", self.eta)

    @property
    def noisiness(self) -> float:
        """eta."""
        return self.eta
