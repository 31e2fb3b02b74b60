"""Oracles of low rank, their Jacobians and their posteriors, against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff.diffusion import schedules
from pydiff.errors import ConfigError, ShapeError
from pydiff.testing.oracles import GaussianMixture

RNG = np.random.default_rng(0)
FACTORS = RNG.standard_normal((2, 6, 2))
MEANS = RNG.standard_normal((2, 6))
WEIGHTS = [0.3, 0.7]
NOISES: list[Any] = [0.0, 0.2, [0.1, 0.3], RNG.uniform(0.05, 0.4, (2, 6))]
POINTS = RNG.standard_normal((5, 6))


def pair(noise: Any) -> tuple[GaussianMixture, GaussianMixture]:
    """The same mixture held as factors and as full matrices."""
    low = GaussianMixture.from_factors(MEANS, FACTORS, noise, WEIGHTS)
    return low, GaussianMixture(MEANS, low.covariances, WEIGHTS)


@pytest.mark.parametrize("noise", NOISES)
def test_factors_say_what_full_covariances_say(noise: Any) -> None:
    low, full = pair(noise)
    own = np.broadcast_to(np.reshape(noise, np.shape(noise) + (1,) * (2 - np.ndim(noise))), (2, 6))
    expected = FACTORS @ FACTORS.transpose(0, 2, 1) + np.stack([np.diag(row) for row in own])
    np.testing.assert_allclose(low.covariances, expected, atol=1e-12)
    for alpha, sigma in [(1.0, 0.01), (0.7, 0.5), (0.0, 1.0), (1.0, 80.0)]:
        for name in ("log_density", "denoise", "score", "log_component"):
            ours = getattr(low, name)(POINTS, alpha, sigma)
            np.testing.assert_allclose(
                ours, getattr(full, name)(POINTS, alpha, sigma), rtol=1e-7, atol=1e-9
            )
    x = low.sample(50_000, seed=1)
    mean, covariance = low.moments()
    np.testing.assert_allclose(x.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.12)


@pytest.mark.parametrize("noise", NOISES)
def test_jacobian_is_that_of_finite_differences(noise: Any) -> None:
    low, _ = pair(noise)
    v, w = RNG.standard_normal((2, 5, 6))
    for alpha, sigma in [(0.9, 0.3), (1.0, 2.0)]:
        ahead, behind = (low.denoise(POINTS + h * v, alpha, sigma) for h in (1e-5, -1e-5))
        product = low.jacobian_product(POINTS, v, alpha, sigma)
        np.testing.assert_allclose(product, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7)
        left = (low.jacobian_product(POINTS, w, alpha, sigma) * v).sum()
        assert left == pytest.approx((product * w).sum(), rel=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "score", "flow"])
def test_denoisers_pull_back_through_every_prediction(prediction: str) -> None:
    low, _ = pair(0.2)
    schedule, v = schedules.linear(), RNG.standard_normal((5, 6))
    made, pull = low.denoiser(schedule, prediction).linearize(POINTS, 300)
    alpha, sigma = schedule.alpha(300), schedule.sigma(300)
    np.testing.assert_allclose(made.x0, low.denoise(POINTS, alpha, sigma), rtol=1e-9)
    expected = low.jacobian_product(POINTS, v, alpha, sigma)
    np.testing.assert_allclose(pull(v), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_posterior_is_bayes_rule(noise: Any, noise_std: float) -> None:
    """p(x | y) / (p(x) p(y | x)) is the same at all x that fit, and 1 / p(y) is its value."""
    low, full = pair(noise)
    a = RNG.standard_normal((2, 6))
    y = a @ low.sample(1, seed=3)[0]
    for prior in (low, full):
        posterior = prior.posterior(a, y, noise_std)
        if noise_std == 0.0:
            np.testing.assert_allclose(posterior.sample(4) @ a.T, np.tile(y, (4, 1)), atol=1e-6)
        elif np.min(noise) > 0.0:
            likelihood = -((y - POINTS @ a.T) ** 2).sum(1) / (2 * noise_std**2)
            ratio = posterior.log_density(POINTS) - prior.log_density(POINTS) - likelihood
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-8)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_posterior_of_a_mask_is_that_of_its_rows(noise: Any, noise_std: float) -> None:
    seen = np.array([True, False, True, False, False, False])
    y = np.where(seen, POINTS[0], np.nan)
    for prior in pair(noise):
        ours = prior.posterior(seen, y, noise_std)
        rows = prior.posterior(np.eye(6)[seen], y[seen], noise_std)
        np.testing.assert_allclose(ours.means, rows.means, atol=1e-8)
        np.testing.assert_allclose(ours.covariances, rows.covariances, atol=1e-8)
        np.testing.assert_allclose(ours.weights, rows.weights, rtol=1e-7)


def test_posterior_by_weighted_samples() -> None:
    low, _ = pair(0.2)
    a, y = np.eye(6)[:2], np.array([0.3, -0.4])
    x = low.sample(400_000, seed=2)
    weight = np.exp(-((y - x[:, :2]) ** 2).sum(1) / (2 * 0.4**2))
    weight /= weight.sum()
    mean, covariance = low.posterior(a, y, 0.4).moments()
    np.testing.assert_allclose(weight @ x, mean, atol=0.02)
    offset = x - mean
    np.testing.assert_allclose((weight[:, None] * offset).T @ offset, covariance, atol=0.05)


def test_two_observations_are_one_after_the_other() -> None:
    low, _ = pair(NOISES[3])
    a, y = RNG.standard_normal((2, 6)), np.array([0.5, -1.0])
    both = low.posterior(a, y, 0.3)
    turns = low.posterior(a[:1], y[:1], 0.3).posterior(a[1:], y[1:], 0.3)
    np.testing.assert_allclose(both.means, turns.means, rtol=1e-9)
    np.testing.assert_allclose(both.covariances, turns.covariances, atol=1e-10)
    np.testing.assert_allclose(both.weights, turns.weights, rtol=1e-9)


def test_classifier_and_component_agree() -> None:
    low, _ = pair(0.2)
    step = 1e-5 * RNG.standard_normal((5, 6))
    gain = low.log_component(POINTS + step, 0.8, 0.5) - low.log_component(POINTS - step, 0.8, 0.5)
    for k in range(2):
        gradient = low.component_score(POINTS, k, 0.8, 0.5)
        np.testing.assert_allclose((gradient * 2 * step).sum(1), gain[k], rtol=1e-4, atol=1e-10)


def test_pictures_of_many_dimensions() -> None:
    """D = 3072 at rank 8: nothing of size D x D is formed."""
    dimension = 3072
    factors = RNG.standard_normal((2, dimension, 8)) / 8
    data = GaussianMixture.from_factors(np.zeros((2, dimension)), factors, [0.01, 0.02])
    x = RNG.standard_normal((2, 32, 32, 3)).astype(np.float32)
    assert data.denoise(x, 0.6, 0.8).shape == x.shape
    seen = RNG.random(dimension) < 0.5
    posterior = data.posterior(seen, data.sample(1)[0], 0.1)
    assert posterior.denoiser(schedules.linear()).predict(x, 10).x0.dtype == np.float32
    moved = data.component(0).flow_map(x, schedules.linear(), 999, -1)
    assert moved.shape == x.shape and np.isfinite(moved).all()


def test_flow_map_of_factors() -> None:
    schedule = schedules.linear()
    for noise in NOISES:
        low, full = (one.component(0) for one in pair(noise))
        np.testing.assert_allclose(
            low.flow_map(POINTS, schedule, 999, -1),
            full.flow_map(POINTS, schedule, 999, -1),
            rtol=1e-6,
            atol=1e-6,
        )


def test_bad_input() -> None:
    low, _ = pair(0.2)
    with pytest.raises(ShapeError, match="6 dimensions"):
        low.posterior(np.eye(5), np.zeros(5))
    with pytest.raises(ShapeError, match="y has 3 numbers"):
        low.posterior(np.eye(6)[:2], np.zeros(3))
    with pytest.raises(ConfigError, match="degenerate"):
        low.posterior(np.ones((2, 6)), np.zeros(2))
    with pytest.raises(ConfigError, match="noise_std"):
        low.posterior(np.eye(6), np.zeros(6), -1.0)
    with pytest.raises(ConfigError, match="no density"):
        pair(0.0)[0].log_density(POINTS)
    with pytest.raises(ShapeError, match="factors"):
        GaussianMixture.from_factors(MEANS, FACTORS[0], 0.1)
    with pytest.raises(ShapeError, match="noise has shape"):
        GaussianMixture.from_factors(MEANS, FACTORS, [0.1] * 3)
    with pytest.raises(ConfigError, match="negative"):
        GaussianMixture.from_factors(MEANS, FACTORS, np.full((2, 6), -0.1))
