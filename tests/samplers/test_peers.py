"""DDPM and DDIM against the schedulers of diffusers: the whole trajectory, noise injected."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sampler_cases import CASES, Case, assert_same, inputs, run

from pydiff.diffusion import schedules
from pydiff.samplers import DDIM, DDPM, grids

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
from sampler_peer import run_peer, trajectory  # noqa: E402

pytestmark = pytest.mark.peers


def kept(case: Case, states: list[np.ndarray]) -> list[np.ndarray]:
    """What must agree. diffusers' fixed_large also adds noise in a last step from t > 0 to clean
    data, as under trailing; Algorithm 2 of the paper, and pydiff, add none there."""
    last_differs = case.spacing == "trailing" and case.sampler == DDPM("fixed_large")
    return states[:-1] if last_differs else states


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trajectory(case: Case) -> None:
    actual = run(case.sampler, case.prediction, case.clip, spacing=case.spacing)
    assert_same(kept(case, actual), kept(case, run_peer(case)))


def test_float32_states_stay_within_the_tolerance_too() -> None:
    case = Case(DDIM(0.5), "trailing", "epsilon", 1.0)
    actual = run(case.sampler, "epsilon", 1.0, spacing="trailing", dtype=np.float32)
    assert actual[-1].dtype == np.float32
    assert_same(actual, run_peer(case))


def test_ddim_linspace_agrees_where_diffusers_stays_on_its_grid() -> None:
    """Its DDIM goes from t to t - T // steps, whatever the grid (diffusers #7401, #11347)."""
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=100, timestep_spacing="linspace")
    with pytest.warns(UserWarning, match="terminal SNR"):
        schedule = schedules.linear(100)
    options: dict[str, Any] = {"steps": 100, "spacing": "linspace", "schedule": schedule}
    assert_same(run(DDIM(), "epsilon", 1.0, **options), trajectory(scheduler, 100, eta=0.0))


def test_ddim_linspace_follows_the_grid_where_diffusers_leaves_it() -> None:
    """T = 981, 50 steps: the grid steps by 20 and diffusers by 981 // 50 = 19."""
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=981, timestep_spacing="linspace")
    theirs = trajectory(scheduler, eta=0.0)
    ours = run(DDIM(), "epsilon", 1.0, schedules.linear(981), spacing="linspace")
    assert np.abs(ours[-2] - theirs[-2]).max() > 1e-3
    # one step of diffusers is ours with its next time, t - 19, in the grid
    first = run(DDIM(), "epsilon", 1.0, schedules.linear(981), grid=[980, 961])
    assert_same(first, theirs[:1])


def test_zero_terminal_snr_with_v_prediction() -> None:
    scheduler = diffusers.DDPMScheduler(
        rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction"
    )
    schedule = schedules.linear().rescale_zero_terminal_snr()
    actual = run(DDPM(), "v_prediction", 1.0, schedule, spacing="trailing")
    assert_same(actual, trajectory(scheduler))


def test_stable_diffusion_ddim_ends_at_time_zero() -> None:
    """steps_offset = 1 and set_alpha_to_one = False: the last step goes from t = 1 to t = 0."""
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    ends = {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}
    expected = trajectory(diffusers.DDIMScheduler(**betas, **ends), eta=0.0)
    schedule = schedules.scaled_linear()
    times = [*partial(grids.leading, offset=1)(schedule, 50), 0]
    assert_same(run(DDIM(), "epsilon", None, schedule, grid=times), expected)


def test_clipped_model_output() -> None:
    expected = trajectory(diffusers.DDIMScheduler(), eta=0.0, use_clipped_model_output=True)
    assert_same(run(DDIM(eps_from_clipped=True), "epsilon", 1.0), expected)


@pytest.mark.filterwarnings("ignore:terminal SNR")
@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("rescale", [False, True])
def test_schedules(name: str, rescale: bool) -> None:
    """diffusers computes betas in float32: the tolerances are its rounding."""
    config = {"beta_schedule": name, "rescale_betas_zero_snr": rescale}
    options = config
    if name == "exp":  # only its Heun knows this one
        betas = diffusers.HeunDiscreteScheduler(beta_schedule=name).betas
        options = {"trained_betas": betas.numpy(), "rescale_betas_zero_snr": rescale}
    scheduler = diffusers.DDPMScheduler(**options)
    schedule = schedules.from_config(config)
    np.testing.assert_allclose(schedule.betas, scheduler.betas.numpy(), rtol=1e-5, atol=2e-6)
    expected = scheduler.alphas_cumprod.numpy()
    np.testing.assert_allclose(schedule.alphas_cumprod, expected, rtol=2e-5, atol=1e-6)
    (x, z), t = inputs(1), np.array([3, 700])
    noisy = scheduler.add_noise(*map(torch.from_numpy, (x, z[0], t))).numpy()
    np.testing.assert_allclose(schedule.add_noise(x, z[0], t), noisy, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 16, 50, 77, 250, 333, 999, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_grids(spacing: str, steps: int) -> None:
    scheduler = diffusers.DDPMScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    times = grids.GRIDS[spacing](schedules.linear(), steps)
    np.testing.assert_array_equal(times, scheduler.timesteps.numpy())
