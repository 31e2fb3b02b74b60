"""Training times: distributions, weights that keep means, low discrepancy, the resampler."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import schedules
from pydiff.diffusion import TIMES, LossHistory, Times, training_times
from pydiff.errors import ConfigError

LINEAR, VP, EDM, FLOW = schedules.linear(), schedules.vp(), schedules.edm(), schedules.flow()
N = 40_000


@pytest.mark.parametrize("schedule", [LINEAR, VP, EDM, FLOW], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", sorted(TIMES))
def test_times_lie_in_the_schedule_and_are_keyed_by_image(name: str, schedule) -> None:
    if name == "log_snr" and schedule is FLOW:
        with pytest.raises(ConfigError, match="finite log-SNR"):
            TIMES[name].draw(schedule, 1, 4)
        return
    t, weight = TIMES[name].draw(schedule, 1, 200)
    assert t.dtype == (np.int64 if schedule is LINEAR else np.float64)
    assert (t >= schedule.t_first).all() and (t <= schedule.t_last).all()
    assert (weight > 0).all()
    part = TIMES[name].draw(schedule, 1, 7, first_image=100)
    np.testing.assert_array_equal(part.t, t[100:107])
    assert (TIMES[name].draw(schedule, 1, 200, step=1).t != t).any()


@pytest.mark.parametrize("schedule", [LINEAR, VP, EDM], ids=lambda s: type(s).__name__)
def test_even_log_snr_is_weighted_back_to_uniform_times(schedule) -> None:
    t, weight = TIMES["log_snr"].draw(schedule, 2, N)
    share = (t - schedule.t_first) / (schedule.t_last - schedule.t_first)
    error = np.std(weight * share) / np.sqrt(N)
    assert np.mean(weight * share) == pytest.approx(0.5, abs=5 * error + 1e-3)
    levels = schedule.log_snr(t.astype(float))
    ends = schedule.log_snr(schedule.t_first), schedule.log_snr(schedule.t_last)
    even = (levels - ends[1]) / (ends[0] - ends[1])
    np.testing.assert_allclose(np.histogram(even, 10, (0, 1))[0] / N, 0.1, atol=0.01)


def test_lognormal_levels_are_edms() -> None:
    t, weight = TIMES["lognormal"].draw(EDM, 3, N)
    assert (weight == 1.0).all()
    assert np.log(t).mean() == pytest.approx(-1.2, abs=0.03)
    assert np.log(t).std() == pytest.approx(1.2, abs=0.03)
    on_vp = TIMES["lognormal"].draw(VP, 3, N).t
    assert np.median(-0.5 * VP.log_snr(on_vp)) == pytest.approx(-1.2, abs=0.03)


def test_logit_normal_is_stable_diffusion_threes() -> None:
    t = TIMES["logit_normal"].draw(FLOW, 4, N).t
    place = (t - FLOW.t_first) / (1.0 - FLOW.t_first)
    z = np.log(place / (1.0 - place))
    assert z.mean() == pytest.approx(0.0, abs=0.02) and z.std() == pytest.approx(1.0, abs=0.02)


def test_low_discrepancy_spreads_a_batch_evenly() -> None:
    times = Times(low_discrepancy=True)
    t = np.sort(times.draw(VP, 5, 64).t)
    gaps = np.diff((t - VP.t_first) / (1.0 - VP.t_first))
    np.testing.assert_allclose(gaps, 1 / 64, rtol=1e-9)
    firsts = [times.draw(VP, 5, 1, step=step).t[0] for step in range(2000)]
    assert np.mean(firsts) == pytest.approx(0.5, abs=0.03)  # every single time is uniform


def test_discrete_times_are_the_trainers() -> None:
    np.testing.assert_array_equal(Times().draw(LINEAR, 5, 9).t, training_times(LINEAR, 5, 9))


def test_the_resampler_follows_the_losses_and_stays_unbiased() -> None:
    schedule = schedules.linear(10)
    history = LossHistory(schedule)
    np.testing.assert_allclose(history.probabilities(), 0.1)
    truth = np.arange(1.0, 11.0)
    for _ in range(10):
        history.record(np.arange(10), truth)
    p = history.probabilities()
    np.testing.assert_allclose(p, 0.999 * truth / truth.sum() + 1e-4)
    t, weight = history.draw(schedule, 7, N)
    np.testing.assert_allclose(np.bincount(t, minlength=10) / N, p, atol=0.01)
    np.testing.assert_allclose((weight * truth[t]).mean(), truth.mean(), rtol=0.01)
    with pytest.raises(ConfigError, match="discrete"):
        LossHistory(VP)


@pytest.mark.parametrize("options", [{"distribution": "cauchy"}, {"std": 0.0}])
def test_refused(options) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        Times(**options)
