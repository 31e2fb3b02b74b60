"""Training targets, weights and times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import Tensor, gradcheck, ops
from pydiff.diffusion import (
    WEIGHTS,
    Denoiser,
    Loss,
    min_snr_weights,
    schedules,
    training_target,
    training_times,
)
from pydiff.diffusion.parameterization import target
from pydiff.diffusion.vlb import chain, model_log_variance, step_bits
from pydiff.errors import ConfigError, ShapeError

SCHEDULE = schedules.linear()
ZERO_SNR = SCHEDULE.rescale_zero_terminal_snr()
X0 = np.random.default_rng(0).standard_normal((4, 2, 2, 1))
EPS = np.random.default_rng(1).standard_normal((4, 2, 2, 1))
T = np.array([0, 10, 500, 999])


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "score", "flow"])
def test_a_model_that_hits_its_target_denoises_perfectly(prediction: str) -> None:
    x = SCHEDULE.add_noise(X0, EPS, T)
    output = training_target(prediction, X0, EPS, T, SCHEDULE)
    for i, t in enumerate(T):
        denoiser = Denoiser(lambda x, t, i=i: output[i : i + 1], SCHEDULE, prediction)
        np.testing.assert_allclose(denoiser(x[i : i + 1], int(t))[0], X0[i], atol=1e-9)


def test_targets_are_new_float32_arrays() -> None:
    eps = EPS.astype(np.float32)
    result = training_target("epsilon", X0.astype(np.float32), eps, T, SCHEDULE)
    assert result.dtype == np.float32 and not np.shares_memory(result, eps)
    np.testing.assert_array_equal(result, eps)


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 2, 2, 1\).*\(3, 2, 2, 1\)"):
        training_target("epsilon", X0, EPS[:3], T, SCHEDULE)


def test_times_are_uniform_and_keyed_by_image() -> None:
    t = training_times(SCHEDULE, seed=5, n=20_000)
    assert t.dtype == np.int64 and t.min() >= 0 and t.max() <= 999
    counts = np.bincount(t // 100, minlength=10)
    assert (np.abs(counts - 2000) < 5 * np.sqrt(2000)).all()
    np.testing.assert_array_equal(training_times(SCHEDULE, 5, 7, first_image=100), t[100:107])
    assert (training_times(SCHEDULE, 5, 100, step=1) != t[:100]).any()


def test_min_snr_weights_the_error_of_x0_by_the_capped_snr() -> None:
    """A unit error of x_0 is an error of sqrt(SNR) in epsilon and sqrt(SNR + 1) in v."""
    snr = np.exp(SCHEDULE.log_snr(T))
    expected = np.minimum(snr, 5.0)
    np.testing.assert_allclose(min_snr_weights("sample", T, SCHEDULE), expected)
    np.testing.assert_allclose(min_snr_weights("epsilon", T, SCHEDULE) * snr, expected)
    np.testing.assert_allclose(min_snr_weights("v_prediction", T, SCHEDULE) * (snr + 1), expected)
    end = ZERO_SNR
    assert min_snr_weights("epsilon", 999, end) == 1.0
    assert min_snr_weights("v_prediction", 999, end) == 0.0


# ---------------------------------------------------------------- objectives and weights

PREDICTION_NAMES = ["epsilon", "sample", "v_prediction", "score", "flow"]


def answers(prediction: str, x0: np.ndarray) -> Any:
    """A network of this prediction type whose x_0 is always `x0`."""

    def model(x: np.ndarray, t: np.ndarray) -> Tensor:
        alpha, sigma = (f(t)[:, None, None, None] for f in (SCHEDULE.alpha, SCHEDULE.sigma))
        eps = (x - alpha * x0) / sigma
        return Tensor(target(prediction, x0, eps, SCHEDULE.alpha(t), SCHEDULE.sigma(t)))

    return model


@pytest.mark.parametrize("weight", ["min_snr", "p2", "ncsn", "edm", "likelihood"])
def test_weights_speak_of_the_same_error_whatever_is_predicted(weight: str) -> None:
    example = Loss().draw(SCHEDULE, X0, seed=3)
    losses = [
        Loss(prediction, weight=weight)(answers(prediction, 0.5 * X0), example, SCHEDULE).numpy()
        for prediction in PREDICTION_NAMES
    ]
    for other in losses[1:]:
        np.testing.assert_allclose(other, losses[0], rtol=1e-8)


def test_weights_are_those_of_their_papers() -> None:
    t = np.array([1, 10, 500, 998])
    snr = np.exp(SCHEDULE.log_snr(t))
    np.testing.assert_allclose(WEIGHTS["p2"]("epsilon", t, SCHEDULE), 1.0 / (1.0 + snr))
    np.testing.assert_allclose(WEIGHTS["ncsn"]("score", t, SCHEDULE), SCHEDULE.sigma(t) ** 2)
    edm, sigma = schedules.edm(), np.array([0.01, 0.5, 20.0])
    expected = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
    np.testing.assert_allclose(WEIGHTS["edm"]("sample", sigma, edm), expected)
    before = np.exp(SCHEDULE.log_snr(t - 1))
    np.testing.assert_allclose(
        WEIGHTS["likelihood"]("sample", t, SCHEDULE), 500.0 * (before - snr), rtol=1e-9
    )
    vp, u = schedules.vp(), np.array([0.1, 0.5, 0.9])
    h = 1e-6
    slope = (np.exp(vp.log_snr(u - h)) - np.exp(vp.log_snr(u + h))) / (2 * h)
    np.testing.assert_allclose(
        WEIGHTS["likelihood"]("sample", u, vp), 0.5 * (1.0 - vp.t_first) * slope, rtol=1e-6
    )


def test_the_likelihood_weight_is_that_of_the_bound() -> None:
    """Each KL with the variance of q is from_x0^2 |error of x_0|^2 / (2 variance) in nats."""
    steps, t = chain(SCHEDULE), np.arange(1000)
    weight = WEIGHTS["likelihood"]("sample", t, SCHEDULE) / 1000
    # at t = 0 the decoder, whose mean is x_0 itself
    np.testing.assert_allclose(weight, 0.5 * steps.from_x0**2 * np.exp(-steps.log_small), rtol=1e-8)


def test_the_mean_is_one_pass_with_the_same_result() -> None:
    example = Loss("v_prediction").draw(SCHEDULE, X0, seed=4)
    model = answers("v_prediction", 0.3 * X0)
    loss = Loss("v_prediction")
    each = loss(model, example, SCHEDULE).numpy()
    assert loss.mean(model, example, SCHEDULE).item() == pytest.approx(each.mean(), rel=1e-12)


def test_sliced_score_matching_is_denoising_score_matching_up_to_a_constant() -> None:
    """Data N(0, 4), a score model -c x: both are least at the true c, and half the weighted error
    of the score grows as the sliced objective does."""
    schedule, n = schedules.vp(), 400_000
    x0 = 2.0 * np.random.default_rng(5).standard_normal((n, 1))
    t = np.full(n, 0.4)
    alpha, sigma = schedule.alpha(0.4), schedule.sigma(0.4)
    true = 1.0 / (4.0 * alpha**2 + sigma**2)
    sliced, denoising = (Loss("score", o, w) for o, w in (("sliced", "simple"), ("mse", "ncsn")))
    example = sliced.draw(schedule, x0, seed=6)._replace(t=t)

    def value(loss: Loss, c: float) -> float:
        return loss.mean(lambda x, t: Tensor(-c * x), example, schedule).item()

    low, middle, high = (value(sliced, share * true) for share in (0.5, 1.0, 1.5))
    # the vertex of the parabola through three values
    assert 1.0 + 0.25 * (low - high) / (low - 2.0 * middle + high) == pytest.approx(1.0, abs=0.01)
    for c in (0.7 * true, 1.3 * true):
        gained = value(sliced, c) - value(sliced, true)
        assert gained > 0.0
        half = 0.5 * (value(denoising, c) - value(denoising, true))
        assert gained == pytest.approx(half, rel=0.03)


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-4), (np.float32, 2e-4)])
def test_finite_differences_see_the_curvature_of_the_score(dtype: Any, error: float) -> None:
    """Of s = -tanh x: v . J v = s^2 - 1 in each dimension, as v is a sign. With steps of h the
    error is at most h^2 (|s'''| / 6 + |s s''| / 2) < 0.8 h^2, and h = 0.01 sigma."""
    schedule, loss = schedules.vp(), Loss("score", "sliced")
    example = loss.draw(schedule, X0.astype(dtype), seed=7)
    x = schedule.add_noise(example.x0, example.eps, example.t).astype(np.float64)
    s = -np.tanh(x)
    variance = schedule.sigma(example.t) ** 2
    expected = variance * (1.5 * s**2 - 1.0).mean((1, 2, 3))
    value = loss(lambda x, t: ops.tanh(Tensor(-x)), example, schedule).numpy()
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, atol=error)


class TwoHeads:
    """A network whose prediction and variance are parameters."""

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        self.mean, self.v = (
            Tensor(0.1 * rng.standard_normal(X0.shape), requires_grad=True) for _ in range(2)
        )

    def __call__(self, x: Any, t: Any) -> Tensor:
        return ops.concat([self.mean, self.v], -1)


def test_hybrid_trains_the_mean_by_the_simple_loss_alone() -> None:
    hybrid, simple, vlb = TwoHeads(), TwoHeads(), TwoHeads()
    loss = Loss(objective="hybrid")
    example = loss.draw(SCHEDULE, X0, seed=9)._replace(t=T)
    loss.mean(hybrid, example, SCHEDULE).backward()
    Loss().mean(lambda x, t: simple.mean, example, SCHEDULE).backward()
    Loss(objective="vlb").mean(vlb, example, SCHEDULE).backward()
    np.testing.assert_allclose(hybrid.mean.grad, simple.mean.grad, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(hybrid.v.grad, 1e-3 * vlb.v.grad, rtol=1e-9)
    assert np.abs(vlb.mean.grad).max() > 0.0 and loss.learns_variance


def test_the_bound_is_the_likelihoods() -> None:
    """T times a term of `vlb` at the same noise."""
    heads = TwoHeads()
    loss = Loss(objective="vlb")
    example = loss.draw(SCHEDULE, X0, seed=9)._replace(t=np.full(4, 300))
    value = loss(heads, example, SCHEDULE).numpy()
    steps = chain(SCHEDULE)
    x = SCHEDULE.add_noise(X0, example.eps, 300)
    x0_hat = (x - SCHEDULE.sigma(300) * heads.mean.data) / SCHEDULE.alpha(300)
    log_p = model_log_variance("learned_range", steps, example.t, X0, heads.v)
    expected = 1000 * step_bits(X0, Tensor(x0_hat), log_p, steps, example.t).numpy()
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("objective", ["mse", "vlb", "sliced"])  # hybrid stops one on purpose
def test_gradients(objective: str) -> None:
    loss = Loss(objective=objective)
    example = loss.draw(SCHEDULE, X0, seed=2)._replace(t=np.array([0, 10, 500, 900]))
    width = 1 + loss.learns_variance

    def value(w: Any) -> Any:
        return loss.mean(lambda x, t: ops.tanh(ops.matmul(Tensor(x), w)), example, SCHEDULE)

    gradcheck(value, [0.3 * np.random.default_rng(3).standard_normal((1, width))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "noise"}, "prediction = 'noise'"),
        ({"objective": "l1"}, "known: mse, hybrid, vlb, sliced"),
        ({"weight": "snr"}, "weight = 'snr'; known"),
        ({"times": "often"}, "times = 'often'; known"),
        ({"objective": "vlb", "weight": "p2"}, "brings its own weight"),
    ],
)
def test_impossible_losses_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Loss(**options)


@pytest.mark.parametrize(
    ("loss", "schedule", "message"),
    [
        (Loss(objective="vlb"), schedules.vp(), "discrete schedules"),
        (Loss(objective="hybrid"), ZERO_SNR, "leaves x_0 undetermined"),
        (Loss(weight="edm"), ZERO_SNR, "weight = 'edm' is not finite at t = 999"),
        (Loss(weight="likelihood"), ZERO_SNR, "not finite at t = 999 for a prediction of 'eps"),
        (Loss(times="log_snr"), schedules.flow(), "finite log-SNR"),
    ],
)
def test_loss_and_schedule_must_go_together(loss: Loss, schedule: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loss.check(schedule)


def test_every_weight_goes_with_v_down_to_pure_noise() -> None:
    for weight in WEIGHTS:
        Loss("v_prediction", weight=weight, times="low_discrepancy").check(ZERO_SNR)
        Loss("flow", weight=weight).check(schedules.flow())
    Loss("v_prediction", "hybrid").check(ZERO_SNR)


def test_what_does_not_fit_is_refused() -> None:
    example = Loss().draw(SCHEDULE, X0, seed=0)
    with pytest.raises(ShapeError, match=r"the loss needs \(4, 2, 2, 2\)"):
        Loss(objective="hybrid")(answers("epsilon", X0), example, SCHEDULE)
    with pytest.raises(ShapeError, match="the loss needs"):
        Loss()(TwoHeads(), example, SCHEDULE)
    with pytest.raises(ConfigError, match="discrete schedules"):
        vp = schedules.vp()
        Loss(objective="vlb")(TwoHeads(), Loss().draw(vp, X0, seed=0), vp)
