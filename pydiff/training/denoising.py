"""The network as losses and samplers ask it: what it is told at a time is said once, for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..diffusion import Denoiser, NoiseSchedule, Preconditioned
from .config import TrainConfig


def denoising(
    network: Callable[..., Any], schedule: NoiseSchedule, sigma_data: float | None
) -> Callable[..., Any]:
    """model(x_t, t, **inputs), t a time of the schedule, from network(x, timestep, **inputs).

    The network is told `schedule.timestep(t)`, or with sigma_data EDM's c_noise and scaled input.
    """
    if sigma_data is not None:
        return Preconditioned(network, schedule, sigma_data)
    return lambda x, t, **inputs: network(x, schedule.timestep(t), **inputs)


def denoiser_of(
    network: Callable[..., Any],
    schedule: NoiseSchedule,
    config: TrainConfig,
    class_labels: np.ndarray | None = None,
    clip: float | None = None,
) -> Denoiser:
    """The Denoiser of a network that was trained so; class_labels (N,) go with each x (N, ...)."""
    model = denoising(network, schedule, config.sigma_data)
    if class_labels is not None:
        model = partial(model, class_labels=class_labels)
    learned = config.learns_variance
    return Denoiser(model, schedule, config.prediction, clip, learned_variance=learned)
