"""Langevin dynamics against its exact stationary moments and the papers' own lines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from exact import linear_moments
from k_coordinates import SIGMA

from pydiff import Denoiser, random
from pydiff.diffusion import schedules
from pydiff.errors import ConfigError
from pydiff.samplers import AnnealedLangevin, Langevin, sample
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
DATA = GaussianMixture([[0.3]], [0.25])


@pytest.mark.parametrize("step_size", [0.01, 0.1])
@pytest.mark.parametrize("t", [100, 500])
def test_stationary_moments_are_those_of_the_level_up_to_the_step(t: int, step_size: float) -> None:
    """x' = x + a s + sqrt(2 a) z on N(m, v) keeps m, and v / (1 - a / (2 v))."""
    alpha, variance = VP.alpha(t), VP.alpha(t) ** 2 * 0.25 + VP.sigma(t) ** 2
    sampler = Langevin(step_size, t=t)
    count = round(8.0 * variance / step_size)
    mean, spread = linear_moments(DATA, VP, sampler, count, spacing="linspace")
    assert mean == pytest.approx(0.3 * alpha, rel=2e-3)
    assert spread == pytest.approx(variance / (1.0 - 0.5 * step_size / variance), rel=1e-4)


def test_the_defaults_sample_the_least_noisy_level() -> None:
    data = GaussianMixture([[0.3]], [0.0001])
    mean, spread = linear_moments(data, VP, Langevin(n_steps=10), 40, draws=10)
    assert mean == pytest.approx(0.3, rel=1e-3)
    # a = sigma^2 / 10 is a twentieth of v = 2 sigma^2
    assert spread == pytest.approx(0.0002 / (1.0 - 0.025), rel=1e-3)


def test_each_step_makes_so_many_updates_at_one_time() -> None:
    asked: list[float] = []
    exact = DATA.denoiser(VP)
    denoiser = type(exact)(lambda x, t: asked.append(t) or exact(x, t), VP, "sample")
    start = random.normal(0, (4, 1), dtype=np.float64)
    kept = sample(denoiser, x_init=start, sampler=Langevin(n_steps=3, t=70), steps=5)
    assert asked == [70] * 15
    sampler = Langevin(n_steps=3, t=70, denoise=True)
    denoised = sample(denoiser, x_init=start, sampler=sampler, steps=5)
    np.testing.assert_allclose(denoised, exact(kept, 70), rtol=1e-12)


def test_a_step_draws_as_often_as_it_likes() -> None:
    """Each time other numbers: the mean of 1,000 draws is small."""
    denoiser = Denoiser(lambda x, t: np.zeros_like(x), VP)
    sampler = Langevin(step_size=1e-6, n_steps=1000, t=70)
    y = sample(denoiser, x_init=np.zeros((400, 1)), sampler=sampler, steps=1)
    assert y.std() == pytest.approx(np.sqrt(2e-3), rel=0.1)


@pytest.mark.parametrize("denoise", [False, True])
def test_annealed_is_algorithm_1(denoise: bool) -> None:
    """Song & Ermon 2019, Algorithm 1, line by line, where alpha = 1."""
    sigmas, count, epsilon = np.geomspace(10.0, 0.1, 6), 4, 2e-3
    data = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])
    z = np.random.default_rng(1).standard_normal((24, 5, 2))
    start = 10.0 * random.normal(0, (5, 2), dtype=np.float64)
    x, draws = start, iter(z)
    for sigma in sigmas:
        a = epsilon * sigma**2 / sigmas[-1] ** 2
        for _ in range(count):
            x = x + a / 2.0 * data.score(x, 1.0, sigma) + math.sqrt(a) * next(draws)
    if denoise:
        x = x + sigmas[-1] ** 2 * data.score(x, 1.0, sigmas[-1])
    draws = iter(z)
    y = sample(
        data.denoiser(SIGMA),
        x_init=start,
        sampler=AnnealedLangevin(epsilon, count, denoise, consistent=False),
        grid=[*sigmas, 0.0],
        noise=lambda step, shape: next(draws),
    )
    np.testing.assert_allclose(y, x, rtol=1e-9)


