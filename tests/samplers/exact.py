"""Exact moments of what a sampler draws, without drawing, where every step is linear."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np

from pydiff.diffusion import Denoiser, NoiseSchedule
from pydiff.samplers import Sampler, sample
from pydiff.testing.oracles import GaussianMixture


def linear_moments(
    data: GaussianMixture,
    schedule: NoiseSchedule,
    sampler: Sampler,
    steps: int,
    draws: int = 1,
    denoiser: Denoiser | None = None,
    **options: Any,
) -> tuple[float, float]:
    """Mean and variance of the samples for one Gaussian in one dimension.

    The run is affine in the start and in each draw of noise, at most `draws` a step, all
    independent N(0, 1): one batch holds the response to none of them and to each alone.
    """
    x, drawn = np.zeros((draws * steps + 2, 1)), count(2)
    x[1] = schedule.prior_std

    def impulse(step: int, shape: tuple[int, ...]) -> np.ndarray:
        return (np.arange(len(x)) == next(drawn)).astype(np.float64)[:, None]

    denoiser = denoiser or data.denoiser(schedule)
    y = sample(denoiser, x_init=x, sampler=sampler, steps=steps, noise=impulse, **options)[:, 0]
    return float(y[0]), float(((y[1:] - y[0]) ** 2).sum())


def fitted_order(counts: list[int], errors: list[float]) -> float:
    """Minus the slope of log error against log steps."""
    return -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])
