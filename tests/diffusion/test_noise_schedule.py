"""alpha, sigma and log-SNR of discrete schedules, at integer, fractional and forbidden times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.diffusion import DiscreteSchedule, schedules
from pydiff.errors import ConfigError, DtypeError, ShapeError

EXACT = settings(derandomize=True, deadline=None, max_examples=60)
BETAS = st.lists(st.floats(1e-6, 0.5), min_size=2, max_size=60)


@EXACT
@given(BETAS)
def test_levels_follow_the_betas(betas: list[float]) -> None:
    schedule = DiscreteSchedule(np.array(betas))
    abar = np.cumprod(1.0 - np.array(betas))
    t = np.arange(len(betas))
    np.testing.assert_allclose(schedule.alphas_cumprod, abar, rtol=1e-12)
    np.testing.assert_allclose(schedule.alpha(t) ** 2, abar, rtol=1e-12)
    np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1.0, rtol=1e-14)
    snr = (schedule.alpha(t) / schedule.sigma(t)) ** 2
    np.testing.assert_allclose(np.exp(schedule.log_snr(t)), snr, rtol=1e-12)
    assert (np.diff(schedule.log_snr(t)) < 0).all()


@EXACT
@given(BETAS, st.floats(0.0, 1.0))
def test_fractional_times_interpolate_the_log_snr(betas: list[float], share: float) -> None:
    schedule = DiscreteSchedule(np.array(betas))
    t = share * (len(betas) - 1)
    i, f = min(int(t), len(betas) - 2), t - min(int(t), len(betas) - 2)
    expected = (1 - f) * schedule.log_snr(i) + f * schedule.log_snr(i + 1)
    assert schedule.log_snr(t) == pytest.approx(expected, abs=1e-10)
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1.0, abs=1e-14)
    assert 2 * math.log(schedule.alpha(t) / schedule.sigma(t)) == pytest.approx(expected, abs=1e-9)
    assert schedule.time(schedule.log_snr(t)) == pytest.approx(t, abs=1e-6)


def test_a_time_gives_the_same_number_in_every_form() -> None:
    schedule = schedules.linear()
    for f in (schedule.alpha, schedule.sigma, schedule.log_snr):
        value = f(700)
        assert type(value) is float
        assert value == f(700.0) == f(np.int64(700)) == f(np.float32(700)) == f(np.array([700]))[0]
        mixed = f(np.array([700, 700.5, -1]))
        assert mixed[0] == value and mixed[1] == f(700.5) and mixed[2] == f(-1)


@pytest.mark.parametrize(
    "t", [-1, -1.0, 0, 700, 999, 700.0, 0.25, 998.5, np.int64(7), np.float64(3.5)]
)
@pytest.mark.parametrize("rescaled", [False, True])
def test_levels_are_the_three_functions(t: float, rescaled: bool) -> None:
    schedule = schedules.linear()
    schedule = schedule.rescale_zero_terminal_snr() if rescaled else schedule
    three = schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t)
    assert schedule.levels(t) == three and schedules.vp().levels(0.5)[0] == schedules.vp().alpha(
        0.5
    )


def test_clean_data_lie_at_minus_one() -> None:
    schedule = schedules.linear()
    assert (schedule.alpha(-1), schedule.sigma(-1)) == (1.0, 0.0)
    assert schedule.log_snr(-1) == math.inf and schedule.time(math.inf) == -1.0
    assert (schedule.t_clean, schedule.t_first, schedule.t_last) == (-1, 0, 999)


@pytest.mark.parametrize("t", [1000, -2, -0.5, 999.5, math.nan, math.inf, "3", None, 1j, [0, 1000]])
def test_times_outside_the_schedule_are_errors(t: object) -> None:
    schedule = schedules.linear()
    for f in (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.levels):
        with pytest.raises(ConfigError, match=r"t = |t must be"):
            f(t)


@pytest.mark.parametrize("level", [-11.0, 9.3, math.nan, -math.inf])
def test_log_snr_outside_the_schedule_is_an_error(level: float) -> None:
    with pytest.raises(ConfigError, match="outside the schedule"):
        schedules.linear().time(level)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8])
def test_add_noise(dtype: type) -> None:
    schedule = schedules.linear()
    x0, eps = np.ones((3, 2, 2, 1), dtype), np.full((3, 2, 2, 1), 2.0)
    t = np.array([-1, 5, 999])
    x = schedule.add_noise(x0, eps, t)
    assert x.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert (x[0] == 1.0).all()
    np.testing.assert_allclose(x[:, 0, 0, 0], schedule.alpha(t) + 2 * schedule.sigma(t), rtol=1e-6)
    np.testing.assert_array_equal(schedule.add_noise(x0, eps, 5)[1], x[1])


def test_add_noise_names_what_does_not_fit() -> None:
    schedule, x = schedules.linear(), np.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3, 2\)"):
        schedule.add_noise(x, x.T, 0)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        schedule.add_noise(x, x, np.array([1, 2, 3]))
    with pytest.raises(DtypeError, match="complex"):
        schedule.add_noise(x.astype(complex), x, 0)


def test_arrays_are_private_and_read_only() -> None:
    betas = np.full(5, 0.3)
    schedule = DiscreteSchedule(betas)
    betas[:] = 0.9
    assert (schedule.betas == 0.3).all()
    for array in (schedule.betas, schedule.alphas_cumprod):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_tiny_betas_keep_their_noise_level() -> None:
    """1 - cumprod(1 - beta) would round to 0."""
    schedule = DiscreteSchedule(np.full(3, 1e-30))
    np.testing.assert_allclose(schedule.sigma(np.arange(3)), np.sqrt([1e-30, 2e-30, 3e-30]))


def test_rescaling_ends_in_pure_noise_and_keeps_the_start() -> None:
    before = schedules.linear()
    after = before.rescale_zero_terminal_snr()
    assert (after.alpha(999), after.sigma(999)) == (0.0, 1.0)
    assert after.terminal_snr == 0.0 and after.log_snr(999) == -math.inf
    assert after.alpha(0) == pytest.approx(before.alpha(0), rel=1e-14)
    root, old = after.alpha(np.arange(1000)), before.alpha(np.arange(1000))
    expected = (old - old[-1]) * old[0] / (old[0] - old[-1])
    np.testing.assert_allclose(root[:-1], expected[:-1], rtol=1e-9)
    assert np.isfinite(after.log_snr(998.5)) and 0.0 < after.alpha(998.5) < after.alpha(998)
    assert after.config["rescale_betas_zero_snr"] is True


def test_rescaling_needs_two_levels() -> None:
    with pytest.raises(ConfigError, match="two different"):
        DiscreteSchedule([0.5]).rescale_zero_terminal_snr()


def test_describe_tells_noise_from_not_noise() -> None:
    assert "end is noise" in schedules.linear().describe()
    with pytest.warns(UserWarning, match="terminal SNR"):
        text = schedules.geometric().describe()
    assert "NOT noise" in text and "T = 1000" in text
