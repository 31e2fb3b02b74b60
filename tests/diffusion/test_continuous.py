"""Continuous schedules: published values, inverses, both ends, and the SDE behind each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff import schedules
from pydiff.diffusion import transition
from pydiff.errors import ConfigError

SCHEDULES = {
    "vp": schedules.vp(),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "edm": schedules.edm(),
    "flow": schedules.flow(),
    "flow shifted": schedules.flow(shift=3.0),
    "cosine": schedules.cosine_logsnr(),
    "cosine shifted": schedules.cosine_logsnr(shift=-2.0),
    "chain": schedules.linear(),
}
CONTINUOUS = [name for name in SCHEDULES if name != "chain"]
every = pytest.mark.parametrize("name", SCHEDULES)


def inner(schedule: Any, n: int = 41) -> np.ndarray:
    """Times between the ends of the schedule."""
    return np.linspace(schedule.t_first, schedule.t_last, n + 2)[1:-1]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_numbers_are_arrays(name: str) -> None:
    """The fast path for single numbers gives what arrays do."""
    schedule = SCHEDULES[name]
    times = np.append(inner(schedule), [schedule.t_clean, schedule.t_last])
    for function in (schedule.alpha, schedule.sigma, schedule.log_snr):
        values = function(times)
        assert values.dtype == np.float64 and values.shape == times.shape
        single = [function(float(t)) for t in times]
        assert all(type(value) is float for value in single)
        np.testing.assert_allclose(single, values, rtol=1e-13)
    assert schedule.alpha(schedule.t_clean) == 1.0 and schedule.sigma(schedule.t_clean) == 0.0
    assert schedule.log_snr(schedule.t_clean) == math.inf


@every
def test_log_snr_is_that_of_alpha_and_sigma(name: str) -> None:
    schedule = SCHEDULES[name]
    times = inner(schedule)
    ratio = 2.0 * (np.log(schedule.alpha(times)) - np.log(schedule.sigma(times)))
    np.testing.assert_allclose(schedule.log_snr(times), ratio, rtol=1e-9, atol=1e-9)
    assert (np.diff(schedule.log_snr(times)) < 0.0).all()


@every
@settings(derandomize=True, deadline=None, max_examples=50)
@given(share=st.floats(0.0, 1.0))
def test_time_is_the_inverse_of_log_snr(name: str, share: float) -> None:
    schedule = SCHEDULES[name]
    t = schedule.t_first + share * (schedule.t_last - schedule.t_first)
    back = schedule.time(schedule.log_snr(t))
    assert back == pytest.approx(t, rel=1e-9, abs=1e-9)
    assert schedule.time(np.array([schedule.log_snr(t)]))[0] == pytest.approx(back, rel=1e-12)
    assert schedule.time(math.inf) == schedule.t_clean


def test_published_values() -> None:
    """VP: alpha = exp(-t^2 (20 - 0.1) / 4 - 0.1 t / 2) (arXiv 2011.13456, eq. 33), and so on."""
    t = np.linspace(0.01, 1.0, 9)
    alpha = np.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
    np.testing.assert_allclose(schedules.vp().alpha(t), alpha, rtol=1e-13)
    np.testing.assert_allclose(schedules.vp().sigma(t), np.sqrt(1 - alpha**2), rtol=1e-10)
    np.testing.assert_allclose(schedules.sub_vp().sigma(t), 1 - alpha**2, rtol=1e-10)
    np.testing.assert_allclose(schedules.ve().sigma(t), 0.01 * 5000.0**t, rtol=1e-13)
    np.testing.assert_allclose(schedules.edm().sigma(t), t)
    np.testing.assert_allclose(schedules.flow().alpha(t[:-1]), 1 - t[:-1])
    shifted = schedules.flow(shift=3.0)
    np.testing.assert_allclose(shifted.sigma(t), 3 * t / (1 + 2 * t))
    wide = schedules.cosine_logsnr(-40.0, 40.0)
    np.testing.assert_allclose(wide.alpha(t[:-1]), np.cos(0.5 * math.pi * t[:-1]), rtol=1e-7)


def test_a_long_chain_goes_to_vp() -> None:
    """DDPM's betas beta(t) / T approach the VP SDE as T grows (arXiv 2011.13456, appendix C)."""
    vp = schedules.vp()
    errors = []
    for length in (1000, 2000, 4000):
        t = (np.arange(length) + 1.0) / length
        chain = schedules.from_betas((0.1 + t * 19.9) / length)
        errors.append(np.abs(chain.alphas_cumprod - vp.alpha(t) ** 2).max())
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.1)