def test_consistent_annealing_is_its_algorithm() -> None:
    """Jolicoeur-Martineau et al. 2021: x + eta sigma^2 s + beta sigma' z, where alpha = 1."""
    sigmas, eta = np.geomspace(10.0, 0.1, 30), 0.3
    z = np.random.default_rng(1).standard_normal((30, 5, 2))
    data = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])
    x = start = 10.0 * random.normal(0, (5, 2), dtype=np.float64)
    for i, sigma in enumerate(sigmas):
        after = sigmas[min(i + 1, 29)]
        beta = math.sqrt(1.0 - (sigma / after * (1.0 - eta)) ** 2)
        x = x + eta * sigma**2 * data.score(x, 1.0, sigma) + beta * after * z[i]
    x = x + sigmas[-1] ** 2 * data.score(x, 1.0, sigmas[-1])
    draws = iter(z)
    sampler = AnnealedLangevin(2.0 * eta * 0.1**2)
    y = sample(data.denoiser(SIGMA), x_init=start, sampler=sampler, grid=[*sigmas, 0.0],
               noise=lambda step, shape: next(draws))  # fmt: skip
    np.testing.assert_allclose(y, x, rtol=1e-9)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_consistent_annealing_keeps_to_its_noise_levels(n_steps: int) -> None:
    """Of data at one point, all that is random in x is the noise."""
    point, times = GaussianMixture([[0.7]], [1e-12]), [200.0, 90.0, 80.0, 2.0, 0.3]
    sampler = AnnealedLangevin(0.8 * 0.3**2, n_steps)
    mean, variance = linear_moments(point, SIGMA, sampler, 4, draws=n_steps, grid=times)
    assert mean == pytest.approx(0.7, rel=0.01)
    assert variance == pytest.approx(0.3**2, rel=1e-6)


def test_consistent_annealing_with_the_least_step_is_euler() -> None:
    data = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])
    start = random.normal(0, (5, 2), dtype=np.float64)
    sampler = AnnealedLangevin(1e-9)
    ours, euler = (
        sample(data.denoiser(VP), x_init=start, sampler=s, grid=[900, 600, 300, 100])
        for s in (sampler, "euler")
    )
    np.testing.assert_allclose(ours, euler, rtol=1e-7)


@pytest.mark.parametrize("consistent", [False, True])
def test_annealed_holds_in_x_over_alpha_elsewhere(consistent: bool) -> None:
    """A VP run, divided by alpha, is the run on the same ratios with alpha = 1."""
    times = [999, 800, 600, 400, 200, 50, -1]
    ratios = [VP.sigma(t) / VP.alpha(t) for t in times]
    start = random.normal(0, (5, 2), dtype=np.float64)
    data = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])
    sampler = AnnealedLangevin(0.01, 3, consistent=consistent)
    here = sample(data.denoiser(VP), x_init=start, sampler=sampler, grid=times)
    schedule = SIGMA
    start = start / VP.alpha(999)
    there = sample(data.denoiser(schedule), x_init=start, sampler=sampler, grid=ratios)
    np.testing.assert_allclose(here, there, rtol=1e-8)


def test_annealed_converges_with_more_updates() -> None:
    errors = []
    for count in (5, 20):
        sampler = AnnealedLangevin(n_steps=count, consistent=False)
        mean, variance = linear_moments(DATA, VP, sampler, 100, draws=count, spacing="trailing")
        errors.append(abs(variance - 0.25))
    assert mean == pytest.approx(0.3, abs=1e-3)
    assert errors[1] < 0.5 * errors[0] < 0.1


@pytest.mark.parametrize("cls", [Langevin, AnnealedLangevin])
@pytest.mark.parametrize(
    "option, bad",
    [("step_size", 0.0), ("step_size", "1"), ("n_steps", 0), ("n_steps", 1.5), ("denoise", 1)],
)
def test_options_are_checked(cls: Any, option: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"{option} = "):
        cls(**{option: bad})
