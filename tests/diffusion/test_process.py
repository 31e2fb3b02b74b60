"""Transitions and posteriors against the papers' formulas, Bayes' rule and the chain itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.diffusion import (
    DiscreteSchedule,
    diffuse,
    forward_chain,
    posterior,
    schedules,
    transition,
)
from pydiff.errors import ConfigError

EXACT = settings(derandomize=True, deadline=None, max_examples=80)
SCHEDULE = schedules.linear()
TIMES = st.integers(0, 999)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_neighbours_give_the_formulas_of_ddpm(t: int) -> None:
    """Ho et al. 2020, eq. 2, 6 and 7."""
    beta, abar = SCHEDULE.betas[t], SCHEDULE.alphas_cumprod[t]
    previous = SCHEDULE.alphas_cumprod[t - 1] if t else 1.0
    kernel, back = transition(SCHEDULE, t - 1, t), posterior(SCHEDULE, t - 1, t)
    assert kernel.scale == pytest.approx(math.sqrt(1 - beta), rel=1e-12)
    assert kernel.variance == pytest.approx(beta, rel=1e-12)
    assert back.from_x0 == pytest.approx(math.sqrt(previous) * beta / (1 - abar), rel=1e-10)
    assert back.from_x == pytest.approx(
        math.sqrt(1 - beta) * (1 - previous) / (1 - abar), rel=1e-10, abs=1e-12
    )
    assert back.variance == pytest.approx((1 - previous) / (1 - abar) * beta, rel=1e-10, abs=1e-14)


@EXACT
@given(TIMES, TIMES)
def test_posterior_is_bayes_rule(a: int, b: int) -> None:
    """Precisions add: 1/var = 1/sigma_s^2 + scale^2 / var(t|s), for any two levels."""
    s, t = min(a, b), max(a, b)
    if s == t:
        return
    kernel, back = transition(SCHEDULE, s, t), posterior(SCHEDULE, s, t)
    precision = 1 / SCHEDULE.sigma(s) ** 2 + kernel.scale**2 / kernel.variance
    assert back.variance == pytest.approx(1 / precision, rel=1e-9)
    assert back.from_x == pytest.approx(back.variance * kernel.scale / kernel.variance, rel=1e-9)
    expected = back.variance * SCHEDULE.alpha(s) / SCHEDULE.sigma(s) ** 2
    assert back.from_x0 == pytest.approx(expected, rel=1e-9)


@EXACT
@given(st.lists(st.integers(-1, 999), min_size=3, max_size=3, unique=True))
def test_transitions_compose(times: list[int]) -> None:
    r, s, t = sorted(times)
    first, second, both = (transition(SCHEDULE, *pair) for pair in ((r, s), (s, t), (r, t)))
    assert both.scale == pytest.approx(first.scale * second.scale, rel=1e-12)
    variance = second.scale**2 * first.variance + second.variance
    assert both.variance == pytest.approx(variance, rel=1e-10)


@pytest.mark.parametrize("t", [0, 400, 999, 400.5])
def test_the_posterior_at_clean_data_is_x0(t: float) -> None:
    assert posterior(SCHEDULE, -1, t) == (0.0, 1.0, 0.0)


def test_from_pure_noise_the_posterior_is_q_of_xs_given_x0() -> None:
    schedule = SCHEDULE.rescale_zero_terminal_snr()
    back = posterior(schedule, 500, 999)
    assert back == (0.0, schedule.alpha(500), schedule.sigma(500) ** 2)


def test_a_time_to_itself_changes_nothing() -> None:
    for t in (-1, 0, 7, 999):
        assert posterior(SCHEDULE, t, t) == (1.0, 0.0, 0.0)
        assert transition(SCHEDULE, t, t) == (1.0, 0.0)


def test_steps_below_double_precision_are_steps_of_nothing() -> None:
    """A geometric schedule's first betas underflow to 0."""
    schedule = DiscreteSchedule([0.0, 0.0, 0.5])
    assert posterior(schedule, 0, 1) == (1.0, 0.0, 0.0)
    assert posterior(schedule, 1, 2).from_x0 == 1.0


def test_time_must_not_run_backwards() -> None:
    for f in (transition, posterior):
        with pytest.raises(ConfigError, match="s = 5 must not be later than t = 4"):
            f(SCHEDULE, 5, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_chain_has_the_marginals_of_the_closed_form(dtype: type) -> None:
    x0 = np.full((20_000, 2), 0.7, dtype)
    for t, x in forward_chain(SCHEDULE, x0, [0, 50, 51, 300, 999], seed=3):
        assert x.dtype == dtype
        error = 4 / math.sqrt(x.size)
        assert x.mean() == pytest.approx(0.7 * SCHEDULE.alpha(t), abs=error * SCHEDULE.sigma(t))
        assert x.std() == pytest.approx(SCHEDULE.sigma(t), rel=error)


def test_the_chain_of_an_image_does_not_depend_on_its_batch() -> None:
    x0 = np.random.default_rng(0).standard_normal((3, 2, 2, 1))
    batch = [x for _, x in forward_chain(SCHEDULE, x0, range(5))]
    alone = [x for _, x in forward_chain(SCHEDULE, x0[:1], range(5))]
    np.testing.assert_array_equal([x[0] for x in batch], [x[0] for x in alone])


def test_diffuse_from_clean_data_is_add_noise() -> None:
    x0, eps = np.ones((2, 3)), np.full((2, 3), -0.5)
    expected = SCHEDULE.add_noise(x0, eps, 70)
    np.testing.assert_allclose(diffuse(SCHEDULE, x0, -1, 70, eps), expected, rtol=1e-14)
