"""Samplers that meet an observation: exact moments on Gaussians, bits of known pixels, RePaint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest
from affine import affine_moments

from pydiff import sample
from pydiff.diffusion import schedules
from pydiff.diffusion.conditioning import MomentMatching, Observation
from pydiff.diffusion.operators import AveragePool, Mask
from pydiff.errors import ConfigError
from pydiff.samplers import DDIM, DDPM, DPS, MCG, RePaint, Replacement, Sampler
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
DISTANCE = np.subtract.outer(np.arange(6), np.arange(6))
GAUSSIAN = GaussianMixture([np.linspace(-1, 1, 6)], [0.9 * np.exp(-(DISTANCE**2) / 8.0)
                                                      + 0.1 * np.eye(6)])  # fmt: skip
SEEN = np.array([True, False, False, True, False, False])
Y = GAUSSIAN.sample(1, seed=2)
EXACT = Observation(Mask(SEEN), Y)
DENOISER = GAUSSIAN.denoiser(SCHEDULE)
RNG = np.random.default_rng(0)
WRAPPERS: dict[str, Sampler] = {
    "replacement": Replacement(EXACT),
    "repaint": RePaint(EXACT, jump_length=3, resamplings=2),
    "dps": DPS(EXACT, scale=0.1),
    "mcg": MCG(EXACT, "ddim", scale=0.1),
}


def errors(moments: tuple[np.ndarray, np.ndarray], truth: GaussianMixture) -> tuple[float, float]:
    """Of the mean in standard deviations of the posterior, and of the covariance, relative."""
    (mean, covariance), (m, c) = moments, truth.moments()
    return (
        float(np.linalg.norm(mean - m) / np.sqrt(np.trace(c))),
        float(np.linalg.norm(covariance - c) / np.linalg.norm(c)),
    )


@pytest.mark.parametrize("noise_std", [0.0, 0.3])
@pytest.mark.parametrize("sampler", [DDIM(), DDPM("fixed_large")])
def test_moments_of_the_posterior_within_three_percent(noise_std: float, sampler: Sampler) -> None:
    """Moment matching on a Gaussian, at the 1000 or 200 steps of the grid."""
    posterior = GAUSSIAN.posterior(SEEN, Y, noise_std)
    denoiser = MomentMatching(DENOISER, Observation(Mask(SEEN), Y, noise_std), tolerance=1e-9)
    steps = 200 if sampler.stochastic else 1000
    moments = affine_moments(denoiser, 6, sampler, steps=steps, spacing="trailing")
    assert max(errors(moments, posterior)) < 0.03


def test_replacement_is_biased_and_repainting_narrows_the_gap() -> None:
    posterior = GAUSSIAN.posterior(SEEN, Y, 0.0)
    options: dict[str, Any] = {"steps": 40, "spacing": "trailing"}
    plain = affine_moments(DENOISER, 6, Replacement(EXACT), **options)
    again = affine_moments(DENOISER, 6, RePaint(EXACT, jump_length=5, resamplings=5), **options)
    assert errors(again, posterior)[0] < 0.6 * errors(plain, posterior)[0]
    assert errors(again, posterior)[1] < 0.6 * errors(plain, posterior)[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["replacement", "repaint", "mcg"])
def test_known_elements_come_back_bit_for_bit(name: str, dtype: Any) -> None:
    x = RNG.standard_normal((3, 6)).astype(dtype)
    made = sample(DENOISER, x_init=x, sampler=WRAPPERS[name], steps=15)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made[:, SEEN], np.tile(Y[:, SEEN].astype(dtype), (3, 1)))
    assert len(np.unique(made[:, ~SEEN])) == made[:, ~SEEN].size


@pytest.mark.parametrize("name", WRAPPERS)
def test_threads_share_a_sampler_and_float32_follows(name: str) -> None:
    starts = RNG.standard_normal((8, 4, 6))

    def run(start: np.ndarray) -> np.ndarray:
        return sample(DENOISER, x_init=start, sampler=WRAPPERS[name], steps=20, seed=3)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, starts))
    for start, made in zip(starts, together, strict=True):
        np.testing.assert_array_equal(made, run(start))
    np.testing.assert_allclose(run(starts[0].astype(np.float32)), together[0], atol=2e-3)


def test_replacement_with_a_pool_is_ilvr() -> None:
    """Choi et al. 2021, Algorithm 1: x - phi(x) + phi(y_t), phi = down and up again."""
    operator = AveragePool(2)
    y = RNG.standard_normal((1, 2, 2, 1))
    denoiser = GaussianMixture([np.zeros(16)], [0.5]).denoiser(SCHEDULE)
    x, z = RNG.standard_normal((2, 1, 4, 4, 1))
    sampler = Replacement(Observation(operator, y), "ddim")
    made = sample(denoiser, x_init=x, sampler=sampler, grid=[500, 400], noise=lambda step, shape: z)
    plain = sample(denoiser, x_init=x, sampler="ddim", grid=[500, 400])

    def phi(v: np.ndarray) -> np.ndarray:
        return np.kron(operator.apply(v)[0, ..., 0], np.ones((2, 2)))[None, ..., None]

    high = np.kron(y[0, ..., 0], np.ones((2, 2)))[None, ..., None]
    noisy = SCHEDULE.alpha(400) * high + SCHEDULE.sigma(400) * z
    np.testing.assert_allclose(made, plain - phi(plain) + phi(noisy), atol=1e-12)


@pytest.mark.parametrize("steps, length, times", [(250, 10, 10), (20, 4, 3), (7, 3, 2), (5, 1, 2)])
def test_repaint_visits_the_levels_of_its_paper(steps: int, length: int, times: int) -> None:
    """Appendix B's schedule, written out: t falls, and jumps up by `length` where it is due."""
    jumps = {j: times - 1 for j in range(0, steps - length, length)}
    expected, t = [], steps
    while t >= 1:
        t -= 1
        expected.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            t += length
            expected.extend(range(t - length + 1, t + 1))
    asked: list[int] = []

    class Counting:
        schedule = SCHEDULE

        def predict(self, x: np.ndarray, t: float) -> Any:
            asked.append(int(t))
            return DENOISER.predict(x, t)

    sampler = RePaint(EXACT, jump_length=length, resamplings=times)
    x = np.zeros((1, 6))
    sample(Counting(), x_init=x, sampler=sampler, grid=[*range(steps - 1, -1, -1), -1])  # type: ignore[arg-type]
    falls = [a for a, b in zip(expected, [*expected[1:], -1], strict=True) if b < a]
    assert asked == falls


