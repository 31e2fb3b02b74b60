"""The variational bound: closed forms for Gaussian data, the decoder's masses, the true density."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff.diffusion import Denoiser, posterior, schedules, transition
from pydiff.diffusion.likelihood import vlb
from pydiff.diffusion.vlb import chain, decoder_bits, model_log_variance, step_bits
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.testing import gradcheck
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.cosine(60)
SPREAD = np.array([0.3, 0.02])  # variances of the data's two coordinates
DATA = GaussianMixture([[0.4, -0.3]], np.diag(SPREAD)[None])


def expected_terms(variance: str) -> np.ndarray:
    """E[L_t], bits per dimension, for the exact denoiser: its squared error is the variance of
    x_0 given x_t, so each KL of two Gaussians is a formula of the schedule alone."""
    terms = []
    for t in range(SCHEDULE.num_train_timesteps):
        alpha, noise = SCHEDULE.alpha(t), SCHEDULE.sigma(t) ** 2
        error = SPREAD * noise / (alpha**2 * SPREAD + noise)
        back = posterior(SCHEDULE, max(t, 1) - 1, max(t, 1))
        large = variance == "fixed_large" and t > 0
        model = transition(SCHEDULE, t - 1, t).variance if large else back.variance
        if t == 0:
            nats = 0.5 * (np.log(2 * math.pi * model) + error / model)
        else:
            ratio = back.variance / model
            nats = 0.5 * (ratio - 1 - math.log(ratio) + back.from_x0**2 * error / model)
        terms.append(nats.mean() / math.log(2))
    return np.array(terms)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_every_term_is_the_closed_form_for_gaussian_data(variance: str) -> None:
    x0 = DATA.sample(4000, seed=1)
    bound = vlb(DATA.denoiser(SCHEDULE), x0, variance=variance, decoder="gaussian")
    assert bound.terms.shape == (4000, 60) and bound.times == list(range(60))
    error = bound.terms.std(0, ddof=1) / math.sqrt(len(x0))
    score = (bound.terms.mean(0) - expected_terms(variance)) / error
    assert np.abs(score).max() < 4.5 and np.sqrt((score**2).mean()) < 1.3
    alpha, noise = SCHEDULE.alpha(59), SCHEDULE.sigma(59) ** 2
    prior = 0.5 * (noise - 1 - math.log(noise) + alpha**2 * (x0**2).mean(1)) / math.log(2)
    np.testing.assert_allclose(bound.prior, prior, rtol=1e-12)
    np.testing.assert_allclose(bound.total, bound.prior + bound.terms.sum(1), rtol=1e-12)


def test_it_bounds_the_density_of_a_mixture() -> None:
    """Closely with fixed_large, which suits smooth data, the better the more steps there are; less
    so with fixed_small, which suits data at points: it loses about a bit, whatever the steps."""
    data = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.05, 0.1], [0.6, 0.4])
    x0 = data.sample(1500, seed=2)
    bits = -data.log_density(x0) / (2 * math.log(2))
    gaps = {}
    for count in (10, 50):
        for variance in ("fixed_small", "fixed_large"):
            denoiser = data.denoiser(schedules.cosine(count))
            bound = vlb(denoiser, x0, variance=variance, decoder="gaussian", seed=3, draws=2)
            excess = bound.total - bits
            assert excess.mean() > 3 * excess.std() / math.sqrt(len(x0))
            gaps[count, variance] = excess.mean()
    assert gaps[50, "fixed_large"] < 0.2 < gaps[10, "fixed_large"] < 0.4
    assert min(gaps[10, "fixed_small"], gaps[50, "fixed_small"]) > 0.5


def test_a_chain_of_chosen_times_is_a_bound_too() -> None:
    x0 = DATA.sample(500, seed=4)
    entropy = 0.5 * (np.log(2 * math.pi * SPREAD) + 1).mean() / math.log(2)
    every = vlb(DATA.denoiser(SCHEDULE), x0, decoder="gaussian").mean
    some = vlb(DATA.denoiser(SCHEDULE), x0, decoder="gaussian", times=[0, 3, 8, 20, 40, 59]).mean
    assert some > every > entropy


def test_draws_give_their_standard_error() -> None:
    x0 = DATA.sample(40, seed=5)
    bound = vlb(DATA.denoiser(SCHEDULE), x0, decoder="gaussian", draws=8)
    other = vlb(DATA.denoiser(SCHEDULE), x0, decoder="gaussian", draws=8, seed=9)
    score = (bound.total - other.total) / np.hypot(bound.draw_error, other.draw_error)
    assert 0.7 < np.sqrt((score**2).mean()) < 1.5
    assert np.isnan(vlb(DATA.denoiser(SCHEDULE), x0, decoder="gaussian").draw_error).all()
    assert bound.standard_error == pytest.approx(bound.total.std(ddof=1) / math.sqrt(40))


def test_learned_range_lies_on_the_fixed_variances_at_its_ends() -> None:
    x0 = DATA.sample(30, seed=6)
    exact = DATA.denoiser(SCHEDULE)
    totals = {}
    for v in (-1.0, 1.0):
        model = lambda x, t, v=v: np.concatenate([exact(x, t), np.full_like(x, v)], -1)  # noqa: E731
        denoiser = Denoiser(model, SCHEDULE, "sample", learned_variance=True)
        totals[v] = vlb(denoiser, x0, variance="learned_range", decoder="gaussian").terms[:, 1:]
    small = vlb(exact, x0, decoder="gaussian").terms[:, 1:]
    large = vlb(exact, x0, variance="fixed_large", decoder="gaussian").terms[:, 1:]
    np.testing.assert_allclose(totals[-1.0], small, rtol=1e-9)
    np.testing.assert_allclose(totals[1.0], large, rtol=1e-9)


def test_learned_takes_the_variance_itself() -> None:
    x0, exact = DATA.sample(10, seed=6), DATA.denoiser(SCHEDULE)
    small = np.exp(chain(SCHEDULE).log_small)
    model = lambda x, t: np.concatenate([exact(x, t), np.full_like(x, small[t])], -1)  # noqa: E731
    denoiser = Denoiser(model, SCHEDULE, "sample", learned_variance=True)
    bound = vlb(denoiser, x0, variance="learned", decoder="gaussian")
    np.testing.assert_allclose(
        bound.terms, vlb(exact, x0, decoder="gaussian").terms, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("std", [0.001, 0.02, 0.5])
def test_the_decoder_is_a_distribution_over_the_levels(std: float) -> None:
    levels = (np.arange(256) / 127.5 - 1.0)[:, None]
    for mean in (-1.2, 0.3012, 0.97):
        bits = decoder_bits(levels, np.full_like(levels, mean), np.log([std**2]), "discretized")
        assert (2.0**-bits.data).sum() == pytest.approx(1.0, abs=1e-9)


def test_the_decoder_is_near_the_gaussian_mass_of_the_cell() -> None:
    x0 = np.array([[-1.0], [100 / 127.5 - 1.0], [1.0]])
    mean, std = x0 + 0.01, 0.02
    phi = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))
    upper, lower = (phi((x0 - mean + s / 255) / std) for s in (1, -1))
    exact = np.stack([upper[0], upper[1] - lower[1], 1 - lower[2]])[:, 0]
    bits = decoder_bits(x0, mean, np.log([std**2]), "discretized").data
    np.testing.assert_allclose(2.0**-bits, exact, rtol=2e-3)


def test_the_decoder_far_from_the_mean_stays_finite_and_grows() -> None:
    x0 = np.zeros((3, 1), np.float32) + np.float32(128 / 127.5 - 1.0)
    mean = np.array([[0.1], [0.5], [5.0]], np.float32)
    bits = decoder_bits(x0, mean, np.log([1e-6]).astype(np.float32), "discretized").data
    assert np.isfinite(bits).all() and (np.diff(bits) > 1e3).all()


def test_terms_can_be_differentiated() -> None:
    generator = np.random.default_rng(0)
    x0 = np.array([[-1.0, 31 / 127.5 - 1.0], [1.0, 0.5]])
    x0[1, 1] = 191 / 127.5 - 1.0
    guess, v = x0 + 0.05 * generator.standard_normal((2, 2)), generator.uniform(-1, 1, (2, 2))
    steps, index = chain(SCHEDULE), np.array([5, 40])

    def kl(guess, v):  # type: ignore[no-untyped-def]
        log_p = model_log_variance("learned_range", steps, index, x0, v)
        return step_bits(x0, guess, log_p, steps, index)

    assert gradcheck(kl, [guess, v])
    assert gradcheck(lambda guess, v: decoder_bits(x0, guess, v - 5.0, "discretized"), [guess, v])


def test_bad_input_is_named() -> None:
    denoiser, x0 = DATA.denoiser(SCHEDULE), np.zeros((2, 2))
    for options, match in (
        ({"variance": "small"}, "fixed_small, fixed_large"),
        ({"variance": "learned_range"}, "learned_variance=True"),
        ({"decoder": "normal"}, "discretized, gaussian"),
        ({"draws": 0}, "draws = 0"),
        ({"bins": 1}, "bins = 1"),
        ({"times": [3]}, "two or more"),
        ({"times": [3, 3]}, "increasing"),
        ({"times": [-1, 3]}, "after the clean data"),
    ):
        with pytest.raises(ConfigError, match=match):
            vlb(denoiser, x0, **options)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        vlb(denoiser, np.zeros(3))
    with pytest.raises(NonFiniteError):
        vlb(denoiser, np.full((1, 2), np.nan))
