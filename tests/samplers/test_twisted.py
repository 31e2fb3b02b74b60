"""Twisted SMC: exact where guidance is not, on a mixture whose posterior is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import sample
from pydiff.diffusion import schedules
from pydiff.diffusion.conditioning import Observation, PiGDM
from pydiff.diffusion.operators import Matrix
from pydiff.errors import ConfigError, ShapeError
from pydiff.samplers import DDPM, TwistedSMC
from pydiff.samplers.twisted import _effective, _systematic
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
A, Y, NOISE = [[1.0, 0.5]], np.array([[0.4]]), 0.5
MIXTURE = GaussianMixture(
    [[2.0, 0.5], [-1.0, 1.0], [0.0, -2.0]],
    [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.3]], [[0.2, -0.1], [-0.1, 0.1]]],
    [0.5, 0.3, 0.2],
)
DENOISER = MIXTURE.denoiser(SCHEDULE)
POSTERIOR = MIXTURE.posterior(A, Y, NOISE)
OBSERVATION = Observation(Matrix(A), Y, NOISE)
OPTIONS: dict[str, Any] = {"shape": (4000, 2), "steps": 100, "spacing": "trailing"}


def weights_and_mean(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the modes by the posterior's own classifier, and the mean."""
    return np.exp(POSTERIOR.log_component(x, 1.0, 0.05)).mean(1), x.mean(0)


def test_particles_have_the_posterior_where_guidance_does_not() -> None:
    """Mode weights to 4 %; PiGDM alone misses them by 20 %."""
    made = sample(DENOISER, sampler=TwistedSMC(OBSERVATION), **OPTIONS)
    weights, mean = weights_and_mean(made)
    np.testing.assert_allclose(weights, POSTERIOR.weights, atol=0.04)
    np.testing.assert_allclose(mean, POSTERIOR.moments()[0], atol=0.1)
    np.testing.assert_allclose(np.cov(made.T), POSTERIOR.moments()[1], atol=0.1)
    guided = sample(PiGDM(DENOISER, OBSERVATION), sampler=DDPM("fixed_large"), **OPTIONS)
    assert np.abs(weights_and_mean(guided)[0] - POSTERIOR.weights).max() > 0.15


def test_where_the_twist_is_exact_weights_stay_equal() -> None:
    """White Gaussian data: PiGDM is the posterior, and few particles die."""
    white = GaussianMixture([np.zeros(2)], [1.0])
    x = sample(white.denoiser(SCHEDULE), sampler=TwistedSMC(OBSERVATION), **OPTIONS)
    assert len(np.unique(x[:, 0])) > 3000
    mean, covariance = white.posterior(A, Y, NOISE).moments()
    np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.05)


def test_resampling_keeps_shares() -> None:
    logs = np.log(np.array([0.5, 0.25, 0.125, 0.125]).repeat(100)) + 1000.0
    for z in (-3.0, 0.0, 2.0):
        counts = np.bincount(_systematic(logs, np.full(1, z)) // 100, minlength=4)
        np.testing.assert_allclose(counts, [200, 100, 50, 50], atol=1)
    assert _effective(np.zeros(50)) == pytest.approx(50.0)
    assert _effective(np.array([0.0, -1e4])) == pytest.approx(1.0)


def test_pure_noise_at_the_start_and_float32() -> None:
    schedule = SCHEDULE.rescale_zero_terminal_snr()
    denoiser = MIXTURE.denoiser(schedule, "v_prediction")
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(0).standard_normal((50, 2)).astype(dtype)
        options: dict[str, Any] = {"steps": 20, "spacing": "trailing"}
        made = sample(denoiser, x_init=x, sampler=TwistedSMC(OBSERVATION), **options)
        assert made.dtype == dtype and np.isfinite(made).all()


def test_bad_options() -> None:
    for match, options in {
        "ess_threshold": {"ess_threshold": 2.0},
        "variance": {"variance": "learned"},
    }.items():
        with pytest.raises(ConfigError, match=match):
            TwistedSMC(OBSERVATION, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be an Observation"):
        TwistedSMC(Y)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="share one"):
        TwistedSMC(Observation(Matrix(A), np.zeros((2, 1))))
