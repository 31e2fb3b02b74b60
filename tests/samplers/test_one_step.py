"""What every one-step method must do: converge at its order, on every schedule, in any thread."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from exact import fitted_order, linear_moments
from k_coordinates import SIGMA

from pydiff import random
from pydiff.diffusion import Denoiser, NoiseSchedule, Prediction, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import (
    DDIM,
    DPM2,
    LCM,
    ODE,
    TCD,
    AnnealedLangevin,
    Consistency,
    DPM2Ancestral,
    DPMAdaptive,
    DPMpp2SAncestral,
    DPMppSDE,
    Euler,
    EulerAncestral,
    EulerMaruyama,
    Heun,
    Langevin,
    PredictorCorrector,
    ReverseDiffusion,
    Sampler,
    sample,
)
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
ZERO_SNR = VP.rescale_zero_terminal_snr()
SCHEDULES: dict[str, NoiseSchedule] = {
    "vp": VP,
    "zero_snr": ZERO_SNR,
    "flow": schedules.flow(),
    "sigma": SIGMA,
}
GAUSSIAN = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2]
)
START = random.normal(0, (100, 2), dtype=np.float64)
DETERMINISTIC: list[Sampler] = [
    Euler(),
    EulerAncestral(0.0),
    Heun(),
    DPM2(),
    DPM2Ancestral(0.0),
    DPMpp2SAncestral(0.0),
    DPMppSDE(0.0),
]
STOCHASTIC: list[Sampler] = [
    Euler(s_churn=3.0),
    EulerAncestral(),
    EulerAncestral(0.5),
    Heun(s_churn=3.0),
    DPM2Ancestral(),
    DPMpp2SAncestral(),
    DPMppSDE(),
    DPMppSDE(brownian=False),
]
OTHERS: list[Sampler] = [
    AnnealedLangevin(n_steps=2),
    Consistency(),
    EulerMaruyama(),
    LCM(),
    Langevin(),
    PredictorCorrector(),
    PredictorCorrector(corrector="langevin", snr=0.1),
    ReverseDiffusion(),
    TCD(),
]
ADAPTIVE: list[Sampler] = [DPMAdaptive(), DPMAdaptive(eta=1.0), ODE(1e-3, 1e-3)]


def grid(name: str, steps: int, log_snr: float = 4.0) -> list[float]:
    """Even in log-SNR from the noisiest level to this one; from alpha = 0 even in time."""
    schedule = SCHEDULES[name]
    first, last = schedule.t_last, float(schedule.time(log_snr))
    if schedule.log_snr(first) == -math.inf:
        return [first, *np.linspace(first, last, steps + 1)[1:]]
    levels = np.linspace(schedule.log_snr(first), log_snr, steps + 1)
    return [first, *np.asarray(schedule.time(levels[1:-1])), last]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_order_on_a_gaussian_against_the_exact_flow(sampler: Sampler, name: str) -> None:
    schedule, counts = SCHEDULES[name], [40, 80, 160, 320]
    x = START * schedule.prior_std
    denoiser, errors = GAUSSIAN.denoiser(schedule), []
    for count in counts:
        times = grid(name, count)
        exact = GAUSSIAN.flow_map(x, schedule, times[0], times[-1])
        y = sample(denoiser, x_init=x, sampler=sampler, grid=times)
        errors.append(float(np.abs(y - exact).mean()))
    assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)


@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_order_on_a_mixture_against_the_ode(sampler: Sampler) -> None:
    denoiser, counts = MIXTURE.denoiser(VP), [100, 200, 400]
    exact = sample(denoiser, x_init=START, sampler=ODE(1e-10, 1e-10), grid=[999, grid("vp", 2)[-1]])
    errors = [
        float(
            np.abs(
                sample(denoiser, x_init=START, sampler=sampler, grid=grid("vp", n)) - exact
            ).mean()
        )
        for n in counts
    ]
    assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=repr)
def test_weak_order_by_the_variance_of_a_gaussian(sampler: Sampler) -> None:
    data, counts = GaussianMixture([[0.3]], [0.25]), [40, 80, 160, 320]
    end = grid("vp", 2)[-1]
    exact = VP.alpha(end) ** 2 * 0.25 + VP.sigma(end) ** 2
    moments = [linear_moments(data, VP, sampler, n, draws=2, grid=grid("vp", n)) for n in counts]
    assert moments[-1][0] == pytest.approx(0.3 * VP.alpha(end), abs=1e-3)
    errors = [abs(variance - exact) for _, variance in moments]
    assert fitted_order(counts, errors) == pytest.approx(sampler.order, abs=0.25)


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *ADAPTIVE[::2]], ids=repr)
def test_float32_follows_float64(sampler: Sampler) -> None:
    denoiser = MIXTURE.denoiser(VP)
    options: dict[str, Any] = {"sampler": sampler, "steps": 30, "spacing": "trailing"}
    single = sample(denoiser, x_init=START.astype(np.float32), **options)
    assert single.dtype == np.float32
    assert np.abs(single - sample(denoiser, x_init=START, **options)).max() < 2e-3


@pytest.mark.parametrize("sampler", [*STOCHASTIC, *OTHERS, *ADAPTIVE], ids=repr)
def test_eight_threads_sharing_a_sampler_give_what_one_gives(sampler: Sampler) -> None:
    denoiser = MIXTURE.denoiser(VP)

    def one(seed: int) -> bytes:
        options: dict[str, Any] = {"steps": 8, "spacing": "trailing", "seed": seed}
        return sample(denoiser, (5, 2), sampler, **options).tobytes()

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, range(16)))
    assert together == [one(seed) for seed in range(16)]


@pytest.mark.parametrize("sampler", [*STOCHASTIC, *OTHERS], ids=repr)
def test_an_image_is_the_same_alone_and_in_any_batch(sampler: Sampler) -> None:
    model = Denoiser(lambda x, t: np.tanh(x), VP, "sample")
    options: dict[str, Any] = {"steps": 6, "spacing": "trailing", "seed": 2}
    batch = sample(model, (4, 3, 3, 2), sampler, **options)
    for i in range(4):
        alone = sample(model, (1, 3, 3, 2), sampler, first_image=i, **options)
        np.testing.assert_array_equal(alone[0], batch[i])


@pytest.mark.parametrize("name", ["zero_snr", "flow", "sigma"])
@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *STOCHASTIC, *OTHERS, *ADAPTIVE], ids=repr)
def test_every_schedule_is_sampled(sampler: Sampler, name: str) -> None:
    """From alpha = 0, where sigma / alpha is infinite, or from alpha = 1, onto clean data."""
    schedule = SCHEDULES[name]
    times = [*grid(name, 40), schedule.t_clean]
    x = sample(
        MIXTURE.denoiser(schedule), x_init=START * schedule.prior_std, sampler=sampler, grid=times
    )
    assert np.isfinite(x).all()
    if not isinstance(sampler, (Langevin, AnnealedLangevin)):
        distance = np.abs(x[:, None] - MIXTURE.means).max(-1).min(-1)
        assert np.median(distance) < 0.4


def test_without_noise_ancestral_methods_are_their_solvers() -> None:
    denoiser = MIXTURE.denoiser(VP)

    def run(sampler: Sampler) -> np.ndarray:
        return sample(denoiser, x_init=START, sampler=sampler, steps=20)

    for a, b in (
        (Euler(), DDIM()),
        (EulerAncestral(0.0), DDIM()),
        (EulerAncestral(0.7), DDIM(0.7)),
        (DPM2Ancestral(0.0), DPM2()),
        (DPMppSDE(0.0), DPMpp2SAncestral(0.0)),
    ):
        np.testing.assert_allclose(run(a), run(b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", [*STOCHASTIC, *ADAPTIVE], ids=repr)
def test_the_step_onto_clean_data_returns_x0_and_draws_nothing(sampler: Sampler) -> None:
    if isinstance(sampler, (Euler, Heun)):
        pytest.skip("churn comes before a step")

    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        raise AssertionError("drawn")

    denoiser = MIXTURE.denoiser(VP)
    y = sample(denoiser, x_init=START, sampler=sampler, grid=[0, -1], noise=noise)
    np.testing.assert_allclose(y, denoiser(START, 0), rtol=1e-12)


@pytest.mark.parametrize("option", ["s_churn", "s_tmin", "s_tmax", "s_noise"])
@pytest.mark.parametrize("bad", [-1.0, math.nan, "1", None, True])
def test_churn_options_are_checked(option: str, bad: Any) -> None:
    for cls in (Euler, Heun, DPM2):
        with pytest.raises(ConfigError, match=f"{option} = "):
            cls(**{option: bad})


@pytest.mark.parametrize("bad", [-0.1, math.nan, "1", None, True])
def test_ancestral_options_are_checked(bad: Any) -> None:
    for cls in (EulerAncestral, DPM2Ancestral, DPMpp2SAncestral, DPMppSDE, DPMAdaptive):
        with pytest.raises(ConfigError, match="eta = "):
            cls(eta=bad)
        with pytest.raises(ConfigError, match="s_noise = "):
            cls(s_noise=bad)
    with pytest.raises(ConfigError, match="brownian = 1"):
        DPMppSDE(brownian=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", [Euler(), EulerAncestral(0.0)], ids=repr)
def test_a_prescribed_noise_is_taken_in_place_of_the_implied_one(sampler: Sampler) -> None:
    """As CFG++ does: x' = alpha' x_0 + sigma' eps with the x_0 of one model and eps of another."""
    plain, eps = MIXTURE.denoiser(VP), np.full((4, 2), 0.5)

    class Prescribed:
        schedule = VP

        def predict(self, x: np.ndarray, t: float) -> Prediction:
            return plain.predict(x, t).replace(other_eps=eps)

    y = sample(Prescribed(), x_init=START[:4], sampler=sampler, grid=[900, 700])
    expected = VP.alpha(700) * plain(START[:4], 900) + VP.sigma(700) * eps
    np.testing.assert_allclose(y, expected, rtol=1e-12)
