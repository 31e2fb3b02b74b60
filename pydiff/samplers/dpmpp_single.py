"""DPM-Solver and DPM-Solver++ one step at a time, the step spread over entries of the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..checks import check_choice, check_count, check_flag, check_number
from .base import Noise, Predictor, Sampler, Step
from .exponential import Interval, interval
from .history import Point, explained, integrate, value
from .levels import Level, level


class _Group(NamedTuple):
    """One step of the method: its start, x there, and the values since, oldest first."""

    orders: tuple[int, ...]  # of the entries of the grid to come
    base: Level | None = None
    x: np.ndarray | None = None
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class DPMppSingle(Sampler):
    """Groups of k = solver_order entries are one step of order k with k evaluations.

    From the start of its group, the first entry is reached with the value there, the second with
    two values, the third with three: the inner points of the step are entries of the grid, as in
    diffusers' DPMSolverSinglestep. On grids even in lambda they lie where the papers have them,
    at 1/2, or 1/3 and 2/3.

    solver_order: 1, 2 or 3. algorithm_type: "dpmsolver++" interpolates x_0, "dpmsolver" eps.
    solver_type: "heun" integrates the polynomial through all values exactly; "midpoint" takes half
    the integral of 1 for the slope of order 2, and the first and the last value for order 3, which
    is of order 3 only if the inner points are at 1/3 and 2/3. lower_order_final: the last groups
    are shorter, so that the last entry is reached at order 1 (or 2); needed unless solver_order
    divides the number of steps. eta: 0 solves the probability-flow ODE, 1 the reverse SDE
    (diffusers' "sde-dpmsolver++"; each entry has noise of its own). third_order: "exact", or
    "diffusers", whose "heun" of order 3 has a sign wrong if eta > 0. Onto clean data, a step is of
    order 1.
    """

    solver_order: int = 2
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    lower_order_final: bool = False
    eta: float = 0.0
    third_order: str = "exact"

    name: ClassVar[str] = "dpmpp_single"
    paper: ClassVar[str] = (
        "Lu et al. 2022, DPM-Solver, arXiv 2206.00927, Algorithms 1 and 2, and DPM-Solver++, arXiv "
        "2211.01095, Algorithm 1"
    )

    def __post_init__(self) -> None:
        check_count("solver_order", self.solver_order, 1, 3)
        check_choice("algorithm_type", self.algorithm_type, ("dpmsolver++", "dpmsolver"))
        check_choice("solver_type", self.solver_type, ("midpoint", "heun"))
        check_flag("lower_order_final", self.lower_order_final)
        check_number("eta", self.eta)
        check_choice("third_order", self.third_order, ("exact", "diffusers"))

    @property
    def order(self) -> int:
        """solver_order; weak order 1 with noise."""
        return 1 if self.eta else self.solver_order

    @property
    def stochastic(self) -> bool:
        """Whether eta > 0."""
        return self.eta > 0.0

    def start(self, times: Sequence[float]) -> _Group:
        """The order of each entry."""
        return _Group(tuple(self._orders(len(times) - 1)))

    def step(
        self,
        denoiser: Predictor,
        x: np.ndarray,
        t: float,
        t_next: float,
        state: _Group,
        noise: Noise,
    ) -> Step:
        """From the start of the group to t_next, with the values known since."""
        start, end = level(denoiser.schedule, t), level(denoiser.schedule, t_next)
        p = denoiser.predict(x, t)
        data = self.algorithm_type == "dpmsolver++"
        said = Point(start.half_log_snr, value(p, data))
        part = None if state.base is None else interval(state.base, end, data, self.eta)
        known = part is not None and part.bounded and said.at > state.points[-1].at
        if state.orders[0] == 1 or not known or end.sigma == 0.0:
            part = interval(start, end, data, self.eta)
            state = state._replace(base=start, x=explained(p), points=())
            said = Point(said.at, value(p, part.data))
        assert part is not None and state.x is not None
        points = (*state.points, said)
        used, integrals = self._polynomial(part, points)
        z = noise() if part.std > 0.0 else None
        moved = integrate(part, state.x, used, integrals, z)
        return Step(moved, p, state._replace(points=points, orders=state.orders[1:]))

    def _orders(self, steps: int) -> list[int]:
        """1, 2, ..., k repeated; the end as diffusers has it."""
        k = self.solver_order
        whole, rest = divmod(steps, k)
        if k == 1 or (rest == 0 and not self.lower_order_final):
            return list(range(1, k + 1)) * whole
        ends = {(2, 0): [1, 1], (2, 1): [1], (3, 0): [1, 2, 1], (3, 1): [1], (3, 2): [1, 2]}
        last = ends[k, rest]
        return list(range(1, k + 1)) * ((steps - len(last)) // k) + last

    def _polynomial(
        self, part: Interval, points: tuple[Point, ...]
    ) -> tuple[tuple[Point, ...], list[float]]:
        """The points it goes through, the start of the group first, and the integrals."""
        if len(points) == 3 and self.solver_type == "midpoint":
            return (points[0], points[2]), part.integrals(2)
        integrals = part.integrals(len(points))
        if len(points) == 2 and self.solver_type == "midpoint":
            integrals[1] = 0.5 * integrals[0]
        if len(points) == 3 and self.third_order == "diffusers" and self.eta > 0.0:
            integrals[2] += 2.0 * part.constant / math.expm1(part.exponent)  # minus 2 alpha'
        return points, integrals