@pytest.mark.peers
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_replacement_is_the_repaint_of_diffusers(eta: float, steps: int) -> None:
    """Its eta is DDIM's; it uses one draw for the step and for what is put in place."""
    torch = pytest.importorskip("torch")
    name = "diffusers.schedulers.scheduling_repaint"
    module = pytest.importorskip(name)
    scheduler = module.RePaintScheduler(beta_schedule="linear", eta=eta, clip_sample=False)
    scheduler.set_timesteps(steps, jump_length=1, jump_n_sample=1)
    x, z = RNG.standard_normal((4, 6)), RNG.standard_normal((steps, 4, 6))
    ours: list[np.ndarray] = []
    sample(
        GAUSSIAN.denoiser(SCHEDULE, "epsilon"),
        x_init=x,
        sampler=Replacement(EXACT, DDIM(eta)),
        steps=steps,
        noise=lambda step, shape: z[step],
        callback=lambda step, t, x, x0: ours.append(x),
    )
    y, mask, state = (torch.tensor(a) for a in (np.tile(Y, (4, 1)), SEEN.astype(float), x))
    for step, t in enumerate(scheduler.timesteps.tolist()):
        eps = torch.tensor(GAUSSIAN.denoiser(SCHEDULE).predict(state.numpy(), t).eps)
        with mock.patch(f"{name}.randn_tensor", lambda *_, z=z[step], **__: torch.tensor(z)):
            state = scheduler.step(eps, t, state, y, mask).prev_sample
        np.testing.assert_allclose(ours[step], state.numpy(), rtol=1e-4, atol=1e-5)


def test_dps_steps_along_the_gradient_of_the_residual() -> None:
    x = RNG.standard_normal((2, 6))
    sampler = DPS(EXACT, "ddim", scale=0.3)
    made = sample(DENOISER, x_init=x, sampler=sampler, grid=[500, 400])
    plain = sample(DENOISER, x_init=x, sampler="ddim", grid=[500, 400])

    def norm(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm((Y - DENOISER.predict(x, 500).x0)[:, SEEN], axis=1)

    slopes = [(norm(x + u) - norm(x - u)) / 2e-6 for u in 1e-6 * np.eye(6)]
    np.testing.assert_allclose(plain - made, 0.3 * np.stack(slopes, 1), atol=1e-7)


def test_dps_asks_the_model_once_per_step() -> None:
    calls: list[int] = []

    class Counting:
        schedule = SCHEDULE

        def predict(self, x: np.ndarray, t: float) -> Any:
            raise AssertionError("the prediction at hand was not used")

        def linearize(self, x: np.ndarray, t: float) -> Any:
            calls.append(int(t))
            return DENOISER.linearize(x, t)

    sample(Counting(), (1, 6), sampler=WRAPPERS["dps"], steps=10)  # type: ignore[arg-type]
    assert len(calls) == 10


def test_bad_options() -> None:
    noisy = Observation(Mask(SEEN), Y, 0.1)
    for match, build in {
        "takes y as exact": lambda: Replacement(noisy),
        "must be an Observation": lambda: DPS(Y),  # type: ignore[arg-type]
        "jump_length": lambda: RePaint(EXACT, jump_length=0),
        "resamplings": lambda: RePaint(EXACT, resamplings=1.5),  # type: ignore[arg-type]
        "scale": lambda: DPS(noisy, scale=np.inf),
        "known": lambda: Replacement(EXACT, "nope"),
    }.items():
        with pytest.raises(ConfigError, match=match):
            build()
    plain = GaussianMixture([np.zeros(6)], [1.0]).denoiser(SCHEDULE)
    plain.vjp = None
    with pytest.raises(ConfigError, match="cannot be differentiated"):
        sample(plain, (1, 6), sampler=DPS(EXACT), steps=5)
