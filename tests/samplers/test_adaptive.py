"""The samplers that choose their own steps: ode and dpm_adaptive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pydiff import random
from pydiff.diffusion import Denoiser, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import ODE, DPMAdaptive, Sampler, sample
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
GAUSSIAN = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2]
)
START = random.normal(0, (100, 2), dtype=np.float64)


def counted(data: GaussianMixture, calls: list[float]) -> Denoiser:
    exact = data.denoiser(VP)

    def model(x: np.ndarray, t: float) -> np.ndarray:
        calls.append(t)
        return exact(x, t)

    return Denoiser(model, VP, "sample")


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_the_ode_follows_the_exact_flow_to_its_tolerance(tolerance: float) -> None:
    calls: list[float] = []
    exact = GAUSSIAN.flow_map(START, VP, 999, 0)
    sampler = ODE(tolerance, tolerance)
    y = sample(counted(GAUSSIAN, calls), x_init=START, sampler=sampler, grid=[999, 0])
    assert np.abs(y - exact).max() < 10.0 * tolerance
    assert len(calls) < 200 and max(calls) <= 999 and min(calls) >= 0


@pytest.mark.parametrize("order", [2, 3])
def test_dpm_adaptive_converges_at_its_order(order: int) -> None:
    """With a controller that does nothing, h_init is the size of every step."""
    exact = sample(MIXTURE.denoiser(VP), x_init=START, sampler=ODE(1e-9, 1e-9), grid=[999, 50])
    steps, errors = [0.12, 0.06, 0.03], []
    for h in steps:
        sampler = DPMAdaptive(solver_order=order, h_init=h, icoeff=0.0, accept_safety=0.0)
        y = sample(MIXTURE.denoiser(VP), x_init=START, sampler=sampler, grid=[999, 50])
        errors.append(float(np.abs(y - exact).mean()))
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("order", [2, 3])
def test_the_error_of_dpm_adaptive_follows_the_tolerance(order: int) -> None:
    exact, errors = GAUSSIAN.flow_map(START, VP, 999, 50), []
    for tolerance in (1e-2, 1e-3, 1e-4):
        sampler = DPMAdaptive(solver_order=order, rtol=tolerance, atol=tolerance)
        y = sample(GAUSSIAN.denoiser(VP), x_init=START, sampler=sampler, grid=[999, 50])
        errors.append(float(np.abs(y - exact).max()))
        assert errors[-1] < 20.0 * tolerance
    assert errors[2] < errors[0] / 30.0


@pytest.mark.parametrize("sampler", [ODE(1e-6, 1e-6), DPMAdaptive(rtol=1e-4, atol=1e-4)], ids=repr)
def test_the_grid_is_met_only_where_it_is_given(sampler: Sampler) -> None:
    reached: list[float] = []

    def callback(step: int, t: float, x: np.ndarray, x0: np.ndarray) -> None:
        reached.append(t)

    denoiser = GAUSSIAN.denoiser(VP)
    sample(denoiser, x_init=START, sampler=sampler, grid=[999, 700, 300, 0], callback=callback)
    assert {999, 700, 300} <= set(reached) and reached == sorted(reached, reverse=True)
    reached.clear()
    sample(denoiser, x_init=START, sampler=sampler, steps=100, callback=callback)
    assert reached[0] == 990 and len(set(reached)) < 60


@pytest.mark.parametrize("sampler", [ODE(1e-6, 1e-6), DPMAdaptive(rtol=1e-5, atol=1e-5)], ids=repr)
def test_each_callback_sees_the_x0_predicted_at_its_time(sampler: Sampler) -> None:
    before: list[np.ndarray] = [START]
    denoiser = GAUSSIAN.denoiser(VP)

    def callback(step: int, t: float, x: np.ndarray, x0: np.ndarray) -> None:
        np.testing.assert_allclose(x0, denoiser(before[-1], t), rtol=1e-6, atol=1e-8)
        before.append(x)

    sample(denoiser, x_init=START, sampler=sampler, grid=[999, -1], callback=callback)
    assert len(before) > 5


def test_dpm_adaptive_rejects_and_recovers() -> None:
    calls: list[float] = []
    sampler = DPMAdaptive(h_init=8.0, rtol=1e-3, atol=1e-3)
    y = sample(counted(GAUSSIAN, calls), x_init=START, sampler=sampler, grid=[999, 0])
    np.testing.assert_allclose(y, GAUSSIAN.flow_map(START, VP, 999, 0), atol=5e-3)
    assert calls.count(999) == 1  # the prediction at a rejected start is kept


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_dpm_adaptive_with_noise_keeps_the_moments(eta: float) -> None:
    x = sample(GAUSSIAN.denoiser(VP), (10_000, 2), DPMAdaptive(eta, rtol=0.01), spacing="trailing")
    np.testing.assert_allclose(x.mean(0), [1.0, -2.0], atol=0.02)
    np.testing.assert_allclose(np.cov(x.T), GAUSSIAN.covariances[0], atol=0.02)


@pytest.mark.parametrize(
    "sampler", [ODE(max_evaluations=60), DPMAdaptive(max_evaluations=60)], ids=repr
)
def test_a_model_that_is_not_smooth_ends_in_an_error(sampler: Sampler) -> None:
    generator = np.random.default_rng(0)
    noisy = Denoiser(lambda x, t: generator.standard_normal(x.shape), VP, "epsilon")
    with pytest.raises(ConfigError, match="max_evaluations = 60 were used up"):
        sample(noisy, x_init=START, sampler=sampler, grid=[999, -1])


@pytest.mark.parametrize("option", ["rtol", "atol"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, "1", None, True])
def test_tolerances_are_checked(option: str, bad: Any) -> None:
    for cls in (ODE, DPMAdaptive):
        with pytest.raises(ConfigError, match=f"{option} = "):
            cls(**{option: bad})


def test_other_options_are_checked() -> None:
    for option, bad in (
        ("solver_order", 4),
        ("h_init", 0.0),
        ("pcoeff", math.nan),
        ("accept_safety", 2.0),
        ("max_evaluations", 0),
    ):
        with pytest.raises(ConfigError, match=f"{option} = "):
            DPMAdaptive(**{option: bad})
    with pytest.raises(ConfigError, match="max_evaluations = "):
        ODE(max_evaluations=0)
