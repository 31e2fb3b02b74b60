"""Runs of diffusers' schedulers with states alpha x_0 + sigma eps, and ours on their levels."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
from k_coordinates import SigmaSchedule
from sampler_cases import inputs, model

from pydiff.diffusion import Denoiser, NoiseSchedule
from pydiff.samplers import Sampler, sample


class RatioSchedule(SigmaSchedule):
    """Variance preserving, and t = sigma / alpha."""

    prior_std = 1.0

    def alpha(self, t: Any) -> Any:
        return 1.0 / (1.0 + super().sigma(t) ** 2) ** 0.5

    def sigma(self, t: Any) -> Any:
        return super().sigma(t) * self.alpha(t)


class FlowSchedule(SigmaSchedule):
    """alpha = 1 - t, sigma = t."""

    t_last, prior_std = 1.0, 1.0

    def alpha(self, t: Any) -> Any:
        return 1.0 - super().sigma(t)

    def log_snr(self, t: Any) -> Any:
        with np.errstate(divide="ignore"):
            value = 2.0 * (np.log(self.alpha(t)) - np.log(self.sigma(t)))
        return float(value) if value.ndim == 0 else value


def ours(
    sampler: Sampler,
    scheduler: Any,
    steps: int,
    prediction: str = "epsilon",
    clip: Any = None,
    schedule: NoiseSchedule | None = None,
) -> list[np.ndarray]:
    """The states of a pydiff sampler on the levels of a scheduler."""
    scheduler.set_timesteps(steps)
    grid = scheduler.sigmas.numpy().astype(np.float64)
    told = dict(zip(grid.tolist(), scheduler.timesteps.tolist(), strict=False))
    noise, states = iter(inputs(steps)[1]), []
    sample(
        Denoiser(model, schedule or RatioSchedule(), prediction, clip, told.__getitem__),
        sampler=sampler,
        grid=grid,
        x_init=inputs(1)[0],
        noise=lambda step, shape: next(noise),
        callback=lambda step, t, x, x0: states.append(x),
    )
    return states


def theirs(scheduler: Any, steps: int, **options: Any) -> list[np.ndarray]:
    """The states of diffusers, each draw of noise injected."""
    import torch

    scheduler.set_timesteps(steps)
    noise, states = iter(inputs(steps)[1]), []
    state = torch.from_numpy(inputs(1)[0])
    target = f"{type(scheduler).__module__}.randn_tensor"
    with mock.patch(target, lambda *_, **__: torch.from_numpy(next(noise)), create=True):
        for t in scheduler.timesteps:
            state = scheduler.step(model(state, t), t, state, **options).prev_sample
            states.append(state.numpy())
    return states


def difference(actual: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest error of any state, relative to its largest value."""
    pairs = zip(actual, expected, strict=True)
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs)
