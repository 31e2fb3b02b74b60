"""Dormand-Prince 5(4): one adaptive solver for every ODE of the package.

Dormand & Prince 1980, "A family of embedded Runge-Kutta formulae", J. Comp. Appl. Math. 6; step
size and first step as in Hairer, Norsett & Wanner, "Solving ODEs I", section II.4. The arrays
y (N, ...) are float32 or float64 and keep their dtype; the error is the root mean square over all
their elements, so the whole batch takes one step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, NonFiniteError
from .parameterization import combine

Field = Callable[[float, np.ndarray], np.ndarray]

_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),  # the result of order 5
)
# the result of order 5 less the one of order 4
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
EVALUATIONS = len(_STAGES)  # of an attempt: its first slope is known


class Attempt(NamedTuple):
    """One step tried: y after it, its error in units of the tolerance, the slope at its end."""

    y: np.ndarray
    error_ratio: float
    slope: np.ndarray


def attempt(
    f: Field, t: float, y: np.ndarray, h: float, slope: np.ndarray, rtol: float, atol: float
) -> Attempt:
    """One step of dy/dt = f(t, y) from t to t + h (h of either sign); slope is f(t, y).

    It is good if error_ratio <= 1; its last slope is then the first one of the next step.
    """
    slopes, reached = [slope], y
    for node, row in zip(_NODES, _STAGES, strict=True):
        reached = combine((1.0, *(h * a for a in row)), (y, *slopes))
        slopes.append(f(t + node * h, reached))
    error = combine(tuple(h * e for e in _ERROR), tuple(slopes))
    return Attempt(reached, _size(error, (y, reached), rtol, atol), slopes[-1])


def next_step(h: float, error_ratio: float) -> float:
    """The step to try after one of size h; smaller than h if that one was rejected."""
    if not math.isfinite(error_ratio):
        return 0.2 * h
    return h * min(10.0, max(0.2, 0.9 * max(error_ratio, 1e-10) ** -0.2))


def first_step(
    f: Field, t: float, y: np.ndarray, t_end: float, slope: np.ndarray, rtol: float, atol: float
) -> float:
    """A first step towards t_end, by one evaluation of f (Hairer et al., II.4, page 169)."""
    size, speed = _size(y, (y,), rtol, atol), _size(slope, (y,), rtol, atol)
    h = 0.01 * size / speed if min(size, speed) > 1e-5 else 1e-6
    h = math.copysign(min(h, abs(t_end - t)), t_end - t)
    ahead = f(t + h, combine((1.0, h), (y, slope)))
    bend = _size(combine((1.0, -1.0), (ahead, slope)), (y,), rtol, atol) / abs(h)
    most = max(speed, bend)
    bound = (0.01 / most) ** 0.2 if most > 1e-15 else max(1e-6, 1e-3 * abs(h))
    return math.copysign(min(100.0 * abs(h), bound, abs(t_end - t)), h)


def check_budget(wanted: int, max_evaluations: int, t: float) -> None:
    """Raises ConfigError if `wanted` evaluations are more than allowed."""
    if wanted > max_evaluations:
        raise ConfigError(
            f"max_evaluations = {max_evaluations} were used up at t = {t:g}; allow more of them or "
            "larger rtol and atol"
        )


def check_progress(t: float, h: float) -> None:
    """Raises NonFiniteError if t + h is no longer different from t."""
    if not abs(h) > 4.0 * np.spacing(abs(t)):
        raise NonFiniteError(
            f"the ODE solver's step size fell to {h:g} at t = {t:g}: its right-hand side is not "
            "finite or not smooth there, or rtol and atol are below the rounding of the state"
        )


def integrate(
    f: Field,
    y: np.ndarray,
    t0: float,
    t1: float,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_evaluations: int = 10_000,
) -> tuple[np.ndarray, int]:
    """y at t1 of dy/dt = f(t, y), y(t0) = y, and how often f was evaluated; t1 may be below t0.

    The error of each step is at most atol + rtol |y|. Raises ConfigError if that takes more than
    max_evaluations, NonFiniteError where no step is small enough.
    """
    if t0 == t1:
        return y, 0
    slope = f(t0, y)
    t, h, used = t0, first_step(f, t0, y, t1, slope, rtol, atol), 2
    while t != t1:
        check_budget(used + EVALUATIONS, max_evaluations, t)
        h = math.copysign(min(abs(h), abs(t1 - t)), h)
        check_progress(t, h)
        last = abs(t1 - t) <= abs(h)
        tried = attempt(f, t, y, h, slope, rtol, atol)
        used += EVALUATIONS
        if tried.error_ratio <= 1.0:
            t, y, slope = (t1 if last else t + h), tried.y, tried.slope
        h = next_step(h, tried.error_ratio)
    return y, used


def _size(x: np.ndarray, states: tuple[np.ndarray, ...], rtol: float, atol: float) -> float:
    """The root mean square of x in units of atol + rtol |y|, y the larger of the states."""
    scale = atol + rtol * np.maximum.reduce([np.abs(state) for state in states])
    return math.sqrt(float(np.mean(np.square(x / scale, dtype=np.float64))))
