"""The oracles themselves: densities integrate to one, scores are gradients, Tweedie holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff.diffusion import schedules
from pydiff.errors import ConfigError, ShapeError
from pydiff.testing.oracles import GaussianMixture

MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-1.0, 1.0]], [[[0.5, 0.3], [0.3, 0.4]], [[0.2, 0.0], [0.0, 0.1]]], [0.6, 0.4]
)
POINTS = np.random.default_rng(0).standard_normal((7, 2))


@pytest.mark.parametrize("alpha, sigma", [(1.0, 0.0), (0.7, 0.5), (0.0, 1.0)])
def test_density_integrates_to_one(alpha: float, sigma: float) -> None:
    axis = np.linspace(-9, 9, 401)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    total = np.exp(MIXTURE.log_density(points, alpha, sigma)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("alpha, sigma", [(1.0, 0.01), (0.7, 0.5), (0.05, 1.0)])
def test_score_is_the_gradient_of_the_log_density(alpha: float, sigma: float) -> None:
    h = 1e-5 * sigma
    for axis in np.eye(2):
        ahead = MIXTURE.log_density(POINTS + h * axis, alpha, sigma)
        behind = MIXTURE.log_density(POINTS - h * axis, alpha, sigma)
        score = MIXTURE.score(POINTS, alpha, sigma) @ axis
        np.testing.assert_allclose(score, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-4)


def test_denoiser_is_the_conditional_mean() -> None:
    """E[x_0 | x_t] by brute force: exact samples weighted by the likelihood of x_t."""
    x0 = MIXTURE.sample(200_000, seed=1)
    for x in POINTS[:3]:
        weight = np.exp(-((x - 0.7 * x0) ** 2).sum(1) / (2 * 0.6**2))
        expected = (weight[:, None] * x0).sum(0) / weight.sum()
        np.testing.assert_allclose(MIXTURE.denoise(x[None], 0.7, 0.6)[0], expected, atol=0.02)


def test_samples_have_the_moments() -> None:
    x = MIXTURE.sample(100_000, seed=2)
    mean = 0.6 * MIXTURE.means[0] + 0.4 * MIXTURE.means[1]
    np.testing.assert_allclose(x.mean(0), mean, atol=0.02)


def test_flow_map_carries_densities_into_each_other() -> None:
    schedule = schedules.linear()
    data = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
    moved = data.flow_map(POINTS, schedule, 999, 100)
    np.testing.assert_allclose(data.flow_map(moved, schedule, 100, 999), POINTS, rtol=1e-10)
    levels = [(schedule.alpha(t), schedule.sigma(t)) for t in (999, 100)]
    spread = [np.linalg.det(a * a * data.covariances[0] + s * s * np.eye(2)) for a, s in levels]
    gain = data.log_density(moved, *levels[1]) - data.log_density(POINTS, *levels[0])
    np.testing.assert_allclose(gain, 0.5 * np.log(spread[0] / spread[1]), rtol=1e-9)
    with pytest.raises(ConfigError, match="one Gaussian"):
        MIXTURE.flow_map(POINTS, schedule, 999, 0)


def test_low_rank_and_image_shaped_data() -> None:
    direction = np.arange(1.0, 5.0)
    data = GaussianMixture([np.zeros(4)], [np.outer(direction, direction)])
    x = np.ones((3, 2, 2, 1), np.float32)
    x0 = data.denoise(x, 0.5, 0.5)
    assert x0.shape == x.shape and x0.dtype == np.float32
    along = x0.reshape(3, 4) / direction
    np.testing.assert_allclose(along, np.broadcast_to(along[:, :1], along.shape), rtol=1e-5)


@pytest.mark.parametrize(
    "arguments", [([[0.0]], [-1.0]), ([[0.0]], [1.0], [0.5]), ([[0.0]], [1.0], [0.5, 0.5])]
)
def test_bad_mixtures_are_errors(arguments: Any) -> None:
    with pytest.raises(ConfigError):
        GaussianMixture(*arguments)


def test_bad_shapes_are_errors() -> None:
    with pytest.raises(ShapeError, match="covariances"):
        GaussianMixture([[0.0, 1.0]], [1.0, 2.0])
    with pytest.raises(ShapeError, match="2 dimensions"):
        MIXTURE.denoise(np.ones((3, 5)), 1.0, 1.0)
