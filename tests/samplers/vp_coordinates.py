"""Runs of diffusers' schedulers with states alpha x_0 + sigma eps, and ours on their levels."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
from sampler_cases import inputs, model

from pydiff.diffusion import Denoiser, NoiseSchedule
from pydiff.samplers import Sampler, sample
from pydiff.schedulers.levels import VariancePreserving

RATIO = VariancePreserving(0.002, 200.0)  # variance preserving, t = sigma / alpha


def ours(
    sampler: Sampler,
    scheduler: Any,
    steps: int,
    prediction: str = "epsilon",
    clip: float | None = None,
    schedule: NoiseSchedule = RATIO,
) -> list[np.ndarray]:
    """The states of a pydiff sampler on the levels of a scheduler, which are times of `schedule`.

    The draws of noise are asked for in the order of the steps.
    """
    scheduler.set_timesteps(steps)
    grid = scheduler.sigmas.numpy().astype(np.float64)
    told = dict(zip(grid.tolist(), scheduler.timesteps.tolist(), strict=False))
    noise, states = iter(inputs(steps)[1]), []
    sample(
        Denoiser(model, schedule, prediction, clip, told.__getitem__),
        sampler=sampler,
        grid=grid,
        x_init=inputs(1)[0],
        noise=lambda step, shape: next(noise),
        callback=lambda step, t, x, x0: states.append(x),
    )
    return states


def theirs(scheduler: Any, steps: int) -> list[np.ndarray]:
    """The states of diffusers after each evaluation, each draw of noise injected."""
    import torch

    scheduler.set_timesteps(steps)
    noise, states = iter(inputs(steps)[1]), []
    state = torch.from_numpy(inputs(1)[0])
    target = f"{type(scheduler).__module__}.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(noise)), create=True):
        for t in scheduler.timesteps:
            state = scheduler.step(model(state, t), t, state).prev_sample
            states.append(state.numpy())
    return states
