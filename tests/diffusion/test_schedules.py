"""The named beta schedules: formulas, checks, warnings, configs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.diffusion import schedules
from pydiff.errors import ConfigError

NAMED = [
    schedules.linear,
    schedules.scaled_linear,
    schedules.cosine,
    schedules.sigmoid,
    schedules.exp,
]
EXACT = settings(derandomize=True, deadline=None, max_examples=60)


def test_linear() -> None:
    np.testing.assert_allclose(schedules.linear(1000).betas, np.linspace(1e-4, 0.02, 1000))


def test_scaled_linear() -> None:
    betas = schedules.scaled_linear(1000).betas
    np.testing.assert_allclose(np.diff(np.sqrt(betas), 2), 0.0, atol=1e-15)
    assert (betas[0], betas[-1]) == (pytest.approx(0.00085), pytest.approx(0.012))


def test_cosine() -> None:
    """Nichol & Dhariwal 2021, eq. 17, with beta clipped at 0.999."""
    schedule = schedules.cosine(1000)

    def f(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 1, 500, 998):
        assert schedule.betas[t] == pytest.approx(1 - f((t + 1) / 1000) / f(t / 1000), rel=1e-10)
        assert schedule.alphas_cumprod[t] == pytest.approx(f((t + 1) / 1000) / f(0), rel=1e-10)
    assert schedule.betas[999] == 0.999


def test_sigmoid() -> None:
    betas = schedules.sigmoid(1001).betas
    assert betas[500] == pytest.approx((1e-4 + 0.02) / 2)
    np.testing.assert_allclose(betas + betas[::-1], 1e-4 + 0.02)


@EXACT
@given(st.integers(1, 300), st.floats(1e-3, 0.999))
def test_geometric_sums_to_its_closed_form(length: int, b: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        betas = schedules.geometric(length, b).betas
    assert betas.sum() == pytest.approx(1 - (1 - b) ** length, rel=1e-12)
    assert betas[-1] == b


def test_geometric_warns_with_the_terminal_snr_and_the_remedy() -> None:
    with pytest.warns(UserWarning, match=r"terminal SNR 0\.577.*rescale_zero_terminal_snr") as seen:
        schedule = schedules.geometric(1000, 0.02)
    assert seen[0].filename == __file__
    assert schedule.alphas_cumprod[-1] == pytest.approx(0.366, abs=5e-4)
    assert schedule.rescale_zero_terminal_snr().terminal_snr == 0.0


@pytest.mark.parametrize("b, abar", [(0.001, 0.531), (0.1, 0.358), (0.5, 0.289), (0.9, 0.090)])
def test_geometric_never_reaches_noise(b: float, abar: float) -> None:
    with pytest.warns(UserWarning, match="terminal SNR"):
        assert schedules.geometric(1000, b).alphas_cumprod[-1] == pytest.approx(abar, abs=5e-4)


@pytest.mark.parametrize("make", NAMED)
def test_named_schedules_end_in_noise_without_a_warning(make: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make(1000).terminal_snr < 1e-2


@pytest.mark.parametrize("make", [schedules.linear, schedules.from_betas])
def test_the_warning_points_at_the_caller(make: Callable[..., Any]) -> None:
    with pytest.warns(UserWarning, match="not noise") as seen:
        make(10) if make is schedules.linear else make([0.1] * 3)
    assert seen[0].filename == __file__


@pytest.mark.parametrize("make", [*NAMED, schedules.geometric])
@pytest.mark.parametrize(
    "length", [0, -1, 1_000_001, 10**12, 1.5, 10.0, "10", None, True, math.nan]
)
def test_lengths_are_checked(make: Callable[..., Any], length: Any) -> None:
    with pytest.raises(ConfigError, match="num_train_timesteps"):
        make(length)


@pytest.mark.parametrize("start, end", [(0, 0.1), (0.2, 0.1), (0.1, 1.0), (-1, 0.1), ("a", 0.1)])
def test_beta_ranges_are_checked(start: Any, end: Any) -> None:
    for make in (schedules.linear, schedules.scaled_linear, schedules.sigmoid):
        with pytest.raises(ConfigError, match="beta_"):
            make(10, start, end)


@pytest.mark.parametrize("b", [0.0, 1.0, -0.1, 2, math.nan, "x", None])
def test_b_is_checked(b: Any) -> None:
    with pytest.raises(ConfigError, match="b = "):
        schedules.geometric(10, b)


@pytest.mark.parametrize(
    "betas", [[], [0.0], [1.0, 0.5], [0.1, -0.1], [math.nan], [0.5, 2], [[0.1]], "ab", None, ["x"]]
)
def test_betas_are_checked(betas: Any) -> None:
    with pytest.raises(ConfigError, match="beta"):
        schedules.from_betas(betas)


def test_the_bad_beta_is_named() -> None:
    with pytest.raises(ConfigError, match=r"betas\[2\] = 1\.5"):
        schedules.from_betas([0.1, 0.2, 1.5, 0.3])


@pytest.mark.parametrize("make", NAMED)
def test_config_round_trip(make: Callable[..., Any]) -> None:
    schedule = make(1000)
    for one in (schedule, schedule.rescale_zero_terminal_snr()):
        np.testing.assert_array_equal(schedules.from_config(one.config).betas, one.betas)


def test_config_of_trained_betas_and_other_cosines() -> None:
    for schedule in (schedules.cosine(1000, s=0.02), schedules.cosine(1000, max_beta=1.0)):
        back = schedules.from_config(schedule.config)
        np.testing.assert_array_equal(back.betas, schedule.betas)
        rescaled = schedule.rescale_zero_terminal_snr()
        np.testing.assert_array_equal(schedules.from_config(rescaled.config).betas, rescaled.betas)


def test_config_defaults_are_those_of_diffusers() -> None:
    np.testing.assert_array_equal(schedules.from_config({}).betas, schedules.linear().betas)


@pytest.mark.parametrize("name", ["laplacian", "", None, 3])
def test_unknown_schedules_are_errors_that_list_the_known(name: Any) -> None:
    with pytest.raises(ConfigError, match="squaredcos_cap_v2"):
        schedules.from_config({"beta_schedule": name})
