"""Solvers of the reverse SDE, their correctors, and predictor-corrector sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import fitted_order, linear_moments

from pydiff import random
from pydiff.diffusion import Denoiser, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import (
    DDPM,
    EulerMaruyama,
    PredictorCorrector,
    ReverseDiffusion,
    Sampler,
    sample,
)
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
DATA = GaussianMixture([[0.3]], [0.25])
MIXTURE = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])
START = random.normal(0, (5, 2), dtype=np.float64)
Z = np.random.default_rng(1).standard_normal((12, 5, 2))


def run(sampler: Sampler, grid: list[float]) -> np.ndarray:
    draws = iter(Z)
    return sample(
        MIXTURE.denoiser(VP),
        x_init=START,
        sampler=sampler,
        grid=grid,
        noise=lambda step, shape: next(draws),
    )


def score(x: np.ndarray, t: int) -> np.ndarray:
    return MIXTURE.score(x, VP.alpha(t), VP.sigma(t))


def grid(steps: int) -> list[float]:
    levels = np.linspace(VP.log_snr(999), 4.0, steps + 1)
    return [999, *np.asarray(VP.time(levels[1:]))]


@pytest.mark.parametrize("sampler", [EulerMaruyama(), ReverseDiffusion()], ids=repr)
def test_moments_of_a_gaussian_converge_at_first_order(sampler: Sampler) -> None:
    counts, end = [80, 160, 320], grid(2)[-1]
    exact = VP.alpha(end) ** 2 * 0.25 + VP.sigma(end) ** 2
    moments = [linear_moments(DATA, VP, sampler, n, grid=grid(n)) for n in counts]
    errors = [abs(variance - exact) for _, variance in moments]
    assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)
    assert moments[-1][0] == pytest.approx(0.3 * VP.alpha(end), abs=2e-3)


def test_euler_maruyama_is_the_papers_on_the_vp_sde() -> None:
    """Song et al. 2021, eq. 11 and 6: dx = (-b x / 2 - b s) dt + sqrt(b) dw backwards."""
    schedule, times = schedules.vp(), [1.0, 0.9, 0.7, 0.6]
    x = START
    for z, t, t_next in zip(Z, times, times[1:], strict=False):
        beta, dt = 0.1 + 19.9 * t, t - t_next
        pull = MIXTURE.score(x, schedule.alpha(t), schedule.sigma(t))
        x = x + (0.5 * beta * x + beta * pull) * dt + np.sqrt(beta * dt) * z
    draws = iter(Z)
    y = sample(
        MIXTURE.denoiser(schedule),
        x_init=START,
        sampler="euler_maruyama",
        grid=times,
        noise=lambda step, shape: next(draws),
    )
    np.testing.assert_allclose(y, x, rtol=1e-10)


CONTINUOUS = {
    "vp": schedules.vp(),
    "sub_vp": schedules.sub_vp(),
    "ve": schedules.ve(),
    "flow": schedules.flow(),
    "cosine": schedules.cosine_logsnr(),
    "zero_snr": VP.rescale_zero_terminal_snr(),
}


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("sampler", [EulerMaruyama(), ReverseDiffusion()], ids=repr)
def test_every_sde_leads_to_the_data(sampler: Sampler, name: str) -> None:
    schedule, errors = CONTINUOUS[name], []
    first = max(schedule.t_first, 1e-3 * schedule.t_last)
    for count in (50, 200):
        times = [*np.linspace(schedule.t_last, first, count), schedule.t_clean]
        mean, variance = linear_moments(DATA, schedule, sampler, count, grid=times)
        errors.append(abs(variance - 0.25))
    assert mean == pytest.approx(0.3, abs=2e-3)
    assert errors[1] < min(0.012, 0.5 * errors[0])


def test_reverse_diffusion_is_algorithm_3() -> None:
    """Song et al. 2021, Algorithm 3 (VP): x = (2 - sqrt(1 - b)) x + b s + sqrt(b) z."""
    x = START
    for i, t in enumerate((500, 499, 498)):
        beta = VP.betas[t]
        x = (2.0 - np.sqrt(1.0 - beta)) * x + beta * score(x, t) + np.sqrt(beta) * Z[i]
    np.testing.assert_allclose(run(ReverseDiffusion(), [500, 499, 498, 497]), x, rtol=1e-10)


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("corrector", ["langevin", "ald"])
def test_correctors_are_algorithms_4_and_5(corrector: str, per_image: bool) -> None:
    """Song et al. 2021, Algorithm 5 (VP), after its predictor's place: corrector first."""
    x, r = START, 0.16
    for i, t in enumerate((500, 499, 498)):
        z, g, beta = Z[2 * i], score(x, t), VP.betas[t]
        size = np.full((5, 1), VP.sigma(t))
        if corrector == "langevin":
            norms = [np.linalg.norm(a, axis=1, keepdims=True) for a in (z, g)]
            norms = norms if per_image else [norm.mean() for norm in norms]
            size = norms[0] / norms[1]
        a = 2.0 * (1.0 - beta) * (r * size) ** 2
        x = x + a * g + np.sqrt(2.0 * a) * z
        x = (2.0 - np.sqrt(1.0 - beta)) * x + beta * score(x, t) + np.sqrt(beta) * Z[2 * i + 1]
    sampler = PredictorCorrector("reverse_diffusion", corrector, r, per_image=per_image)
    np.testing.assert_allclose(run(sampler, [500, 499, 498, 497]), x, rtol=1e-9)


