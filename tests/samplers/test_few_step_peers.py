"""Churn, flow, consistency, inversion and predictor-corrector against diffusers, noise injected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from k_coordinates import SIGMA, draws
from sampler_cases import assert_same, inputs, model

from pydiff.diffusion import Denoiser, NoiseSchedule, schedules
from pydiff.samplers import (
    LCM,
    TCD,
    Consistency,
    DDIMInverse,
    Euler,
    PredictorCorrector,
    Sampler,
    sample,
)

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Model = Callable[[np.ndarray, Any], np.ndarray]


def ours(
    sampler: Sampler,
    schedule: NoiseSchedule,
    network: Model,
    prediction: str,
    grid: Any,
    scale: float = 1.0,
) -> list[np.ndarray]:
    """The states of a pydiff sampler."""
    noise, states = draws(200), []
    sample(
        Denoiser(network, schedule, prediction),
        sampler=sampler,
        grid=grid,
        x_init=inputs(1)[0] * scale,
        noise=lambda step, shape: next(noise),
        callback=lambda step, t, x, x0: states.append(x),
    )
    return states


def theirs(
    scheduler: Any, module: str, scale: float = 1.0, scaled: bool = False, **options: Any
) -> list[np.ndarray]:
    """The states of a scheduler whose timesteps are set."""
    x, noise, states = torch.from_numpy(inputs(1)[0] * scale), draws(200), []
    target = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(noise)), create=True):
        for t in scheduler.timesteps:
            given = scheduler.scale_model_input(x, t) if scaled else x
            x = scheduler.step(model(given, t), t, x, **options).prev_sample
            states.append(x.numpy())
    return states


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_lcm(steps: int, prediction: str) -> None:
    scheduler = diffusers.LCMScheduler(prediction_type=prediction)
    scheduler.set_timesteps(steps)
    grid = [*map(int, scheduler.timesteps), -1]
    schedule = schedules.from_config(dict(scheduler.config))
    assert_same(ours(LCM(), schedule, model, prediction, grid), theirs(scheduler, "lcm"))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_tcd(steps: int, eta: float) -> None:
    scheduler = diffusers.TCDScheduler()
    scheduler.set_timesteps(steps)
    grid = [*map(int, scheduler.timesteps), 0]
    schedule = schedules.from_config(dict(scheduler.config))
    actual = ours(TCD(eta), schedule, model, "epsilon", grid)
    assert_same(actual, theirs(scheduler, "tcd", eta=eta))


@pytest.mark.parametrize("steps", [5, 20])
def test_consistency_models(steps: int) -> None:
    scheduler = diffusers.CMStochasticIterativeScheduler()
    scheduler.set_timesteps(steps)
    known = dict(zip(scheduler.sigmas.tolist(), scheduler.timesteps.tolist(), strict=False))

    def network(x: np.ndarray, sigma: float) -> np.ndarray:
        skip, out = scheduler.get_scalings_for_boundary_condition(torch.tensor(sigma))
        given = x / np.sqrt(sigma**2 + 0.25)
        return np.clip(float(skip) * x + float(out) * model(given, known[sigma]), -1.0, 1.0)

    grid = scheduler.sigmas.tolist()
    grid[-1] = 0.0  # both have a last sigma of sigma_min, which adds no noise
    actual = ours(Consistency(), SIGMA, network, "sample", grid, 80.0)
    assert_same(actual, theirs(scheduler, "consistency_models", 80.0, scaled=True))


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_flow_match_euler(steps: int, stochastic: bool) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=stochastic)
    scheduler.set_timesteps(steps)
    grid = scheduler.sigmas.numpy().astype(np.float64)

    def network(x: np.ndarray, t: float) -> np.ndarray:
        return model(x, 1000.0 * t)

    sampler = Consistency(sigma_min=0.0) if stochastic else Euler()
    actual = ours(sampler, schedules.flow(), network, "flow", grid)
    assert_same(actual, theirs(scheduler, "flow_match_euler_discrete"))


@pytest.mark.parametrize("schedule", ["karras", "exponential"])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_edm_euler(steps: int, schedule: str) -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_schedule=schedule)
    scheduler.set_timesteps(steps)

    def network(x: np.ndarray, sigma: float) -> np.ndarray:
        norm = math.hypot(sigma, 0.5)
        out = model(x / norm, 0.25 * math.log(sigma))
        return (0.5 / norm) ** 2 * x + sigma * 0.5 / norm * out

    grid = scheduler.sigmas.numpy().astype(np.float64)
    actual = ours(Euler(), SIGMA, network, "sample", grid, 80.0)
    assert_same(actual, theirs(scheduler, "edm_euler", 80.0, scaled=True))


def test_churn_where_diffusers_is_given_the_prediction_at_the_raised_level() -> None:
    """It adds the noise inside step, after its caller has asked the model; the paper before."""
    options = {"s_churn": 6.0, "s_tmin": 0.05, "s_tmax": 20.0, "s_noise": 1.01}
    scheduler = diffusers.EulerDiscreteScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    grid = scheduler.sigmas.numpy().astype(np.float64)
    scale = float(grid[0])

    def network(x: np.ndarray, sigma: float) -> np.ndarray:
        return model(x / math.hypot(sigma, 1.0), 100.0 * math.log(sigma))

    actual = ours(Euler(**options), SIGMA, network, "epsilon", grid, scale)
    x, noise, expected = torch.from_numpy(inputs(1)[0] * scale), draws(20), []
    scheduler.is_scale_input_called = True
    for t, sigma in zip(scheduler.timesteps, grid[:-1], strict=True):
        churned = options["s_tmin"] <= sigma <= options["s_tmax"]
        raised = sigma * 1.3 if churned else sigma  # 6 / 20
        z = next(noise) if churned else np.zeros(x.shape)
        given = x.numpy() + z * options["s_noise"] * math.sqrt(raised**2 - sigma**2)
        output = torch.from_numpy(network(given, raised))
        target = "diffusers.schedulers.scheduling_euler_discrete.randn_tensor"
        with mock.patch(target, lambda *_, z=z, **__: torch.from_numpy(z)):
            x = scheduler.step(output, t, x, **options).prev_sample
        expected.append(x.numpy())
    assert_same(actual, expected)


@pytest.mark.parametrize("corrector", ["langevin", "none"])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_predictor_corrector(steps: int, corrector: str) -> None:
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)

    def score(x: Any, sigma: float) -> Any:
        return -model(x / math.hypot(sigma, 1.0), 100.0 * sigma) / sigma

    sigmas = scheduler.discrete_sigmas.numpy().astype(np.float64)[::-1]
    sampler = PredictorCorrector("reverse_diffusion", corrector, 0.15, per_image=False)
    actual = ours(sampler, SIGMA, score, "score", [*sigmas, 0.0], 50.0)
    x, noise, expected = torch.from_numpy(inputs(1)[0] * 50.0), draws(200), []
    target = "diffusers.schedulers.scheduling_sde_ve.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(noise))):
        for t, sigma in zip(scheduler.timesteps, sigmas, strict=True):
            if corrector == "langevin":
                x = scheduler.step_correct(score(x, sigma), x).prev_sample
            done = scheduler.step_pred(score(x, sigma), t, x)
            x = done.prev_sample
            expected.append(x.numpy())
    expected[-1] = done.prev_sample_mean.numpy()  # as its pipeline does
    assert_same(actual, expected)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_ddim_inverse(steps: int, prediction: str, spacing: str, clip: float | None) -> None:
    """From clean data a sample model gives diffusers 0 / 0; then both start at the first level."""
    options: dict[str, Any] = {"timestep_spacing": spacing, "clip_sample": clip is not None}
    clean = prediction != "sample"
    scheduler = diffusers.DDIMInverseScheduler(
        prediction_type=prediction, set_alpha_to_one=clean, **options
    )
    scheduler.set_timesteps(steps)
    grid = [-1 if clean else 0, *map(int, scheduler.timesteps)]
    grid = grid if grid[0] < grid[1] else grid[1:]
    kept = scheduler.alphas_cumprod.numpy().astype(np.float64)  # float32: its rounding shows here
    schedule = schedules.from_betas(1.0 - kept / np.append(1.0, kept[:-1]))
    sampler = DDIMInverse(held=prediction, clip=clip)
    actual = ours(sampler, schedule, model, prediction, grid[::-1], 0.3)
    expected = theirs(scheduler, "ddim_inverse", 0.3)
    if len(actual) < len(expected):  # its first step goes from a level to itself
        expected = expected[1:]
    assert_same(actual, expected)
