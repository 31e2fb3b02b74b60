"""Training on points: the network becomes the denoiser, with the same bits each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import nn, random, schedules
from pydiff.diffusion.losses import Loss
from pydiff.errors import ConfigError, NonFiniteError, ShapeError
from pydiff.testing.oracles import GaussianMixture
from pydiff.training.points import LevelTimes, fit_points

DATA = GaussianMixture([[0.8, -0.4]], [0.3])
POINTS = DATA.sample(4000, 0).astype(np.float32)


def network() -> nn.MLP:
    return nn.MLP(width=32, depth=1, frequency=8.0)


@pytest.mark.parametrize("schedule", [schedules.linear(), schedules.ve(), schedules.flow()])
def test_the_denoiser_is_learned(schedule: Any) -> None:
    fitted = fit_points(POINTS, schedule, steps=300, batch_size=256, lr=1e-2, network=network())
    z = random.normal(1, (300, 2))
    for log_snr in (3.0, 0.0, -3.0):
        t = schedule.time(log_snr)
        x = schedule.add_noise(POINTS[:300], z, t)
        exact = DATA.denoise(x, schedule.alpha(t), schedule.sigma(t))
        assert np.abs(fitted.denoiser(x, t) - exact).mean() < 0.06
    assert fitted.losses[-50:].mean() < fitted.losses[:20].mean()


def test_the_same_bits_again() -> None:
    runs = [fit_points(POINTS, schedules.linear(), steps=5, network=network()) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)
    other = fit_points(POINTS, schedules.linear(), steps=5, network=network(), seed=1)
    assert (other.losses != runs[0].losses).all()


def test_a_callback_sees_losses_and_stops() -> None:
    seen: list[float] = []

    def callback(step: int, loss: float) -> bool:
        seen.append(loss)
        return step < 2

    fitted = fit_points(POINTS, schedules.vp(), steps=9, network=network(), callback=callback)
    assert seen == fitted.losses.tolist() and len(seen) == 3


def test_times_from_a_list_of_levels() -> None:
    times = LevelTimes(levels=(1.0, 0.5, 0.25))
    drawn = times.draw(schedules.ve(), 0, 3000).t
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0.25, 0.5, 1.0] and np.abs(counts - 1000).max() < 100
    np.testing.assert_array_equal(times.draw(schedules.ve(), 0, 10, first_image=5).t, drawn[5:15])


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match="points have shape"):
        fit_points(POINTS[:, 0], schedules.vp())
    with pytest.raises(NonFiniteError, match="NaN"):
        fit_points(POINTS * np.nan, schedules.vp())
    with pytest.raises(ConfigError, match="epsilon"):
        fit_points(POINTS, schedules.vp(), loss=Loss("epsilon"))
    for key in ("steps", "batch_size"):
        with pytest.raises(ConfigError, match=key):
            fit_points(POINTS, schedules.vp(), **{key: 0})
    with pytest.raises(NonFiniteError, match="the loss of step"):
        fit_points(POINTS, schedules.vp(), steps=200, lr=1e4, network=network())
