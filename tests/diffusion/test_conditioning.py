"""Corrections of x_0 by an observation, against the exact posterior of Gaussians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import guidance, ops, sample
from pydiff.diffusion import Denoiser, schedules
from pydiff.diffusion.conditioning import DDNM, MomentMatching, Observation, PiGDM
from pydiff.diffusion.operators import AveragePool, Blur, ChannelMean, Mask, Matrix
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.samplers import DDIM
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
RNG = np.random.default_rng(0)
SHAPE = (4, 4, 2)
GAUSSIAN = GaussianMixture.from_factors(
    RNG.standard_normal((1, 32)) / 2, RNG.standard_normal((1, 32, 6)) / 3, 0.1
)
DENOISER = GAUSSIAN.denoiser(SCHEDULE)
TRUTH = GAUSSIAN.sample(1, seed=1).reshape(1, *SHAPE)
X = RNG.standard_normal((3, *SHAPE))
OPERATORS: dict[str, Any] = {
    "mask": Mask(RNG.random(SHAPE) < 0.5),
    "pool": AveragePool(2),
    "grey": ChannelMean(2),
    "blur": Blur(np.outer([0.2, 0.6, 0.2], [0.2, 0.6, 0.2]), "zero"),
    "matrix": Matrix(RNG.standard_normal((5, 32)), SHAPE),
}


def observed(name: str, noise_std: float) -> tuple[Observation, GaussianMixture]:
    """An observation of the truth, and the posterior it leads to."""
    operator = OPERATORS[name]
    y = operator.apply(TRUTH)
    a = operator.matrix(SHAPE)
    rows = a.any(axis=1)
    return Observation(operator, y, noise_std), GAUSSIAN.posterior(
        a[rows], y.reshape(-1)[rows], noise_std
    )


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
@pytest.mark.parametrize("name", OPERATORS)
def test_moment_matching_is_the_exact_posterior_of_a_gaussian(name: str, noise_std: float) -> None:
    """E[x_0 | x_t, y] at every noise level, hence every path and every moment."""
    observation, posterior = observed(name, noise_std)
    ours = MomentMatching(DENOISER, observation, iterations=200, tolerance=1e-12)
    exact = posterior.denoiser(SCHEDULE)
    for t in (999, 600, 200, 20):
        np.testing.assert_allclose(ours.predict(X, t).x0, exact.predict(X, t).x0, atol=1e-6)


@pytest.mark.parametrize(
    "schedule, times", [(schedules.flow(), (1.0, 0.7, 0.05)), (schedules.edm(), (80, 1, 0.01))]
)
def test_on_continuous_schedules(schedule: Any, times: tuple[float, ...]) -> None:
    """Rectified flow starts at alpha = 0, where no derivative helps; variance may explode."""
    observation, posterior = observed("pool", 0.3)
    denoiser, exact = GAUSSIAN.denoiser(schedule), posterior.denoiser(schedule)
    ours = MomentMatching(denoiser, observation, iterations=64, tolerance=1e-12)
    for t in times:
        x = schedule.sigma(t) * X
        if schedule.alpha(t) > 0.0:
            np.testing.assert_allclose(ours.predict(x, t).x0, exact.predict(x, t).x0, atol=1e-5)
    start = schedule.prior_std * X
    grid = [*np.geomspace(schedule.t_last, 0.01, 20), schedule.t_clean]
    runs = [
        sample(kind(denoiser, observation), x_init=start, sampler=sampler, grid=grid)
        for kind in (DDNM, PiGDM, MomentMatching)
        for sampler in ("ddim", "ddpm", "dpmpp_2m")
    ]
    assert np.isfinite(runs).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pigdm_is_the_exact_posterior_of_white_data(prediction: str) -> None:
    """For data N(0, v I) its V is the true one."""
    white = GaussianMixture([np.zeros(32)], [0.7])
    operator = OPERATORS["pool"]
    y, a = operator.apply(TRUTH), operator.matrix(SHAPE)
    for noise_std in (0.0, 0.2):
        ours = PiGDM(
            white.denoiser(SCHEDULE, prediction),
            Observation(operator, y, noise_std),
            data_variance=0.7,
        )
        exact = white.posterior(a, y, noise_std).denoiser(SCHEDULE)
        for t in (900, 300, 20):
            np.testing.assert_allclose(ours.predict(X, t).x0, exact.predict(X, t).x0, atol=1e-8)


def test_pigdm_is_classifier_guidance_by_its_likelihood() -> None:
    """The score plus the numeric gradient of log N(y; A x0(x_t), r^2 A A^T + R)."""
    observation, _ = observed("blur", 0.3)
    a, t = OPERATORS["blur"].matrix(SHAPE), 400
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    spread = sigma**2 / (alpha**2 + sigma**2)
    precision = np.linalg.inv(spread * a @ a.T + 0.09 * np.eye(32))

    def log_likelihood(x: np.ndarray) -> np.ndarray:
        r = (observation.y - OPERATORS["blur"].apply(DENOISER.predict(x, t).x0)).reshape(len(x), -1)
        return -0.5 * ((r @ precision) * r).sum(1)

    def gradient(x: np.ndarray, t: float) -> np.ndarray:
        units = 1e-5 * np.eye(32).reshape(32, 1, *SHAPE)
        slopes = [(log_likelihood(x + u) - log_likelihood(x - u)) / 2e-5 for u in units]
        return np.stack(slopes, 1).reshape(x.shape)

    expected = guidance.ClassifierGuidance(DENOISER, gradient).predict(X, t)
    np.testing.assert_allclose(
        PiGDM(DENOISER, observation).predict(X, t).x0, expected.x0, atol=1e-5
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_ddnm_keeps_what_y_says_and_what_it_does_not(name: str) -> None:
    observation, _ = observed(name, 0.0)
    operator = OPERATORS[name]
    plain, made = DENOISER.predict(X, 300), DDNM(DENOISER, observation).predict(X, 300)
    seen = operator.apply(made.x0)
    np.testing.assert_allclose(seen, np.broadcast_to(observation.y, seen.shape), atol=1e-6)
    left = made.x0 - plain.x0
    np.testing.assert_allclose(operator.impose(0 * left, operator.apply(left)), left, atol=1e-5)
    noisy = DDNM(DENOISER, Observation(operator, observation.y, 1e-5)).predict(X, 300)
    np.testing.assert_allclose(noisy.x0, made.x0, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_pixels_come_back_bit_for_bit(dtype: Any) -> None:
    observation, _ = observed("mask", 0.0)
    mask = OPERATORS["mask"].mask
    y = observation.y.astype(dtype)
    given = Observation(OPERATORS["mask"], np.where(mask, y, np.nan))
    x = sample(DDNM(DENOISER, given), x_init=X.astype(dtype), steps=20)
    assert x.dtype == dtype
    for image in x:
        np.testing.assert_array_equal(image[mask], y[0][mask])
    guided = PiGDM(DENOISER, given)
    imposed = given.impose(sample(guided, x_init=X.astype(dtype), steps=20))
    np.testing.assert_array_equal(imposed[0][mask], y[0][mask])


@pytest.mark.parametrize("kind", [DDNM, PiGDM, MomentMatching])
def test_the_first_step_from_pure_noise_and_float32(kind: Any) -> None:
    schedule = SCHEDULE.rescale_zero_terminal_snr()
    denoiser = GAUSSIAN.denoiser(schedule, "v_prediction")
    conditioned = kind(denoiser, observed("pool", 0.1)[0])
    options: dict[str, Any] = {"steps": 20, "spacing": "trailing", "sampler": DDIM(0.0)}
    double = sample(conditioned, x_init=X, **options)
    single = sample(conditioned, x_init=X.astype(np.float32), **options)
    assert single.dtype == np.float32 and np.isfinite(double).all()
    np.testing.assert_allclose(single, double, atol=2e-4)


def test_through_a_network_and_through_guidance() -> None:
    w = RNG.standard_normal((2, 2)) / 2

    def network(x: Any, t: Any) -> Any:
        return ops.silu(ops.matmul(x, w))

    net = Denoiser(network, SCHEDULE)
    nested = guidance.ClassifierFree(net, Denoiser(network, SCHEDULE), 2.0)
    observation, _ = observed("mask", 0.1)
    for kind in (PiGDM, MomentMatching):
        direct = kind(net, observation).predict(X, 500)
        np.testing.assert_allclose(
            kind(nested, observation).predict(X, 500).x0, direct.x0, atol=1e-8
        )
        assert np.abs(direct.x0 - net.predict(X, 500).x0).max() > 1e-3
    outer = guidance.ClassifierFree(PiGDM(DENOISER, observation), DENOISER, 1.0)
    np.testing.assert_allclose(
        outer.predict(X, 500).x0, PiGDM(DENOISER, observation).predict(X, 500).x0, atol=1e-12
    )


def test_bad_input() -> None:
    observation, _ = observed("pool", 0.0)
    plain = Denoiser(lambda x, t: np.zeros(x.shape), SCHEDULE)
    for match, build in {
        "operator": lambda: Observation(3, X),  # type: ignore[arg-type]
        "noise_std": lambda: Observation(OPERATORS["pool"], observation.y, -1.0),
        "must be an Observation": lambda: DDNM(DENOISER, X),  # type: ignore[arg-type]
        "data_variance": lambda: PiGDM(DENOISER, observation, data_variance=0.0),
        "iterations": lambda: MomentMatching(DENOISER, observation, iterations=0),
        "cannot be differentiated": lambda: PiGDM(plain, observation).predict(X, 10),
    }.items():
        with pytest.raises(ConfigError, match=match):
            build()
    with pytest.raises(ShapeError, match="y has shape"):
        DDNM(DENOISER, Observation(AveragePool(4), observation.y)).predict(X, 10)
    with pytest.raises(NonFiniteError):
        Observation(AveragePool(2), np.full((1, 2, 2, 2), np.inf))
