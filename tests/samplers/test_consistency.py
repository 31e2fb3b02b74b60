"""Samplers of consistency models: consistency, lcm, tcd. Exact where the model is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import linear_moments

from pydiff import random
from pydiff.diffusion import Denoiser, NoiseSchedule, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import DDIM, LCM, TCD, Consistency, Sampler, grids, sample
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
ZERO_SNR = VP.rescale_zero_terminal_snr()
FLOW = schedules.flow()
DATA = GaussianMixture([[0.3]], [0.25])


def consistent(schedule: NoiseSchedule) -> Denoiser:
    """The exact consistency function of one Gaussian: the end of the path through x_t."""

    def model(x: np.ndarray, t: float) -> np.ndarray:
        return DATA.flow_map(x, schedule, t, schedule.t_clean)

    return Denoiser(model, schedule, "sample")


@pytest.mark.parametrize("schedule", [ZERO_SNR, FLOW], ids=["vp", "flow"])
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_a_consistency_function_is_sampled_exactly(schedule: NoiseSchedule, steps: int) -> None:
    times = np.linspace(schedule.t_last, schedule.t_clean, steps + 1)
    options: dict[str, Any] = {"denoiser": consistent(schedule), "grid": np.rint(times)}
    if schedule is FLOW:
        options["grid"] = times
    moments = linear_moments(DATA, schedule, Consistency(sigma_min=0.0), steps, **options)
    assert moments == (pytest.approx(0.3, rel=1e-9), pytest.approx(0.25, rel=1e-9))


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_lcm_is_exact_but_for_its_boundary_scalings(steps: int) -> None:
    options: dict[str, Any] = {"denoiser": consistent(ZERO_SNR), "spacing": grids.lcm}
    moments = linear_moments(DATA, ZERO_SNR, LCM(), steps, **options)
    assert moments == (pytest.approx(0.3, rel=1e-4), pytest.approx(0.25, rel=1e-4))


def test_lcm_leaves_x_alone_at_time_zero() -> None:
    x = random.normal(0, (3, 2))
    denoiser = Denoiser(lambda x, t: np.zeros_like(x), VP, "sample")
    np.testing.assert_array_equal(sample(denoiser, x_init=x, sampler="lcm", grid=[0, -1]), x)
    y = sample(denoiser, x_init=x, sampler=LCM(timestep_scaling=1.0), grid=[1, -1])
    np.testing.assert_allclose(y, 0.2 * x, rtol=1e-6)  # 0.25 / 1.25


def test_a_plain_denoiser_loses_variance() -> None:
    options: dict[str, Any] = {"spacing": "trailing"}
    assert linear_moments(DATA, VP, Consistency(), 1, **options)[1] < 1e-3
    assert linear_moments(DATA, VP, Consistency(), 20, **options)[1] < 0.2


def test_sigma_min_is_where_the_paths_end() -> None:
    z = np.ones((1, 1))
    denoiser = Denoiser(lambda x, t: np.zeros_like(x), VP, "sample")

    def run(t: int, sigma_min: float) -> float:
        y = sample(
            denoiser,
            x_init=z,
            sampler=Consistency(sigma_min),
            grid=[900, t],
            noise=lambda step, shape: z,
        )
        return float(y[0, 0])

    ratio = VP.sigma(100) / VP.alpha(100)
    assert run(100, 0.0) == pytest.approx(VP.sigma(100))
    assert run(100, 0.6 * ratio) == pytest.approx(0.8 * VP.sigma(100))
    assert run(100, 2.0 * ratio) == 0.0


def test_tcd_without_noise_is_ddim() -> None:
    x, denoiser = random.normal(0, (20, 1), dtype=np.float64), DATA.denoiser(VP)
    for grid in ([999, 700, 300, 20, -1], [999, 700, 300, 20, 0]):
        runs = [sample(denoiser, x_init=x, sampler=s, grid=grid) for s in (TCD(0.0), DDIM())]
        np.testing.assert_allclose(*runs, rtol=1e-9)


def test_tcd_goes_beyond_and_back() -> None:
    """One step by hand: DDIM from 900 to 0.6 * 500 = 300, then noise up to 500."""
    x, z = random.normal(0, (4, 1), dtype=np.float64), np.full((4, 1), 0.7)
    denoiser = DATA.denoiser(VP)
    y = sample(
        denoiser,
        x_init=x,
        sampler=TCD(0.4),
        grid=[900, 500, -1],
        noise=lambda *_: z,
        callback=lambda *_: False,
    )
    beyond = sample(denoiser, x_init=x, sampler=DDIM(), grid=[900, 300])
    kept = VP.alpha(500) / VP.alpha(300)
    std = np.sqrt(VP.sigma(500) ** 2 - (kept * VP.sigma(300)) ** 2)
    np.testing.assert_allclose(y, kept * beyond + std * z, rtol=1e-9)


@pytest.mark.parametrize("sampler", [Consistency(), LCM(), TCD()], ids=repr)
def test_the_last_step_draws_nothing(sampler: Sampler) -> None:
    asked: list[int] = []

    def noise(step: int, shape: tuple[int, ...]) -> np.ndarray:
        asked.append(step)
        return np.zeros(shape)

    sample(DATA.denoiser(VP), (4, 1), sampler, steps=4, spacing=grids.lcm, noise=noise)
    assert asked == [0, 1, 2]


def test_the_grid_of_lcm() -> None:
    np.testing.assert_array_equal(grids.lcm(VP, 4), [999, 759, 499, 259])
    np.testing.assert_array_equal(grids.lcm(VP, 2, 4), [999, 499])
    for steps, original in ((5, 4), (4, 2000)):
        with pytest.raises(ConfigError, match=f"original_inference_steps = {original}"):
            grids.lcm(VP, steps, original)


@pytest.mark.parametrize(
    "cls, option, bad",
    [
        (Consistency, "sigma_min", -1.0),
        (Consistency, "s_noise", None),
        (LCM, "timestep_scaling", -1.0),
        (LCM, "sigma_data", 0.0),
        (TCD, "eta", 1.1),
    ],
)
def test_options_are_checked(cls: Any, option: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"{option} = "):
        cls(**{option: bad})
