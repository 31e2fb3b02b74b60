"""DDPM against exact moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import fitted_order, linear_moments

from pydiff.diffusion import Denoiser, posterior, schedules, transition
from pydiff.errors import ConfigError, NonFiniteError
from pydiff.samplers import DDPM, sample
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_moments_of_a_gaussian_converge_at_first_order(variance: str) -> None:
    data, counts = GaussianMixture([[0.3]], [0.25]), [50, 100, 200, 400]
    moments = [
        linear_moments(data, SCHEDULE, DDPM(variance), n, spacing="linspace") for n in counts
    ]
    assert moments[-1][0] == pytest.approx(0.3, rel=1e-3)
    errors = [abs(v - 0.25) for _, v in moments]
    assert errors[-1] < 0.01
    assert fitted_order(counts, errors) == pytest.approx(DDPM.order, abs=0.25)


def test_fixed_small_is_exact_for_data_at_one_point() -> None:
    data = GaussianMixture([[0.3]], [0.0])
    for steps in (1, 2, 10):
        mean, variance = linear_moments(data, SCHEDULE, DDPM(), steps, spacing="trailing")
        assert (mean, variance) == (pytest.approx(0.3, abs=1e-12), pytest.approx(0.0, abs=1e-24))


def test_fixed_large_is_exact_for_standard_normal_data() -> None:
    """Then x_t ~ N(0, 1) at all times, in any number of steps that end before the clean data."""
    data = GaussianMixture([[0.0]], [1.0])
    for count in (2, 5, 20):
        grid = np.linspace(999, 0, count + 1)
        mean, variance = linear_moments(data, SCHEDULE, DDPM("fixed_large"), count, grid=grid)
        assert (mean, variance) == (pytest.approx(0.0, abs=1e-12), pytest.approx(1.0, rel=1e-9))


def test_one_step_is_the_posterior_with_the_predicted_x0() -> None:
    x, z = np.array([[0.4, -1.2]]), np.array([[1.0, -1.0]])
    denoiser = GaussianMixture([[0.0, 0.0]], [0.5]).denoiser(SCHEDULE)
    back = posterior(SCHEDULE, 300, 700)
    mean = back.from_x * x + back.from_x0 * denoiser(x, 700)
    for variance, expected in (
        ("fixed_small", back.variance),
        ("fixed_large", transition(SCHEDULE, 300, 700).variance),
    ):
        sampler = DDPM(variance)
        y = sample(denoiser, x_init=x, sampler=sampler, grid=[700, 300], noise=lambda *_: z)
        np.testing.assert_allclose(y, mean + np.sqrt(expected) * z, rtol=1e-12)


def test_samples_of_a_mixture_have_its_weights_and_moments() -> None:
    data = GaussianMixture([[2.0, 0.0], [-2.0, 1.0]], [0.05, 0.1], [0.7, 0.3])
    x = sample(data.denoiser(SCHEDULE), (4000, 2), "ddpm", steps=1000, seed=1)
    right = x[:, 0] > 0
    assert right.mean() == pytest.approx(0.7, abs=0.02)
    np.testing.assert_allclose(x[right].mean(0), [2.0, 0.0], atol=0.02)
    np.testing.assert_allclose(x[~right].mean(0), [-2.0, 1.0], atol=0.03)
    np.testing.assert_allclose(x[right].var(0), 0.05, rtol=0.08)


@pytest.mark.parametrize("variance", ["learned_log", "", None, 1.0])
def test_variance_is_checked(variance: Any) -> None:
    with pytest.raises(ConfigError, match="fixed_small, fixed_large"):
        DDPM(variance)


def learned(prediction: np.ndarray, variance: np.ndarray) -> Denoiser:
    """A network that always answers this."""
    output = np.concatenate([prediction, variance], -1)
    return Denoiser(lambda x, t: output, SCHEDULE, "sample", learned_variance=True)


def test_learned_range_goes_from_small_to_large() -> None:
    """v = -1 is fixed_small, v = 1 is fixed_large, v = 0 their geometric mean."""
    x, x0 = np.array([[0.4, -1.2, 0.3]]), np.array([[0.1, 0.2, -0.3]])
    denoiser = learned(x0, np.array([[-1.0, 0.0, 1.0]]))
    z = np.ones_like(x)
    y = sample(
        denoiser, x_init=x, sampler=DDPM("learned_range"), grid=[700, 300], noise=lambda *_: z
    )
    back = posterior(SCHEDULE, 300, 700)
    small, large = back.variance, transition(SCHEDULE, 300, 700).variance
    std = np.sqrt([[small, np.sqrt(small * large), large]])
    np.testing.assert_allclose(y, back.from_x * x + back.from_x0 * x0 + std, rtol=1e-12)


def test_learned_takes_the_variance_itself() -> None:
    x, x0, variance = np.array([[0.4, -1.2]]), np.array([[0.1, 0.2]]), np.array([[0.04, 0.0]])
    options: dict[str, Any] = {"grid": [700, 300], "noise": lambda step, shape: np.ones(shape)}
    y = sample(learned(x0, variance), x_init=x, sampler=DDPM("learned"), **options)
    back = posterior(SCHEDULE, 300, 700)
    np.testing.assert_allclose(y, back.from_x * x + back.from_x0 * x0 + [[0.2, 0.0]], rtol=1e-12)
    with pytest.raises(ConfigError, match=r"is -0\.04 somewhere"):
        sample(learned(x0, -variance), x_init=x, sampler=DDPM("learned"), **options)
    for kind in ("learned", "learned_range"):
        with pytest.raises(NonFiniteError, match="variance is not finite"):
            sample(learned(x0, variance * np.nan), x_init=x, sampler=DDPM(kind), **options)


@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_a_network_that_learned_no_variance_is_refused(variance: str) -> None:
    denoiser = GaussianMixture([[0.3]], [0.25]).denoiser(SCHEDULE)
    with pytest.raises(ConfigError, match="learned_variance=True"):
        sample(denoiser, (1, 1), DDPM(variance), steps=5)
