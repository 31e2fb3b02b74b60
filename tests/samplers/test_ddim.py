"""DDIM against the exact probability-flow map, and its two ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import fitted_order, linear_moments
from sampler_cases import run

from pydiff import random
from pydiff.diffusion import schedules
from pydiff.errors import ConfigError
from pydiff.samplers import DDIM, DDPM, sample
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
GAUSSIAN = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
MIXTURE = GaussianMixture(
    [[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]], [0.05, 0.1, 0.02], [0.5, 0.3, 0.2]
)
START = random.normal(0, (200, 2), dtype=np.float64)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_order_on_a_gaussian_against_the_exact_flow(prediction: str) -> None:
    counts = [50, 100, 200, 400]
    exact = GAUSSIAN.flow_map(START, SCHEDULE, 999, -1)
    denoiser = GAUSSIAN.denoiser(SCHEDULE, prediction)
    runs = [sample(denoiser, x_init=START, steps=n, spacing="linspace") for n in counts]
    errors = [float(np.abs(x - exact).mean()) for x in runs]
    assert fitted_order(counts, errors) == pytest.approx(DDIM.order, abs=0.25)
    assert errors[-1] < 0.01


def test_order_on_a_mixture_against_a_fine_grid() -> None:
    denoiser, counts = MIXTURE.denoiser(SCHEDULE), [50, 100, 200, 400]

    def grid(n: int) -> np.ndarray:
        """Even in log-SNR, to a level where the modes are still broad."""
        return SCHEDULE.time(np.linspace(SCHEDULE.log_snr(999), 4.0, n + 1))

    exact = sample(denoiser, x_init=START, grid=grid(6400))
    errors = [
        float(np.abs(sample(denoiser, x_init=START, grid=grid(n)) - exact).mean()) for n in counts
    ]
    assert fitted_order(counts, errors) == pytest.approx(DDIM.order, abs=0.25)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_moments_of_a_gaussian_converge_to_the_truth(eta: float) -> None:
    data = GaussianMixture([[0.3]], [0.25])
    mean, variance = linear_moments(data, SCHEDULE, DDIM(eta), 1000)
    assert mean == pytest.approx(0.3, abs=2e-3)
    assert variance == pytest.approx(0.25, rel=0.02)
    coarse = linear_moments(data, SCHEDULE, DDIM(eta), 100)
    assert abs(coarse[1] - 0.25) > 4 * abs(variance - 0.25)


def test_float32_follows_float64() -> None:
    denoiser = MIXTURE.denoiser(SCHEDULE)
    single = sample(denoiser, x_init=START.astype(np.float32), steps=50)
    assert np.abs(single - sample(denoiser, x_init=START, steps=50)).max() < 1e-4


def test_eta_one_is_ddpm_with_the_small_variance() -> None:
    options: dict[str, Any] = {"prediction": "epsilon", "clip": None, "steps": 40}
    for a, b in zip(run(DDIM(1.0), **options), run(DDPM("fixed_small"), **options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_predictions_of_every_type_walk_one_path() -> None:
    runs = [
        sample(MIXTURE.denoiser(SCHEDULE, prediction), x_init=START, steps=30, sampler=DDIM(0.7))
        for prediction in ("epsilon", "sample", "v_prediction", "score", "flow")
    ]
    for one in runs[1:]:
        np.testing.assert_allclose(one, runs[0], atol=1e-9)


def test_clipping_with_and_without_the_models_own_noise() -> None:
    plain = run(DDIM(), "epsilon", 0.3)
    rederived = run(DDIM(eps_from_clipped=True), "epsilon", 0.3)
    assert np.abs(plain[-1]).max() <= 0.3 and np.abs(rederived[-1]).max() <= 0.3
    assert np.abs(plain[0] - rederived[0]).max() > 1e-3
    states = run(DDIM(), "sample", None), run(DDIM(0.0, True), "sample", None)
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_zero_terminal_snr() -> None:
    """From pure noise the first x_0 is the mean of the data, and no NaN appears."""
    schedule = SCHEDULE.rescale_zero_terminal_snr()
    seen: list[np.ndarray] = []
    sample(
        GAUSSIAN.denoiser(schedule, "v_prediction"),
        x_init=START,
        steps=50,
        spacing="trailing",
        callback=lambda step, t, x, x0: seen.append(x0),
    )
    np.testing.assert_allclose(seen[0], np.broadcast_to([1.0, -2.0], seen[0].shape), atol=1e-12)
    with pytest.raises(ConfigError, match="zero terminal SNR"):
        run(DDIM(), "epsilon", None, schedule, spacing="trailing")


def test_a_geometric_schedule_whose_first_betas_underflow() -> None:
    with pytest.warns(UserWarning, match="terminal SNR"):
        schedule = schedules.geometric(1000, 0.9).rescale_zero_terminal_snr()
    for prediction in ("v_prediction", "sample"):
        for sampler in (DDIM(), DDIM(1.0), DDPM()):
            last = run(sampler, prediction, 1.0, schedule, spacing="trailing", steps=100)[-1]
            assert np.isfinite(last).all()


@pytest.mark.parametrize("eta", [-0.1, 1.1, np.nan, "1", None, True])
def test_eta_is_checked(eta: Any) -> None:
    with pytest.raises(ConfigError, match="eta = "):
        DDIM(eta)