@every
def test_rates_are_derivatives_of_the_marginals(name: str) -> None:
    """f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2, by central differences."""
    schedule = SCHEDULES[name]
    times = inner(schedule, 23)
    if name == "chain":  # the rates jump at whole times
        times = np.floor(times) + 0.5
    h = 1e-6 * (schedule.t_last - schedule.t_first)
    f = (np.log(schedule.alpha(times + h)) - np.log(schedule.alpha(times - h))) / (2 * h)
    growth = (schedule.sigma(times + h) ** 2 - schedule.sigma(times - h) ** 2) / (2 * h)
    g_squared = growth - 2.0 * f * schedule.sigma(times) ** 2
    np.testing.assert_allclose(schedule.log_alpha_rate(times), f, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(schedule.diffusion(times) ** 2, g_squared, rtol=1e-4)


@every
def test_transitions_solve_the_sde(name: str) -> None:
    """Mean and variance of x_t given x_s, integrated: dm = f m, dV = 2 f V + g^2."""
    schedule = SCHEDULES[name]
    s, t = inner(schedule, 2)
    if name == "chain":
        s, t = 333.0, 340.0
    mean, variance, n = 1.0, 0.0, 20_000
    edges = np.linspace(s, t, n + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    f, g = schedule.log_alpha_rate(middle), schedule.diffusion(middle)
    for rate, scale in zip(f, g, strict=True):
        kept = math.exp(rate * (t - s) / n)
        mean, variance = mean * kept, variance * kept**2 + scale**2 * (t - s) / n
    kernel = transition(schedule, s, t)
    assert mean == pytest.approx(kernel.scale, rel=1e-5)
    assert variance == pytest.approx(kernel.variance, rel=2e-3)


@every
def test_reverse_sde_and_probability_flow_keep_a_gaussian(name: str) -> None:
    """With the exact score of N(0, 4) data: dV/dt of the reverse processes is that of q(x_t)."""
    schedule = SCHEDULES[name]
    t = float(inner(schedule, 3)[1])
    t = math.floor(t) + 0.5 if name == "chain" else t
    alpha, sigma, h = schedule.alpha(t), schedule.sigma(t), 1e-6 * schedule.t_last
    variance = 4.0 * alpha**2 + sigma**2
    x = np.array([[0.3], [-2.0]])
    score = -x / variance
    drift, g = schedule.reverse_sde(x, t, score)
    flow = schedule.probability_flow(x, t, score)
    np.testing.assert_allclose(drift - flow, -0.5 * g**2 * score, rtol=1e-9)
    grown = [4.0 * schedule.alpha(u) ** 2 + schedule.sigma(u) ** 2 for u in (t - h, t + h)]
    rate = (grown[1] - grown[0]) / (2 * h)
    # x = std z: dx/dt = (d std / dt) z, and with noise dV/dt = 2 x drift - g^2 backwards in time
    np.testing.assert_allclose(2.0 * flow / x * variance, rate, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(2.0 * drift / x * variance - g**2, rate, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(schedule.drift(x, t), schedule.log_alpha_rate(t) * x)
    mean, std = schedule.marginal(x, t)
    np.testing.assert_allclose(mean, alpha * x)
    assert std == sigma


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("t", [-0.5, 100.5, math.nan, math.inf])
def test_times_outside_are_refused(name: str, t: float) -> None:
    schedule = SCHEDULES[name]
    for function in (schedule.alpha, schedule.sigma, schedule.log_snr):
        with pytest.raises(ConfigError, match="outside the schedule"):
            function(t)
        with pytest.raises(ConfigError, match="outside the schedule"):
            function(np.array([schedule.t_last, t]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.vp(beta_min=-1.0),
        lambda: schedules.vp(beta_min=20.0, beta_max=0.1),
        lambda: schedules.ve(sigma_min=0.0),
        lambda: schedules.ve(sigma_min=1.0, sigma_max=1.0),
        lambda: schedules.edm(sigma_max=float("nan")),
        lambda: schedules.flow(shift=0.0),
        lambda: schedules.cosine_logsnr(log_snr_min=3.0, log_snr_max=-3.0),
        lambda: schedules.vp(beta_min="a"),
    ],
)
def test_impossible_parameters_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_where_alpha_is_zero_the_sde_is_infinite() -> None:
    flow = schedules.flow()
    assert flow.alpha(1.0) == 0.0 and flow.log_snr(1.0) == -math.inf
    with pytest.raises(ConfigError, match="start earlier"):
        flow.drift(np.zeros((1, 2)), 1.0)
    with pytest.raises(ConfigError, match="start earlier"):
        flow.reverse_sde(np.zeros((1, 2)), 1.0, np.zeros((1, 2)))


@every
def test_describe_tells_the_levels(name: str) -> None:
    text = SCHEDULES[name].describe()
    assert "log-SNR" in text and "terminal SNR" in text and "the end is noise" in text


@pytest.mark.parametrize("name", CONTINUOUS)
def test_networks_are_told_up_to_a_thousand(name: str) -> None:
    schedule = SCHEDULES[name]
    t = np.linspace(schedule.t_first, schedule.t_last, 7)
    told = schedule.timestep(t)
    assert (np.diff(told) > 0.0).all() and told[0] >= 0.0
    assert told[-1] == pytest.approx(1000.0)
    assert [schedule.timestep(value) for value in t.tolist()] == pytest.approx(told.tolist())


def test_the_timesteps_of_edm_are_even_in_log_sigma_and_a_chains_are_its_own() -> None:
    edm = schedules.edm(0.01, 100.0)
    assert edm.timestep(np.array([0.01, 0.1, 1.0, 10.0])) == pytest.approx([0, 250, 500, 750])
    assert schedules.flow(3.0).timestep(0.5) == pytest.approx(750.0)
    assert schedules.linear().timestep(7) == 7
