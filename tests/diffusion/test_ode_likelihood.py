"""ODE log-likelihood against exact densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import pydiff
from pydiff import nn, ops
from pydiff.diffusion import Denoiser, NoiseSchedule, schedules
from pydiff.diffusion.likelihood import LogLikelihood, bits_per_dim, dequantize, ode_log_likelihood
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.testing.oracles import GaussianMixture

MIXTURE = GaussianMixture(
    [[1.0, 0.0], [-1.0, 0.5], [0.3, -0.8]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2]
)
LINEAR = schedules.linear()
SCHEDULES = {
    "linear": LINEAR,
    "zero-snr": LINEAR.rescale_zero_terminal_snr(),
    "cosine": schedules.cosine(),
    "flow": schedules.flow(),
    "exploding": schedules.edm(),
}


def run(data: GaussianMixture, schedule: NoiseSchedule, x0: Any, **options: Any) -> LogLikelihood:
    """With the true q(x_T) in place of N(0, I): what is left is the error of the method."""
    alpha, sigma = schedule.alpha(schedule.t_last), schedule.sigma(schedule.t_last)
    options.setdefault("prior", lambda x: data.log_density(x, alpha, sigma))
    return ode_log_likelihood(data.denoiser(schedule), x0, **options)


def exact(data: GaussianMixture, schedule: NoiseSchedule, x0: np.ndarray) -> np.ndarray:
    """log-density of x_0 + (sigma / alpha) eps at the first level."""
    first = schedule.t_first
    return data.log_density(x0, 1.0, schedule.sigma(first) / schedule.alpha(first))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_mixture_within_a_thousandth_of_a_nat_per_dimension(name: str) -> None:
    schedule, x0 = SCHEDULES[name], MIXTURE.sample(100, seed=3)
    result = run(MIXTURE, schedule, x0)
    error = np.abs(result.log_prob - exact(MIXTURE, schedule, x0)).max() / 2
    assert error < 2e-4
    assert (result.probe_error == 0).all() and result.latents.shape == x0.shape
    assert 50 < result.evaluations < 300
    if name in ("flow", "exploding"):  # their first level is as good as clean
        assert np.abs(result.log_prob - MIXTURE.log_density(x0)).max() / 2 < 1e-3


def test_a_smaller_tolerance_is_a_smaller_error() -> None:
    x0 = MIXTURE.sample(30, seed=3)
    errors = [
        np.abs(run(MIXTURE, LINEAR, x0, rtol=tol, atol=tol).log_prob - exact(MIXTURE, LINEAR, x0))
        for tol in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[1].max() < 0.1 * errors[0].max() and errors[2].max() < 1e-6


def test_the_prior_is_the_one_that_samples_start_from() -> None:
    """For N(0, 1) data on a variance-preserving schedule nothing moves."""
    data, x0 = GaussianMixture([[0.0, 0.0]], [1.0]), np.array([[0.5, -1.0], [2.0, 0.1]])
    result = ode_log_likelihood(data.denoiser(LINEAR), x0)
    np.testing.assert_allclose(result.prior, data.log_density(result.latents), rtol=1e-9)
    np.testing.assert_allclose(result.latents, x0 * LINEAR.alpha(0), atol=1e-5)
    np.testing.assert_allclose(result.log_prob, exact(data, LINEAR, x0), atol=1e-4)
    schedule, points = schedules.flow(), MIXTURE.sample(20, seed=1)
    flow = ode_log_likelihood(MIXTURE.denoiser(schedule), points)
    np.testing.assert_allclose(flow.log_prob, exact(MIXTURE, schedule, points), atol=2e-4)


@pytest.mark.parametrize("trace", ["rademacher", "gaussian"])
def test_hutchinson_agrees_within_its_own_error_bars(trace: str) -> None:
    x0 = MIXTURE.sample(60, seed=4)
    result = run(MIXTURE, LINEAR, x0, trace=trace, probes=40, rtol=1e-4, atol=1e-4)
    score = (result.log_prob - exact(MIXTURE, LINEAR, x0)) / result.probe_error
    assert abs(score.mean()) < 0.5 and 0.75 < np.sqrt((score**2).mean()) < 1.35
    assert np.isnan(run(MIXTURE, LINEAR, x0[:2], trace=trace, rtol=1e-3).probe_error).all()


def test_rademacher_probes_are_exact_where_coordinates_are_independent() -> None:
    data = GaussianMixture([[0.3, -0.2, 0.1]], np.diag([0.5, 0.1, 0.02])[None])
    x0 = data.sample(5, seed=1)
    result = run(data, LINEAR, x0, trace="rademacher")
    np.testing.assert_allclose(result.log_prob, exact(data, LINEAR, x0), atol=1e-3)


def test_images_of_many_dimensions_take_probes_by_default() -> None:
    data = GaussianMixture(np.full((1, 48), 0.2), [0.1])
    x0 = data.sample(4, seed=0).reshape(4, 4, 4, 3)
    result = run(data, LINEAR, x0, probes=2, rtol=1e-4, atol=1e-4)
    assert result.latents.shape == x0.shape
    np.testing.assert_allclose(result.log_prob / 48, exact(data, LINEAR, x0) / 48, atol=1e-3)
    bits = -exact(data, LINEAR, x0) / (48 * math.log(2))
    np.testing.assert_allclose(result.bits_per_dim, bits, atol=2e-3)
    assert result.mean == result.log_prob.mean()
    assert result.standard_error == pytest.approx(result.log_prob.std(ddof=1) / 2)


def test_any_callable_is_differenced() -> None:
    exact_model = MIXTURE.denoiser(LINEAR)
    opaque = Denoiser(lambda x, t: np.asarray(exact_model(np.asarray(x), t)), LINEAR, "sample")
    x0 = MIXTURE.sample(20, seed=5)
    by_difference = ode_log_likelihood(opaque, x0).log_prob
    np.testing.assert_allclose(by_difference, ode_log_likelihood(exact_model, x0).log_prob,
                               atol=1e-5)  # fmt: skip
    with pytest.raises(ConfigError, match="cannot be differentiated"):
        ode_log_likelihood(opaque, x0, jacobian="vjp")


class Affine(nn.Module):
    """eps = tanh(x A + b), in pydiff.ops."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        self.a = (0.4 * generator.standard_normal((3, 3))).astype(dtype)
        self.b = generator.standard_normal(3).astype(dtype)

    def forward(self, x: Any, t: Any) -> Any:
        return ops.tanh(ops.matmul(x, self.a) + self.b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_module_is_differentiated_by_autograd(dtype: Any) -> None:
    denoiser = Denoiser(Affine(dtype), LINEAR)
    x0 = np.random.default_rng(1).standard_normal((4, 3)).astype(dtype)
    options: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
    by_vjp = ode_log_likelihood(denoiser, x0, jacobian="vjp", **options).log_prob
    step = 1e-2 if dtype == np.float32 else 1e-4
    by_difference = ode_log_likelihood(
        denoiser, x0, jacobian="difference", difference=step, **options
    ).log_prob
    np.testing.assert_allclose(by_vjp, by_difference, atol=0.02 if dtype == np.float32 else 1e-4)
    assert by_vjp.dtype == np.float64


def test_float32_follows_float64() -> None:
    x0 = MIXTURE.sample(20, seed=6)
    single = run(MIXTURE, LINEAR, x0.astype(np.float32), rtol=1e-5, atol=1e-5)
    double = run(MIXTURE, LINEAR, x0, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(single.log_prob, double.log_prob, atol=2e-3)


def test_an_image_is_the_same_in_any_batch_but_for_the_step_size() -> None:
    x0 = MIXTURE.sample(6, seed=7)
    options: dict[str, Any] = {"trace": "rademacher", "probes": 3, "seed": 2}
    whole = run(MIXTURE, LINEAR, x0, **options).log_prob
    np.testing.assert_allclose(run(MIXTURE, LINEAR, x0[:2], **options).log_prob, whole[:2],
                               atol=1e-3)  # fmt: skip
    np.testing.assert_array_equal(run(MIXTURE, LINEAR, x0, **options).log_prob, whole)


def test_bits_per_dim() -> None:
    """Uniform over [-1, 1]^D: one cell of 256 has the probability 2^-8 per dimension."""
    assert bits_per_dim(-10 * math.log(2.0), 10, 2 / 256) == pytest.approx(8.0)
    np.testing.assert_allclose(bits_per_dim(np.array([0.0, -3 * math.log(2)]), 3), [0.0, 1.0])
    with pytest.raises(ConfigError, match="spacing"):
        bits_per_dim(0.0, 3, 0.0)


def test_dequantize_fills_the_cells() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1))
    x = dequantize((levels / 127.5 - 1.0).astype(np.float32), seed=3)
    assert x.dtype == np.float32 and x.min() >= -1.0 and x.max() <= 1.0
    inside = (x.astype(np.float64) + 1.0) * 128 - levels
    assert inside.min() > -1e-5 and inside.max() < 1.0 + 1e-5
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(dequantize(levels[:3] / 127.5 - 1.0, seed=3),
                                  dequantize(levels / 127.5 - 1.0, seed=3)[:3])  # fmt: skip
    with pytest.raises(ConfigError, match="256 even levels"):
        dequantize(levels / 127.5 - 0.999)
    with pytest.raises(ConfigError, match="bins = 1"):
        dequantize(levels / 127.5 - 1.0, bins=1)


def test_bad_input_is_named() -> None:
    denoiser, x0 = MIXTURE.denoiser(LINEAR), np.zeros((2, 2))
    for options, match in (
        ({"trace": "hutchinson"}, "auto, exact, rademacher, gaussian"),
        ({"jacobian": "jvp"}, "auto, vjp, difference"),
        ({"probes": 0}, "probes = 0"),
        ({"difference": 0.0}, "difference = 0.0"),
        ({"max_evaluations": 20}, "max_evaluations = 20"),
    ):
        with pytest.raises(ConfigError, match=match):
            ode_log_likelihood(denoiser, x0, **options)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="prior returned"):
        ode_log_likelihood(denoiser, x0, prior=lambda x: x)
    with pytest.raises(NonFiniteError, match="x0"):
        ode_log_likelihood(denoiser, x0 * np.nan)
    broken = Denoiser(lambda x, t: np.full_like(x, np.nan), LINEAR, "sample")
    with pytest.raises(NonFiniteError, match="not finite at t"):
        ode_log_likelihood(broken, x0)


def test_it_is_found_from_the_top() -> None:
    assert pydiff.likelihood.ode_log_likelihood is ode_log_likelihood
