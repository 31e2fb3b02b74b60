"""Runs the schedulers of diffusers on the inputs of sampler_cases, with the noise injected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from sampler_cases import STEPS, Case, inputs, model

from pydiff.samplers import DDPM


@contextmanager
def injected(z: np.ndarray) -> Iterator[None]:
    """DDPMScheduler takes its draws from an array instead of a generator."""
    draws = iter(z)
    target = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(draws))):
        yield


def trajectory(
    scheduler: Any, steps: int = STEPS, eta: float | None = None, **options: Any
) -> list:
    """The states after each step; eta marks a DDIMScheduler."""
    x, z = inputs(steps)
    scheduler.set_timesteps(steps)
    state, states = torch.from_numpy(x), []
    with injected(z):
        for i, t in enumerate(scheduler.timesteps):
            if eta is not None:
                options |= {"eta": eta, "variance_noise": torch.from_numpy(z[i])}
            state = scheduler.step(model(state, t), t, state, **options).prev_sample
            states.append(state.numpy())
    return states


def run_peer(case: Case) -> list[np.ndarray]:
    """The states of diffusers for one case."""
    config: dict[str, Any] = {
        "timestep_spacing": case.spacing,
        "prediction_type": case.prediction,
        "clip_sample": case.clip is not None,
    }
    if isinstance(case.sampler, DDPM):
        return trajectory(diffusers.DDPMScheduler(variance_type=case.sampler.variance, **config))
    return trajectory(diffusers.DDIMScheduler(**config), eta=case.sampler.eta)