@pytest.mark.parametrize(
    "predictor, plain",
    [
        ("euler_maruyama", EulerMaruyama()),
        ("reverse_diffusion", ReverseDiffusion()),
        ("ancestral", DDPM()),
    ],
)
def test_without_a_corrector_the_predictor_is_left(predictor: str, plain: Sampler) -> None:
    times = [999, 600, 300, 50, -1]
    same = run(PredictorCorrector(predictor, "none"), times)
    np.testing.assert_allclose(same, run(plain, times), rtol=1e-10)


def test_evaluations_are_counted() -> None:
    assert PredictorCorrector("none").evaluations == 1
    assert PredictorCorrector(n_corrector_steps=3).evaluations == 4
    assert PredictorCorrector(corrector="none", n_corrector_steps=3).evaluations == 1


def test_the_corrector_lessens_the_error() -> None:
    def error(sampler: Sampler, draws: int) -> float:
        variance = linear_moments(DATA, VP, sampler, 40, draws=draws, grid=grid(40))[1]
        end = grid(2)[-1]
        return abs(variance - VP.alpha(end) ** 2 * 0.25 - VP.sigma(end) ** 2)

    assert error(PredictorCorrector("reverse_diffusion", n_corrector_steps=4), 5) < 0.8 * error(
        ReverseDiffusion(), 1
    )


def test_a_corrector_alone_still_samples() -> None:
    errors = []
    for count in (10, 40):
        sampler = PredictorCorrector("none", "ald", 0.3, n_corrector_steps=count)
        options: dict[str, Any] = {"draws": count, "spacing": "trailing"}
        mean, variance = linear_moments(DATA, VP, sampler, 60, **options)
        errors.append(abs(variance - 0.25))
    assert mean == pytest.approx(0.3, abs=0.01)
    assert errors[1] < 0.5 * errors[0] < 0.05


def test_a_score_of_zero_makes_no_step_of_infinite_size() -> None:
    flat = Denoiser(lambda x, t: np.zeros_like(x), VP, "sample")
    sampler = PredictorCorrector("none", "langevin")
    y = sample(flat, x_init=np.zeros((3, 2)), sampler=sampler, grid=[500, 499])
    np.testing.assert_array_equal(y, np.zeros((3, 2)))


@pytest.mark.parametrize(
    "option, bad",
    [
        ("predictor", "euler"),
        ("corrector", None),
        ("snr", 0.0),
        ("n_corrector_steps", 0),
        ("per_image", 1),
    ],
)
def test_options_are_checked(option: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"{option} = "):
        PredictorCorrector(**{option: bad})


def test_nothing_at_all_is_an_error() -> None:
    with pytest.raises(ConfigError, match="both 'none'"):
        PredictorCorrector("none", "none")
