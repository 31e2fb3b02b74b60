"""Dormand-Prince 5(4) on equations with known solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff.diffusion.runge_kutta import EVALUATIONS, attempt, first_step, integrate, next_step
from pydiff.errors import ConfigError, NonFiniteError

Y = np.array([[1.0, 0.0], [0.3, -2.0]])


def turning(t: float, y: np.ndarray) -> np.ndarray:
    """y' = 2 t J y: a rotation by t^2."""
    return 2.0 * t * np.stack([-y[:, 1], y[:, 0]], axis=1)


def turned(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return Y @ np.array([[c, s], [-s, c]])


def test_a_step_is_of_order_five_and_its_error_estimate_of_four() -> None:
    """On the logistic equation."""

    def field(t: float, y: np.ndarray) -> np.ndarray:
        return y * (1.0 - y)

    y, steps, errors, estimates = np.array([[0.2]]), [0.2, 0.1, 0.05], [], []
    for h in steps:
        tried = attempt(field, 0.0, y, h, field(0.0, y), 0.0, 1.0)
        errors.append(abs(tried.y[0, 0] - 1.0 / (1.0 + 4.0 * math.exp(-h))))
        estimates.append(tried.error_ratio)
        np.testing.assert_array_equal(tried.slope, field(h, tried.y))
    slopes = [np.polyfit(np.log(steps), np.log(e), 1)[0] for e in (errors, estimates)]
    assert slopes == [pytest.approx(6.0, abs=0.3), pytest.approx(5.0, abs=0.3)]  # local errors


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_the_error_follows_the_tolerance(tolerance: float) -> None:
    y, used = integrate(turning, Y, 0.0, 3.0, tolerance, tolerance)
    error = np.abs(y - turned(9.0)).max()
    assert 0.01 * tolerance < error < 100.0 * tolerance
    assert (used - 2) % EVALUATIONS == 0


def test_tighter_tolerances_cost_the_fifth_root() -> None:
    loose, tight = (integrate(turning, Y, 0.0, 8.0, tol, tol)[1] for tol in (1e-5, 1e-10))
    assert tight / loose == pytest.approx(10.0, rel=0.3)


def test_there_and_back() -> None:
    there, _ = integrate(turning, Y, 0.0, 2.0, 1e-9, 1e-9)
    back, _ = integrate(turning, there, 2.0, 0.0, 1e-9, 1e-9)
    np.testing.assert_allclose(back, Y, atol=1e-7)


def test_nothing_to_do() -> None:
    y, used = integrate(turning, Y, 1.0, 1.0)
    np.testing.assert_array_equal(y, Y)
    assert used == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(dtype: type) -> None:
    y, _ = integrate(turning, Y.astype(dtype), 0.0, 1.0, 1e-4, 1e-4)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, turned(1.0), atol=1e-3)


def test_a_constant_slope_takes_few_steps() -> None:
    y, used = integrate(lambda t, y: np.ones_like(y), Y, 0.0, 1e3)
    np.testing.assert_allclose(y, Y + 1e3)
    assert used < 60


def test_first_steps_point_the_right_way_and_stay_inside() -> None:
    for end in (1.0, 1e-9, -2.0):
        h = first_step(turning, 0.0, Y, end, turning(0.0, Y), 1e-5, 1e-5)
        assert 0.0 < h / end <= 1.0


def test_next_steps_are_bounded() -> None:
    assert next_step(0.1, 0.0) == pytest.approx(1.0)
    assert next_step(-0.1, 1e9) == pytest.approx(-0.02)
    assert next_step(0.1, math.nan) == next_step(0.1, math.inf) == pytest.approx(0.02)
    assert 0.08 < next_step(0.1, 1.0) < 0.1


def test_the_budget_ends_it() -> None:
    with pytest.raises(ConfigError, match=r"max_evaluations = 100 were used up at t = "):
        integrate(turning, Y, 0.0, 100.0, 1e-10, 1e-10, max_evaluations=100)


def test_an_explosion_is_named() -> None:
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="step size fell"):
        integrate(lambda t, y: y * y, np.ones((1, 1)), 0.0, 2.0)  # 1 / (1 - t)


def test_a_nan_is_named() -> None:
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="step size fell"):
        integrate(lambda t, y: y * (np.nan if t > 0.5 else 1.0), Y, 0.0, 1.0)
