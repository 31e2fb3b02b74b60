"""Time grids: formulas, ends, explicit grids and what is refused."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.diffusion import DiscreteSchedule, schedules
from pydiff.errors import ConfigError
from pydiff.samplers import GRIDS, grids, make_grid

SCHEDULE = schedules.linear()
IN_TIME = ["leading", "trailing", "linspace", "quadratic"]
CONTINUOUS = [
    schedules.vp(), schedules.sub_vp(), schedules.ve(), schedules.edm(), schedules.flow(),
    schedules.flow(shift=3.0), schedules.cosine_logsnr(),
]  # fmt: skip
EVERY = [*CONTINUOUS, SCHEDULE, schedules.scaled_linear(), SCHEDULE.rescale_zero_terminal_snr()]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(1, 400), st.data(), st.sampled_from(IN_TIME))
def test_every_grid_of_timesteps_decreases_to_clean_data(
    length: int, data: Any, spacing: str
) -> None:
    schedule = DiscreteSchedule(np.full(length, 0.1))
    steps = data.draw(st.integers(1, length))
    times = make_grid(schedule, steps, spacing)
    assert times[-1] == -1 and all(type(t) is int for t in times)
    assert all(a > b for a, b in pairwise(times))
    assert times[0] <= length - 1
    assert len(times) == steps + 1 or spacing == "quadratic"


def test_formulas() -> None:
    assert make_grid(SCHEDULE, 4, "leading") == [750, 500, 250, 0, -1]
    assert make_grid(SCHEDULE, 4, "trailing") == [999, 749, 499, 249, -1]
    assert make_grid(SCHEDULE, 4, "linspace") == [999, 666, 333, 0, -1]
    assert make_grid(SCHEDULE, 3, "leading") == [666, 333, 0, -1]
    assert make_grid(SCHEDULE, 3, "trailing") == [999, 666, 332, -1]


def test_quadratic_is_that_of_the_ddim_paper() -> None:
    """linspace(0, sqrt(0.8 T), S)^2 cut to integers; levels visited twice are visited once."""
    for steps in (10, 20, 50, 100):
        published = [int(t) for t in np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2]
        assert make_grid(SCHEDULE, steps, "quadratic") == [*sorted(set(published))[::-1], -1]
    assert len(make_grid(SCHEDULE, 20, "quadratic")) == 21


def test_a_spacing_may_be_a_callable() -> None:
    offset = partial(grids.leading, offset=1)
    assert make_grid(SCHEDULE, 4, offset) == [751, 501, 251, 1, -1]
    assert make_grid(SCHEDULE, 2, lambda schedule, steps: [9.5, 2]) == [9.5, 2.0, -1.0]


def test_explicit_grids_are_taken_as_they_are() -> None:
    assert make_grid(SCHEDULE, grid=[900, 3, 0]) == [900, 3, 0]
    assert make_grid(SCHEDULE, grid=np.array([900.0, 3.0, -1.0])) == [900, 3, -1]
    assert make_grid(SCHEDULE, grid=(900.5, 3)) == [900.5, 3.0]


@pytest.mark.parametrize(
    "grid, message",
    [
        ([5, 5], "entry 0 is 5, entry 1 is 5"),
        ([9, 5, 7], "entry 1 is 5, entry 2 is 7"),
        ([0, 999], "must decrease"),
        ([1000, 0], "t = 1000 is outside"),
        ([9, -2], "t = -2 is outside"),
        ([9, -0.5], "t = -0.5 is outside"),
        ([9], "a start and an end"),
        ([], "a start and an end"),
        ([[9, 1]], "finite times"),
        ([9, np.nan], "finite times"),
        ([np.inf, 1], "finite times"),
        ("ab", "numbers"),
        ([None, 1], "numbers|finite"),
    ],
)
def test_bad_grids_are_named(grid: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_grid(SCHEDULE, grid=grid)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "3", None, 1001])
def test_bad_steps_are_errors(steps: Any) -> None:
    with pytest.raises(ConfigError, match="steps = "):
        make_grid(SCHEDULE, steps)


def test_bad_spacings_are_errors() -> None:
    with pytest.raises(ConfigError, match="leading, trailing, linspace, quadratic"):
        make_grid(SCHEDULE, 5, "even")
    with pytest.raises(ConfigError, match="callable"):
        make_grid(SCHEDULE, 5, 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="outside the schedule"):
        make_grid(SCHEDULE, 5, partial(grids.leading, offset=300))


@pytest.mark.parametrize("spacing", sorted(GRIDS))
@pytest.mark.parametrize("schedule", EVERY, ids=lambda s: type(s).__name__)
def test_every_grid_on_every_schedule(schedule: Any, spacing: str) -> None:
    for steps in (1, 2, 5, 50):
        times = make_grid(schedule, steps, spacing)
        assert all(a > b for a, b in pairwise(times)) and times[-1] == schedule.t_clean
        assert schedule.t_last >= times[0] and times[-2] >= schedule.t_first
        assert len(times) == steps + 1 or spacing in ("quadratic", "align_your_steps")


def _levels(schedule: Any, spacing: Any, steps: int) -> np.ndarray:
    return np.exp(-0.5 * schedule.log_snr(np.array(make_grid(schedule, steps, spacing)[:-1])))


def test_levels_are_spaced_as_their_papers_have_it() -> None:
    """EDM's table 1, evenness in other measures, the list of Align Your Steps."""
    karras = _levels(schedules.edm(), "edm", 18)
    i = np.arange(18) / 17
    expected = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(karras, expected, rtol=1e-12)
    for schedule in (SCHEDULE, schedules.vp(), schedules.ve()):
        steps = np.diff(np.log(_levels(schedule, "log_snr", 9)))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        rooted = np.diff(_levels(schedule, "karras", 9) ** (1 / 7))
        np.testing.assert_allclose(rooted, rooted[0], rtol=1e-6)
    ten = _levels(schedules.scaled_linear(), "align_your_steps", 10)
    np.testing.assert_allclose(ten[1:], grids.STABLE_DIFFUSION[1:-1], rtol=1e-9)
    assert ten[0] == pytest.approx(14.615, rel=1e-3)


