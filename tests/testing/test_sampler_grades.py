"""The grades of samplers: that they are right for known cases, and that they see what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from pydiff import random, schedules
from pydiff.diffusion.parameterization import combine
from pydiff.samplers import DDIM, SAMPLERS, Step, sample
from pydiff.testing import sampler_grades as grades
from pydiff.testing import sampler_problem as problem
from pydiff.testing.oracles import GaussianMixture
from pydiff.testing.sampler_grades import Point

SCHEDULE = schedules.linear()


@dataclass(frozen=True)
class Leaky(DDIM):
    """DDIM with a planted error: it loses a hundredth of the noise in each step."""

    name: ClassVar[str] = "leaky"

    def step(self, denoiser: Any, x: Any, t: float, t_next: float, state: Any, noise: Any) -> Step:
        p = denoiser.predict(x, t)
        alpha, sigma = denoiser.schedule.alpha(t_next), 0.99 * denoiser.schedule.sigma(t_next)
        return Step(combine((alpha, sigma), (p.x0, p.eps)), p.x0)


@dataclass(frozen=True)
class Boastful(DDIM):
    """DDIM that declares second order."""

    name: ClassVar[str] = "boastful"
    order: ClassVar[int] = 2


def test_the_flow_of_the_problem_is_the_closed_one() -> None:
    data = GaussianMixture([[1.0, -2.0]], [[[0.5, 0.3], [0.3, 0.4]]])
    x = random.normal(0, (5, 2), dtype=np.float64)
    levels = problem.log_ratio(SCHEDULE, 999), problem.log_ratio(SCHEDULE, 100)
    y = problem.flow(data, x / SCHEDULE.alpha(999), levels, 1e-12)
    expected = data.flow_map(x, SCHEDULE, 999, 100)
    np.testing.assert_allclose(SCHEDULE.alpha(100) * y, expected, rtol=1e-9)


def test_the_consistency_function_ends_where_the_flow_does() -> None:
    data = GaussianMixture([[1.0, -2.0]], [0.3])
    x = random.normal(0, (5, 2), dtype=np.float64)
    model = problem.consistency_function(data, SCHEDULE, 1e-10)
    expected = data.flow_map(x, SCHEDULE, 700, -1)
    np.testing.assert_allclose(model(x, 700), expected, atol=1e-5)


def test_the_law_is_that_of_many_draws() -> None:
    times = problem.grid(SCHEDULE, 10, 4.0)
    model = grades._predictor(problem.Setting(), problem.LINE, SCHEDULE)
    mean, std = grades._law(SAMPLERS["ddpm"](), model, times)
    start_mean, start_std = grades._marginal(SCHEDULE, times[0])
    x = start_mean + start_std * random.normal(0, (1, 40_000), dtype=np.float64).reshape(-1, 1)

    def noise(step: int, shape: Any) -> np.ndarray:
        return random.normal(1, (1, 40_000), step=step, dtype=np.float64).reshape(shape)

    drawn = sample(model, x_init=x, sampler="ddpm", grid=times, noise=noise)
    assert drawn.mean() == pytest.approx(mean, abs=4 * std / 200)
    assert drawn.std() == pytest.approx(std, rel=4 / 280)


def test_orders_of_curves() -> None:
    def power(order: float) -> list[Point]:
        return [Point(n, 3.0 * n**-order) for n in (10, 20, 40, 80)]

    assert grades.fitted_order(power(2.5)) == pytest.approx(2.5)
    floor = [*power(2.5), Point(160, 1e-13), Point(320, 2e-13)]
    assert grades.fitted_order(floor) == pytest.approx(2.5)
    assert grades.fitted_order([Point(10, 0.1)]) is None


def test_grids_go_from_noise_to_data() -> None:
    for steps in (1, 2, 5):
        times = problem.grid_to_data(SCHEDULE, steps)
        assert len(times) == steps + 1 and times[0] == 999 and times[-1] == -1
    assert times[-2] == 0
    assert np.ptp(np.diff(SCHEDULE.log_snr(times[:-1]))) < 1e-9


def test_a_good_sampler_passes() -> None:
    grade = grades.grade("ddim", samples=10_000)
    assert grade.measured_order == pytest.approx(1.0, abs=0.05) and grade.order_passed
    assert grade.truth.passed and grade.truth.evaluations == 200
    assert [point.evaluations for point in grade.curve] == [10, 20, 50, 100, 200, 400]
    assert grade.error_at(20) == grade.curve[1] and grade.error_at(9) is None


def test_a_wrong_sampler_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLERS, "leaky", Leaky)
    monkeypatch.setitem(SAMPLERS, "boastful", Boastful)
    leaky = grades.grade("leaky", samples=10_000)
    assert not leaky.order_passed and not leaky.truth.passed
    assert not grades.grade("boastful", samples=1000).order_passed


def test_exact_sets_have_distance_one_and_others_more() -> None:
    exact = grades.exact_sets(5000)
    x, y = problem.PLANE.sample(5000, 1), problem.PLANE.sample(5000, 2)
    assert grades._distances(x, y)[0] < 2.0 * exact.wasserstein
    assert grades._distances(x, y + 0.5)[0] > 2.0 * exact.wasserstein


def test_threads_give_what_one_gives() -> None:
    names = ["ddim", "ddpm"]
    together = grades.grade_all(names, samples=1000)
    exact = grades.exact_sets(1000)
    assert together == [grades.grade(name, 1000, exact) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SAMPLERS if problem.setting(name).converges])
def test_every_sampler_keeps_its_order(name: str) -> None:
    points, sampler = grades.curve(name), SAMPLERS[name](**problem.setting(name).options)
    order = grades.fitted_order(points)
    assert order is not None and order > sampler.order - grades.ORDER_TOLERANCE, points
    assert sampler.stochastic or order < sampler.order + grades.ORDER_TOLERANCE, points


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_sampler_draws_the_mixture(name: str, exact: grades.ExactSets) -> None:
    """100,000 samples: weights within 1 %, Wasserstein within twice that of two exact sets."""
    result = grades.truth(name, grades.DRAWN, exact)
    assert result.passed, result


@pytest.fixture(scope="module")
def exact() -> grades.ExactSets:
    return grades.exact_sets(grades.DRAWN)


def test_settings_are_for_samplers_that_exist() -> None:
    assert set(problem.SETTINGS) <= set(SAMPLERS)
