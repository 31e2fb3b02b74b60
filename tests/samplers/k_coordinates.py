"""The schedule whose time is sigma, and runs of diffusers' k-diffusion schedulers on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from sampler_cases import inputs, model

from pydiff.diffusion import Denoiser, schedules
from pydiff.samplers import Sampler, sample

SIGMA = schedules.edm(sigma_min=0.002, sigma_max=200.0)  # alpha = 1, t = sigma


def draws(count: int) -> Iterator[np.ndarray]:
    """The injected noise, one after the other."""
    return iter(inputs(count)[1])


def ours(
    sampler: Sampler, scheduler: Any, steps: int, prediction: str = "epsilon", clip: Any = None
) -> list[np.ndarray]:
    """The states of a pydiff sampler in the coordinates and on the sigmas of a scheduler."""
    import torch

    scheduler.set_timesteps(steps)
    grid = np.unique(scheduler.sigmas.numpy().astype(np.float64))[::-1]
    variances = 1.0 - scheduler.alphas_cumprod.numpy().astype(np.float64)
    log_sigmas = 0.5 * np.log(variances / (1.0 - variances))

    def network(x: np.ndarray, sigma: float) -> np.ndarray:
        t = np.interp(np.log(sigma), log_sigmas, np.arange(len(log_sigmas)))
        return model(x / np.sqrt(1.0 + sigma**2), t)

    noise, states = draws(4 * steps), []
    x = inputs(1)[0] * float(torch.as_tensor(scheduler.init_noise_sigma))
    sample(
        Denoiser(network, SIGMA, prediction, clip),
        sampler=sampler,
        grid=grid,
        x_init=x,
        noise=lambda step, shape: next(noise),
        callback=lambda step, t, x, x0: states.append(x),
    )
    return states


def theirs(scheduler: Any, steps: int, module: str = "", **options: Any) -> list[np.ndarray]:
    """The states of diffusers after each whole step, each draw of `module` injected."""
    import torch

    scheduler.set_timesteps(steps)
    x, noise = torch.from_numpy(inputs(1)[0]) * scheduler.init_noise_sigma, draws(4 * steps)
    target = f"diffusers.schedulers.scheduling_{module}.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(noise)), create=True):
        states = []
        for t in scheduler.timesteps:
            output = model(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(output, t, x, **options).prev_sample
            states.append(x.numpy())
    if len(scheduler.timesteps) > steps:  # two evaluations a step, but one in the last
        states = [*states[1::2], states[-1]]
    return states