def test_pure_noise_goes_before_the_levels() -> None:
    for schedule in (schedules.flow(), SCHEDULE.rescale_zero_terminal_snr()):
        times = make_grid(schedule, 10, "karras")
        assert times[0] == schedule.t_last
        assert np.exp(-0.5 * schedule.log_snr(times[1])) <= grids.PURE_NOISE * (1 + 1e-12)


def test_the_usual_spacing_is_the_schedules_own() -> None:
    assert make_grid(SCHEDULE, 4) == make_grid(SCHEDULE, 4, "leading")
    assert make_grid(schedules.flow(), 4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert make_grid(schedules.edm(), 4) == make_grid(schedules.edm(), 4, "karras")
    assert make_grid(schedules.ve(), 4) == make_grid(schedules.ve(), 4, "linspace")


def test_levels_outside_the_schedule_are_refused() -> None:
    with pytest.raises(ConfigError, match="lie outside"):
        make_grid(SCHEDULE, 4, partial(grids.edm, sigma_min=200.0, sigma_max=500.0))
    with pytest.raises(ConfigError, match="must be positive and decrease"):
        make_grid(SCHEDULE, 4, partial(grids.align_your_steps, levels=[1.0, 2.0]))


@pytest.mark.filterwarnings("ignore:terminal SNR")
@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta", "edm", "align_your_steps"])
def test_a_chain_that_begins_without_noise_has_its_grids(spacing: str) -> None:
    """The first betas of this one underflow: its least levels are 0."""
    schedule = schedules.geometric(1000, 0.9)
    assert schedule.log_snr(0) == np.inf
    times = make_grid(schedule, 50, spacing)
    assert times[0] == schedule.t_last and times[-1] == -1 and (np.diff(times) < 0.0).all()


@pytest.mark.parametrize("schedule", [schedules.vp(), schedules.edm(), schedules.flow()], ids=repr)
def test_leading_starts_from_the_least_level_for_any_number_of_steps(schedule: Any) -> None:
    for steps in (1, 5, 1000, 3000):
        times = np.array(make_grid(schedule, steps, "leading"))
        stride = (schedule.t_last - schedule.t_first) / steps
        assert times[-2] == schedule.t_first
        np.testing.assert_allclose(np.diff(times[:-1]), -stride, rtol=1e-6)


@pytest.mark.parametrize(
    "spacing",
    [
        partial(grids.karras, rho=0),
        partial(grids.karras, rho="7"),
        partial(grids.beta, alpha=-1.0),
        partial(grids.beta, beta=None),
        partial(grids.beta, beta=1e9),
        partial(grids.edm, sigma_min="low"),
        partial(grids.align_your_steps, levels="ab"),
        partial(grids.align_your_steps, levels=[1.0, 2.0]),
    ],
)
def test_bad_options_of_spacings_are_errors(spacing: Any) -> None:
    with pytest.raises(ConfigError, match=r"rho|alpha|beta|sigma_min|levels"):
        make_grid(SCHEDULE, 5, spacing)
