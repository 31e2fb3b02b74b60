"""Inversion: from data to the noise that DDIM turns into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import random
from pydiff.diffusion import Denoiser, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import DDIM, DDIMInverse, sample
from pydiff.testing.oracles import GaussianMixture

VP = schedules.linear()
GAUSSIAN = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
MIXTURE = GaussianMixture([[1.0, 0.0], [-1.0, 0.5]], [0.2, 0.1])


def there_and_back(inverse: DDIMInverse, steps: int) -> float:
    """The largest change of data that are inverted and sampled again on the same grid."""
    denoiser, data = MIXTURE.denoiser(VP, "epsilon"), MIXTURE.sample(50)
    options: dict[str, Any] = {"steps": steps, "spacing": "trailing"}
    noise = sample(denoiser, x_init=data, sampler=inverse, **options)
    return float(np.abs(sample(denoiser, x_init=noise, **options) - data).max())


def test_fixed_point_iterations_invert_ddim_exactly() -> None:
    errors = [there_and_back(DDIMInverse(iterations=n), 100) for n in (1, 3, 10, 60)]
    assert errors[0] > 10.0 * errors[1] > 100.0 * errors[2]
    assert errors[3] < 1e-9


@pytest.mark.parametrize("held", ["epsilon", "sample", "v_prediction"])
def test_whatever_is_held_first_the_fixed_point_is_one(held: str) -> None:
    x, denoiser = 0.5 * random.normal(0, (50, 2), dtype=np.float64), MIXTURE.denoiser(VP)
    sampler = DDIMInverse(iterations=200, held=held)
    y = sample(denoiser, x_init=x, sampler=sampler, grid=[320, 300])
    np.testing.assert_allclose(sample(denoiser, x_init=y, grid=[320, 300]), x, atol=1e-9)


def test_more_steps_approach_the_exact_flow() -> None:
    data = GAUSSIAN.sample(50)
    denoiser, errors = GAUSSIAN.denoiser(VP), []
    # from level 0 up: the flow of the data themselves is singular where their noise begins
    exact = GAUSSIAN.flow_map(data, VP, 0, 999)
    for n in (100, 200, 400):
        grid = np.linspace(999, 0, n + 1)
        y = sample(denoiser, x_init=data, sampler="ddim_inverse", grid=grid)
        errors.append(float(np.abs(y - exact).mean()))
    assert -np.polyfit(np.log([100, 200, 400]), np.log(errors), 1)[0] == pytest.approx(1, abs=0.25)


def test_the_grid_is_walked_from_its_end() -> None:
    asked: list[float] = []
    denoiser = Denoiser(lambda x, t: asked.append(t) or np.tanh(x), VP)
    calls: list[float] = []
    x = np.full((2, 3), 0.5)
    sample(
        denoiser,
        x_init=x,
        sampler="ddim_inverse",
        steps=4,
        callback=lambda step, t, x, x0: calls.append(t),
    )
    assert asked == [0, 250, 500, 750] and calls == [-1, 0, 250, 500]


def test_clipping_bounds_x0() -> None:
    model = Denoiser(lambda x, t: np.tanh(x), VP)
    seen: list[np.ndarray] = []
    sample(
        model,
        x_init=np.linspace(-2.0, 2.0, 8).reshape(2, 4),
        sampler=DDIMInverse(clip=0.5),
        steps=5,
        callback=lambda step, t, x, x0: seen.append(x0),
    )
    assert all(np.abs(x0).max() <= 0.5 for x0 in seen)


def test_zero_terminal_snr_is_reached() -> None:
    schedule = VP.rescale_zero_terminal_snr()
    data = GAUSSIAN.sample(50)
    denoiser = GAUSSIAN.denoiser(schedule, "v_prediction")
    options: dict[str, Any] = {"steps": 50, "spacing": "trailing"}
    y = sample(denoiser, x_init=data, sampler="ddim_inverse", **options)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y.var(0), 1.0, atol=0.5)


def test_float32_stays() -> None:
    data = MIXTURE.sample(5).astype(np.float32)
    y = sample(MIXTURE.denoiser(VP), x_init=data, sampler="ddim_inverse", steps=10)
    assert y.dtype == np.float32


def test_without_data_it_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"ddim_inverse .* pass the data as x_init"):
        sample(MIXTURE.denoiser(VP), (4, 2), "ddim_inverse")


@pytest.mark.parametrize(
    "option, bad", [("iterations", 0), ("held", "score"), ("clip", 0.0), ("clip", True)]
)
def test_options_are_checked(option: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"{option} = "):
        DDIMInverse(**{option: bad})


def test_ddim_itself_is_no_inverse() -> None:
    assert DDIMInverse.inverse and not DDIM.inverse
