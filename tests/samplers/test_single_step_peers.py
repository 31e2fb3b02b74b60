"""The one-step methods against diffusers' k-diffusion schedulers: whole trajectories."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
from k_coordinates import draws, ours, theirs
from sampler_cases import assert_same

from pydiff.samplers import DPM2, DPM2Ancestral, DPMppSDE, Euler, EulerAncestral, Heun, Sampler

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SAME: list[tuple[Sampler, str, str]] = [
    (Euler(), "EulerDiscreteScheduler", "euler_discrete"),
    (EulerAncestral(), "EulerAncestralDiscreteScheduler", "euler_ancestral_discrete"),
    (Heun(), "HeunDiscreteScheduler", "heun_discrete"),
    (DPM2(), "KDPM2DiscreteScheduler", "k_dpm_2_discrete"),
    (DPM2Ancestral(), "KDPM2AncestralDiscreteScheduler", "k_dpm_2_ancestral_discrete"),
]


@pytest.mark.parametrize("steps", [5, 20, 50])
@pytest.mark.parametrize("sampler, name, module", SAME, ids=[case[1] for case in SAME])
def test_trajectory(sampler: Sampler, name: str, module: str, steps: int) -> None:
    scheduler = getattr(diffusers, name)(timestep_spacing="trailing")
    assert_same(ours(sampler, scheduler, steps), theirs(scheduler, steps, module))


def test_heun_derives_the_noise_from_the_clipped_x0() -> None:
    config: dict[str, Any] = {"timestep_spacing": "trailing", "prediction_type": "sample"}
    scheduler = diffusers.HeunDiscreteScheduler(clip_sample=True, clip_sample_range=0.3, **config)
    assert_same(ours(Heun(), scheduler, 20, "sample", 0.3), theirs(scheduler, 20, "heun_discrete"))


def test_a_run_may_end_at_the_least_noisy_level() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(
        timestep_spacing="trailing", final_sigmas_type="sigma_min"
    )
    assert_same(ours(Euler(), scheduler, 20), theirs(scheduler, 20, "euler_discrete"))


@pytest.mark.parametrize("steps", [5, 20])
def test_dpmpp_sde(steps: int) -> None:
    """diffusers needs torchsde for its Brownian tree alone, which the injected noise replaces."""
    with mock.patch.dict(sys.modules, {"torchsde": ModuleType("torchsde")}):
        from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler
    scheduler = DPMSolverSDEScheduler(timestep_spacing="trailing")
    actual = ours(DPMppSDE(brownian=False), scheduler, steps)
    noise = draws(4 * steps)
    prepare = scheduler.set_timesteps

    def set_timesteps(count: int) -> None:
        prepare(count)
        scheduler.noise_sampler = lambda *_: torch.from_numpy(next(noise))

    scheduler.set_timesteps = set_timesteps
    assert_same(actual, theirs(scheduler, steps, "dpmsolver_sde"))
    assert np.isfinite(actual[-1]).all()
