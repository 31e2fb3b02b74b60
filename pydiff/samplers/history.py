"""What a multistep method remembers, and the steps it makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..diffusion.parameterization import combine
from ..diffusion.prediction import Prediction
from .exponential import Interval, weights
from .moves import implied_noise


class Point(NamedTuple):
    """What the model said, (N, ...), and at which level, in the method's own variable."""

    at: float
    value: np.ndarray


class History(NamedTuple):
    """The state of a multistep method.

    steps: of the whole run; left: those to come, with the one at hand; points: newest first.
    """

    steps: int
    left: int
    points: tuple[Point, ...] = ()

    @classmethod
    def of(cls, times: Sequence[float]) -> History:
        """Before the first step of that grid."""
        return cls(len(times) - 1, len(times) - 1)

    def known(self, at: float, value: np.ndarray, keep: int) -> History:
        """With one more point, `keep` at most.

        A point at infinity is useless to all later steps; one at the level of the last replaces it.
        """
        older = self.points
        if older and older[0].at == at:
            older = older[1:]
        points = (Point(at, value), *older)[:keep] if math.isfinite(at) else ()
        return History(self.steps, self.left, points)

    def later(self) -> History:
        """After this step."""
        return History(self.steps, self.left - 1, self.points)


def explained(p: Prediction) -> np.ndarray:
    """x as the prediction explains it: alpha x_0 + sigma eps, which differs from x under CFG++."""
    if p.other_eps is None:
        return p.x
    return combine((p.alpha, p.sigma), (p.x0, p.other_eps))


def value(p: Prediction, data: bool) -> np.ndarray:
    """x_0, thresholded; or the noise that goes with it."""
    return p.x0 if data else implied_noise(p)


def integrate(
    part: Interval,
    x: np.ndarray,
    points: Sequence[Point],
    integrals: Sequence[float],
    z: np.ndarray | None = None,
    start: float | None = None,
    s_noise: float = 1.0,
) -> np.ndarray:
    """x' from x at lambda = start, by default that of the newest point.

    integrals: those of s^k, as many as points are to be used.
    """
    used = points[: len(integrals)]
    start = used[0].at if start is None else start
    if len(used) == 1:
        factors = list(integrals)
    else:
        factors = weights([(point.at - start) / part.h for point in used], integrals)
    arrays = [x, *(point.value for point in used)]
    if z is not None:
        factors, arrays = [*factors, part.std * s_noise], [*arrays, z]
    return combine((part.keep, *factors), tuple(arrays))
