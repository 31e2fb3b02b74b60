"""The object: what it samples, its schedules of levels, sharing between threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scheduler_cases import CASES, Case

from pydiff.diffusion import NoiseSchedule
from pydiff.errors import ConfigError
from pydiff.schedulers import SCHEDULERS, from_config
from pydiff.schedulers.levels import Angular, VariancePreserving

pytestmark = pytest.mark.filterwarnings("ignore:terminal SNR")
FIRST = {case.config["_class_name"]: case for case in reversed(CASES)}


def model(x: np.ndarray, t: float) -> np.ndarray:
    return 0.8 * np.tanh(1.3 * x + 0.0007 * t) - 0.2 * x


def draw(dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 4, 4, 3)).astype(dtype)


@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST.keys())
def test_float32_follows_float64(case: Case) -> None:
    scheduler = from_config(case.config)
    single = scheduler.sample(model, draw(np.float32), 10, seed=3)
    double = scheduler.sample(model, draw(np.float32).astype(np.float64), 10, seed=3)
    assert single.dtype == np.float32 and double.dtype == np.float64
    scale = max(1.0, np.abs(double).max())
    np.testing.assert_allclose(single / scale, double / scale, atol=2e-4)


@pytest.mark.parametrize("case", FIRST.values(), ids=FIRST.keys())
def test_threads_share_one_scheduler(case: Case) -> None:
    scheduler = from_config(case.config)
    run = lambda seed: scheduler.sample(model, draw(np.float32, seed), 6, seed=seed)  # noqa: E731
    alone = [run(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for a, b in zip(alone, pool.map(run, range(8)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_scheduler_is_here() -> None:
    assert set(FIRST) == set(SCHEDULERS)


def test_x_init_is_kept_and_the_callback_stops_the_run() -> None:
    scheduler = from_config({"_class_name": "EulerDiscreteScheduler"})
    x = draw(np.float64)
    before, seen = x.copy(), []

    def stop(step: int, t: float, x: np.ndarray, x0: np.ndarray) -> bool:
        seen.append((step, t, x))
        return step < 2

    result = scheduler.sample(model, x, 10, callback=stop)
    np.testing.assert_array_equal(x, before)
    assert [step for step, _, _ in seen] == [0, 1, 2] and result is seen[-1][2]
    assert [t for _, t, _ in seen] == scheduler.grid(10)[:3]


def test_draws_are_asked_for_by_step_and_shape() -> None:
    scheduler = from_config({"_class_name": "EulerAncestralDiscreteScheduler"})
    asked = []

    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        asked.append((step, shape))
        return np.zeros(shape)

    scheduler.sample(model, draw(np.float64), 4, noise)
    assert asked == [(step, (2, 4, 4, 3)) for step in range(3)]  # none onto clean data


# ---------------------------------------------------------------- schedules of levels

LEVELS = [VariancePreserving(0.01, 80.0), VariancePreserving(0.01, 80.0, 0.5), Angular()]


@pytest.mark.parametrize("schedule", LEVELS, ids=str)
def test_levels(schedule: NoiseSchedule) -> None:
    t = np.linspace(0.01, 0.99, 25) * schedule.t_last
    ratio = schedule.alpha(t) / schedule.sigma(t)
    np.testing.assert_allclose(schedule.log_snr(t), 2.0 * np.log(ratio), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(schedule.time(schedule.log_snr(t)), t, rtol=1e-12)
    for rule in (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.log_alpha_rate):
        assert rule(float(t[3])) == pytest.approx(rule(t)[3], rel=1e-12)
    assert (schedule.alpha(0.0), schedule.sigma(0.0), schedule.log_snr(0.0)) == (1.0, 0.0, np.inf)
    h = 1e-6 * schedule.t_last
    slope = (np.log(schedule.alpha(t + h)) - np.log(schedule.alpha(t - h))) / (2.0 * h)
    np.testing.assert_allclose(schedule.log_alpha_rate(t), slope, rtol=1e-5, atol=1e-8)
    growth = (schedule.sigma(t + h) ** 2 - schedule.sigma(t - h) ** 2) / (2.0 * h)
    expected = growth - 2.0 * schedule.log_alpha_rate(t) * schedule.sigma(t) ** 2
    np.testing.assert_allclose(schedule.diffusion(t) ** 2, expected, rtol=1e-5, atol=1e-8)
    for bad in (-0.1, float("nan"), 81.0):
        with pytest.raises(ConfigError, match="t = "):
            schedule.sigma(bad)


def test_the_end_of_angular_levels_is_noise_alone() -> None:
    schedule = Angular()
    assert (schedule.alpha(1.0), schedule.sigma(1.0)) == (0.0, 1.0)
    assert schedule.log_snr(1.0) == -np.inf


def test_the_scaled_denoiser_differentiates_through_its_scaling() -> None:
    from pydiff import ops

    for name in ("EulerDiscreteScheduler", "EDMEulerScheduler"):
        denoiser: Any = from_config({"_class_name": name}).denoiser(lambda x, t: ops.tanh(x))
        x, v, t, h = draw(np.float64), draw(np.float64, 1), 3.0, 1e-6
        p, pull = denoiser.linearize(x, t)
        np.testing.assert_array_equal(p.raw_x0, denoiser.predict(x, t).raw_x0)
        step = draw(np.float64, 2)
        moved = denoiser.predict(x + h * step, t).raw_x0 - denoiser.predict(x - h * step, t).raw_x0
        assert (pull(v) * step).sum() == pytest.approx((v * moved).sum() / (2 * h), rel=1e-5)
