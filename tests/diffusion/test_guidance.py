"""Guidance against Bayes' rule on mixtures, its special cases, and nesting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import Tensor, guidance, ops, sample
from pydiff.diffusion import Denoiser, schedules
from pydiff.diffusion.parameterization import target
from pydiff.errors import ConfigError, ShapeError
from pydiff.samplers import DDIM
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-1.0, 1.0], [0.0, -2.0]], [0.3, 0.1, 0.2], weights=[0.5, 0.3, 0.2]
)
ALL = MIXTURE.denoiser(SCHEDULE)
ONE = MIXTURE.component(1).denoiser(SCHEDULE)
RNG = np.random.default_rng(0)
X, V = RNG.standard_normal((2, 6, 2))
TIMES = (999, 500, 20)


def classifier(k: int) -> Any:
    return lambda x, t: MIXTURE.component_score(x, k, SCHEDULE.alpha(t), SCHEDULE.sigma(t))


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_exact_classifier_gives_the_component(k: int) -> None:
    """grad log p(k | x_t) + grad log q(x_t) = grad log q(x_t | k): the whole path is the same."""
    guided = guidance.ClassifierGuidance(ALL, classifier(k))
    alone = MIXTURE.component(k).denoiser(SCHEDULE)
    for sampler in (DDIM(), DDIM(1.0)):
        runs = [sample(d, x_init=X, sampler=sampler, steps=40) for d in (guided, alone)]
        np.testing.assert_allclose(*runs, atol=1e-9)


def test_guided_samples_have_the_distribution_of_the_component() -> None:
    guided = guidance.ClassifierGuidance(ALL, classifier(1))
    options: dict[str, Any] = {"sampler": DDIM(1.0), "steps": 200, "spacing": "trailing"}
    x = sample(guided, (4000, 2), **options)
    np.testing.assert_allclose(x.mean(0), [-1.0, 1.0], atol=0.02)
    np.testing.assert_allclose(np.cov(x.T), 0.1 * np.eye(2), atol=0.01)


def test_a_posterior_is_guidance_by_the_likelihood() -> None:
    """log p(y | x_t) of an observation, by its two exact scores."""
    posterior = MIXTURE.posterior([[1.0, 1.0]], [0.5], 0.3)

    def gradient(x: np.ndarray, t: float) -> np.ndarray:
        level = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        return posterior.score(x, *level) - MIXTURE.score(x, *level)

    guided = guidance.ClassifierGuidance(ALL, gradient)
    for t in TIMES:
        expected = posterior.denoiser(SCHEDULE).predict(X, t)
        np.testing.assert_allclose(guided.predict(X, t).x0, expected.x0, atol=1e-9)
        np.testing.assert_allclose(guided.predict(X, t).eps, expected.eps, atol=1e-9)


def test_gradients_by_autograd() -> None:
    w = Tensor(np.array([[0.5], [-1.5]]), requires_grad=True)

    def log_prob(x: Any, t: float) -> Tensor:
        return ops.log(ops.sigmoid(ops.matmul(x, w)))

    gradient = guidance.gradient_of(log_prob)(X, 500)
    numeric = np.empty_like(X)
    for i, step in enumerate(1e-6 * np.eye(2)):
        numeric[:, i] = (log_prob(Tensor(X + step), 0).data - log_prob(Tensor(X - step), 0).data)[
            :, 0
        ] / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    assert w.grad is None
    with pytest.raises(ConfigError, match="log_prob"):
        guidance.gradient_of(lambda x, t: Tensor(x.data))(X, 500)


@pytest.mark.parametrize("kind", [guidance.ClassifierFree, guidance.Autoguidance])
@pytest.mark.parametrize("t", TIMES)
def test_scales_extrapolate_every_quantity(kind: Any, t: int) -> None:
    for scale in (0.0, 1.0, 2.5):
        guided, cond, uncond = (d.predict(X, t) for d in (kind(ONE, ALL, scale), ONE, ALL))
        for name in ("x0", "raw_x0", "eps"):
            c, u = getattr(cond, name), getattr(uncond, name)
            np.testing.assert_allclose(getattr(guided, name), u + scale * (c - u), atol=1e-10)


def test_scale_is_the_power_of_the_classifier() -> None:
    """cond + (w - 1) (cond - uncond) is the score of q(x_t | k) p(k | x_t)^(w - 1)."""
    free = guidance.ClassifierFree(ONE, ALL, 3.0)
    explicit = guidance.ClassifierGuidance(ONE, classifier(1), 2.0)
    for t in TIMES:
        np.testing.assert_allclose(free.predict(X, t).x0, explicit.predict(X, t).x0, atol=1e-9)


def test_outside_its_interval_only_the_condition_is_evaluated() -> None:
    calls: list[Any] = []

    def never(x: np.ndarray, t: Any) -> np.ndarray:
        calls.append(t)
        return x

    uncond = Denoiser(never, SCHEDULE, "sample")
    guided = guidance.ClassifierFree(ONE, uncond, 2.0, interval=(300, 600))
    for t in (999, 601, 600, 300, 299):
        guided.predict(X, t)
        guided.linearize(X, t) if t > 600 else None
    assert calls == [600, 300]
    np.testing.assert_array_equal(guided.predict(X, 999).x0, ONE.predict(X, 999).x0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_rescale_restores_the_spread_of_the_models_output(prediction: str) -> None:
    cond = MIXTURE.component(1).denoiser(SCHEDULE, prediction)
    uncond = MIXTURE.denoiser(SCHEDULE, prediction)
    t, level = 400, (SCHEDULE.alpha(400), SCHEDULE.sigma(400))
    plain = guidance.ClassifierFree(cond, uncond, 4.0).predict(X, t)
    half = guidance.ClassifierFree(cond, uncond, 4.0, rescale=0.5).predict(X, t)
    full = guidance.ClassifierFree(cond, uncond, 4.0, rescale=1.0).predict(X, t)

    def output(p: Any) -> np.ndarray:
        return target(prediction, p.raw_x0, p.eps, *level)

    wanted = output(cond.predict(X, t)).std(axis=1)
    np.testing.assert_allclose(output(full).std(axis=1), wanted, rtol=1e-9)
    np.testing.assert_allclose(output(half), (output(full) + output(plain)) / 2, rtol=1e-9)


@pytest.mark.peers
def test_rescale_is_that_of_diffusers() -> None:
    torch = pytest.importorskip("torch")
    name = "diffusers.guiders.guider_utils"
    rescale_noise_cfg = pytest.importorskip(name).rescale_noise_cfg
    x = RNG.standard_normal((2, 4, 4, 3))
    cond, uncond = RNG.standard_normal((2, 2, 4, 4, 3))
    denoisers = [Denoiser(lambda x, t, e=e: e, SCHEDULE) for e in (cond, uncond)]
    ours = guidance.ClassifierFree(*denoisers, 7.5, rescale=0.7).predict(x, 500).eps
    theirs = rescale_noise_cfg(
        torch.tensor(uncond + 7.5 * (cond - uncond)), torch.tensor(cond), 0.7
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-12)


def test_cfg_plus_plus_renoises_with_the_unconditional_noise() -> None:
    guided = guidance.CFGPlusPlus(ONE, ALL, 0.6)
    plain = guidance.ClassifierFree(ONE, ALL, 0.6).predict(X, 400)
    made, uncond = guided.predict(X, 400), ALL.predict(X, 400)
    np.testing.assert_array_equal(made.x0, plain.x0)
    np.testing.assert_array_equal(made.eps, uncond.eps)
    a, s = SCHEDULE.alpha(300), SCHEDULE.sigma(300)
    for sampler in ("ddim", "euler"):
        step = sample(guided, x_init=X, grid=[400, 300], sampler=sampler)
        np.testing.assert_allclose(step, a * plain.x0 + s * uncond.eps, rtol=1e-9)


def test_cfg_plus_plus_step_is_cfg_of_another_scale() -> None:
    """Chung et al. 2024, section 3: one DDIM step equals CFG with a scale that depends on t."""
    t, s, lam = 400, 300, 0.5
    plus = sample(guidance.CFGPlusPlus(ONE, ALL, lam), x_init=X, grid=[t, s])
    a, b = SCHEDULE.alpha(s), SCHEDULE.alpha(t)
    gain = a / (a - SCHEDULE.sigma(s) * b / SCHEDULE.sigma(t))
    free = sample(guidance.ClassifierFree(ONE, ALL, lam * gain), x_init=X, grid=[t, s])
    np.testing.assert_allclose(plus, free, rtol=1e-9)


def class_model(x: Any, t: Any, class_labels: np.ndarray) -> np.ndarray:
    level = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    every = [MIXTURE.component(k).denoise(x, *level) for k in range(3)] + [
        MIXTURE.denoise(x, *level)
    ]
    return np.stack(every)[class_labels, np.arange(len(x))]


def test_one_call_of_a_doubled_batch_is_two_calls() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    sizes: list[int] = []

    def model(x: Any, t: Any, class_labels: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return class_model(x, t, class_labels)

    cond = Denoiser(lambda x, t: class_model(x, t, labels), SCHEDULE, "sample", clip=1.5)
    options: dict[str, Any] = {"rescale": 0.3, "interval": (100, 900)}
    two = guidance.ClassifierFree(cond, ALL, 2.0, **options)
    inputs = {"class_labels": labels}, {"class_labels": [3]}
    one = guidance.BatchedClassifierFree(
        model, SCHEDULE, *inputs, 2.0, prediction="sample", clip=1.5, **options
    )
    for t in (950, 500, 50):
        ours, theirs = one.predict(X, t), two.predict(X, t)
        for name in ("x", "x0", "raw_x0", "eps"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-10)
        assert (ours.alpha, ours.sigma) == (theirs.alpha, theirs.sigma)
    assert sizes == [6, 12, 6]
    with pytest.raises(ShapeError, match="class_labels has shape"):
        one.predict(X[:4], 500)


def test_guided_models_pull_back() -> None:
    def numeric(denoiser: Any, t: int) -> np.ndarray:
        h = 1e-6
        ahead, behind = (denoiser.predict(X + s * h * V, t).raw_x0 for s in (1, -1))
        return (ahead - behind) / (2 * h)

    w = np.array([[0.4, 0.1], [-0.2, 0.3]])

    def network(x: Any, t: Any, shift: np.ndarray) -> Any:
        return ops.silu(ops.matmul(x, w) + shift)

    shifts = {"shift": np.array([[0.5, 1.0]])}, {"shift": np.zeros((1, 2))}
    cases: list[Any] = [
        guidance.ClassifierFree(ONE, ALL, 2.0),
        guidance.ClassifierFree(guidance.Autoguidance(ONE, ALL, 1.5), ALL, 3.0),
        guidance.BatchedClassifierFree(network, SCHEDULE, *shifts, 2.0),
    ]
    weight = RNG.standard_normal(X.shape)
    for denoiser in cases:
        made, pull = denoiser.linearize(X, 400)
        np.testing.assert_allclose(made.x0, denoiser.predict(X, 400).x0, atol=1e-12)
        expected = (weight * numeric(denoiser, 400)).sum()
        assert (pull(weight) * V).sum() == pytest.approx(expected, rel=1e-5)


def test_nesting_and_thresholding() -> None:
    """Guidance acts before clipping, and the outermost x_0 is clipped as the model asks."""
    cond, uncond = (m.denoiser(SCHEDULE, clip=0.5) for m in (MIXTURE.component(1), MIXTURE))
    inner = guidance.ClassifierFree(cond, uncond, 2.0)
    outer = guidance.ClassifierGuidance(inner, classifier(1), 0.5)
    made = outer.predict(X, 100)
    plain = guidance.ClassifierFree(ONE, ALL, 2.5).predict(X, 100)  # Bayes: scales add up
    np.testing.assert_allclose(made.raw_x0, plain.raw_x0, atol=1e-9)
    np.testing.assert_array_equal(made.x0, made.raw_x0.clip(-0.5, 0.5))
    x = sample(outer, (4, 2), steps=20, spacing="trailing")
    assert x.dtype == np.float32 and np.abs(x).max() <= 0.5


def test_zero_terminal_snr() -> None:
    schedule = SCHEDULE.rescale_zero_terminal_snr()
    cond, uncond = (m.denoiser(schedule, "v_prediction") for m in (MIXTURE.component(1), MIXTURE))
    guided = guidance.ClassifierFree(cond, uncond, 2.0, rescale=0.5)
    assert np.isfinite(sample(guided, (3, 2), steps=10, spacing="trailing")).all()
    with pytest.raises(ConfigError, match="alpha = 0"):
        guidance.ClassifierGuidance(uncond, lambda x, t: x).predict(X, 999)


def test_bad_options_are_errors() -> None:
    free, other = guidance.ClassifierFree, MIXTURE.denoiser(schedules.cosine())
    for match, build in {
        "guidance_scale": lambda: free(ONE, ALL, np.nan),
        "rescale": lambda: free(ONE, ALL, 2.0, rescale=1.5),
        "interval": lambda: free(ONE, ALL, 2.0, interval=(5, 3)),
        "allowed: .t_lo": lambda: free(ONE, ALL, 2.0, interval=3),
        "needs a Denoiser": lambda: free(ONE, lambda x, t: x, 2.0),
        "interpolates": lambda: guidance.CFGPlusPlus(ONE, ALL, 7.5),
        "different schedules": lambda: free(ONE, other, 2.0).predict(X, 10),
        "gradient must be callable": lambda: guidance.ClassifierGuidance(ONE, 1.0),
        "has the inputs": lambda: guidance.BatchedClassifierFree(
            class_model, SCHEDULE, {"class_labels": [1]}, {}, 2.0
        ),
        "rescaled": lambda: free(ONE, ALL, 2.0, rescale=0.5).linearize(X, 10),
        "derivative": lambda: guidance.ClassifierGuidance(ONE, classifier(1)).linearize(X, 10),
    }.items():
        with pytest.raises(ConfigError, match=match):
            build()
    with pytest.raises(ShapeError, match="gradient"):
        guidance.ClassifierGuidance(ONE, lambda x, t: x[:1]).predict(X, 10)
