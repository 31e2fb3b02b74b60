"""Gaussian priors, and the one that matches data where a chain does not end in noise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pydiff import sample, schedules
from pydiff.diffusion.prior import GaussianPrior
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.testing.oracles import GaussianMixture

MEAN, COVARIANCE = np.array([1.0, -2.0]), np.array([[0.5, 0.3], [0.3, 0.4]])


def geometric() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return schedules.geometric(1000, b=0.02)


def test_the_geometric_chain_needs_a_matched_prior() -> None:
    """facts: terminal SNR 0.58 at b = 0.02; N(0, I) is far off, the matched start is exact."""
    schedule = geometric()
    assert schedule.terminal_snr == pytest.approx(0.58, abs=0.01)
    assert "NOT noise" in schedule.describe()
    data = GaussianMixture([MEAN], [COVARIANCE])
    denoiser = data.denoiser(schedule)
    grid = [*range(999, 0, -3), 0, -1]
    start = schedule.matched_prior(MEAN, covariance=COVARIANCE).sample((20_000, 2), seed=1)
    y = sample(denoiser, x_init=start, sampler="ddim", grid=grid)
    np.testing.assert_allclose(y.mean(0), MEAN, atol=0.02)
    np.testing.assert_allclose(np.cov(y.T), COVARIANCE, atol=0.02)
    with pytest.warns(UserWarning, match="SNR"):
        biased = sample(denoiser, (20_000, 2), sampler="ddim", grid=grid)
    assert np.abs(biased.mean(0) - MEAN).max() > 0.1


def test_moments_and_density() -> None:
    prior = GaussianPrior(MEAN, covariance=COVARIANCE)
    draws = prior.sample((100_000, 2), dtype=np.float64)
    np.testing.assert_allclose(draws.mean(0), MEAN, atol=0.01)
    np.testing.assert_allclose(np.cov(draws.T), COVARIANCE, atol=0.01)
    exact = GaussianMixture([MEAN], [COVARIANCE]).log_density(draws[:50])
    np.testing.assert_allclose(prior.log_density(draws[:50]), exact, rtol=1e-9)
    spread = GaussianPrior(0.5, std=2.0)
    image = spread.sample((3, 4, 4, 1), seed=2)
    assert image.dtype == np.float32 and image.shape == (3, 4, 4, 1)
    exact = GaussianMixture([np.full(16, 0.5)], [4.0]).log_density(image)
    np.testing.assert_allclose(spread.log_density(image), exact, rtol=1e-6)


def test_it_is_the_start_of_a_run() -> None:
    """The prior of a schedule draws what `sample` starts from, image by image."""
    ve = schedules.ve()
    seen = []
    denoiser = GaussianMixture([MEAN], [COVARIANCE]).denoiser(ve)
    sample(denoiser, (4, 2), "euler", steps=1, callback=lambda i, t, x, x0: False, seed=3)
    start = ve.prior().sample((4, 2), seed=3)
    sample(denoiser, (4, 2), "euler", steps=2, seed=3,
           callback=lambda i, t, x, x0: seen.append((x, x0)) or False)  # fmt: skip
    np.testing.assert_array_equal(
        seen[0][1], denoiser(start.astype(np.float32), ve.t_last).astype(np.float32)
    )
    alone = ve.prior().sample((1, 2), seed=3, first_image=2)
    np.testing.assert_array_equal(alone[0], start[2])


def test_diffused_moments() -> None:
    vp = schedules.vp()
    prior = vp.matched_prior(MEAN, covariance=COVARIANCE, t=0.3)
    alpha, sigma = vp.alpha(0.3), vp.sigma(0.3)
    np.testing.assert_allclose(prior.mean, alpha * MEAN)
    np.testing.assert_allclose(prior.covariance, alpha**2 * COVARIANCE + sigma**2 * np.eye(2))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="either std or covariance"):
        GaussianPrior(0.0)
    with pytest.raises(ConfigError, match="std must be >= 0"):
        GaussianPrior(0.0, std=-1.0)
    with pytest.raises(NonFiniteError):
        GaussianPrior(np.nan, std=1.0)
    with pytest.raises(ConfigError, match="symmetric"):
        GaussianPrior(0.0, covariance=[[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(ConfigError, match="negative eigenvalue"):
        GaussianPrior(0.0, covariance=[[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ShapeError, match="does not fit"):
        GaussianPrior(MEAN, std=1.0).sample((3, 5))
    with pytest.raises(ConfigError, match="no density"):
        GaussianPrior(MEAN, std=0.0).log_density(np.zeros((1, 2)))
