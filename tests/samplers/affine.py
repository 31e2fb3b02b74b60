"""Exact moments of what a run gives, without drawing, where it is affine in all noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydiff.samplers import sample


def affine_moments(
    denoiser: Any, dimension: int, sampler: Any, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of the samples of D numbers.

    The result is b + sum_i G_i z_i over the start and all draws z_i ~ N(0, I): a batch of D + 1
    runs tells b and one G_i, as row j of the batch gets the j-th unit vector in draw i alone. All
    draws of a run are counted first.
    """
    draws = 0

    def count(step: int, shape: tuple[int, ...]) -> np.ndarray:
        nonlocal draws
        draws += 1
        return np.zeros(shape)

    start = np.zeros((1, dimension))
    mean = sample(denoiser, x_init=start, sampler=sampler, noise=count, **options)[0]
    size = dimension * (draws + 1)
    units = np.eye(size).reshape(size, draws + 1, dimension)
    made = iter(range(1, draws + 1))
    x = sample(
        denoiser,
        x_init=units[:, 0].copy(),
        sampler=sampler,
        noise=lambda step, shape: units[:, next(made)],
        **options,
    )
    gains = x - mean
    return mean, gains.T @ gains
