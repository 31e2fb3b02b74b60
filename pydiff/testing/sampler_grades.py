"""Samplers measured: error against evaluations, the order that follows, samples against the truth.

`grade(name)` runs one of SAMPLERS on the problem of `sampler_problem`:
- A deterministic one carries 200 points to log-SNR 4; its error is the median distance from where
  the exact flow puts them.
- A stochastic one makes steps that are affine in its state and in its noise where the data are one
  Gaussian, so the response to each draw alone gives the law of its samples without drawing any; its
  error is the Wasserstein-2 distance of that law from the true one.
- All draw samples of the mixture, which are compared with exact ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import measures, random
from ..config import num_threads
from ..diffusion.noise_schedule import NoiseSchedule
from ..samplers import Sampler, sample
from ..samplers.base import Predictor
from ..samplers.registry import SAMPLERS
from .oracles import GaussianMixture
from .sampler_problem import (
    END,
    LINE,
    PLANE,
    Setting,
    consistency_function,
    exact_flow,
    grid,
    grid_to_data,
    make_schedule,
    setting,
)

SHOWN = (10, 20, 50)  # evaluations whose errors the table shows
DRAWN = 100_000
FITTED = 2  # the finest points of a curve that are above the rounding give the order
ROUNDING = 5e-12
ORDER_TOLERANCE = 0.25
WASSERSTEIN_LIMIT = 2.0  # times that of two independent exact sets
WEIGHT_LIMIT = 0.01  # of a mode, for DRAWN samples
_POINTS, _DIRECTIONS, _PAIRS = 200, 32, 4
_TOLD = 1e-4  # what so many samples can tell is more


class Point(NamedTuple):
    """The error after so many evaluations of the model."""

    evaluations: int
    error: float


class Truth(NamedTuple):
    """Samples against exact ones: distances in units of those of two exact sets of that size.

    weights: the largest error of a mode's weight; None where the samples are not the data.
    """

    samples: int
    evaluations: int
    wasserstein: float
    energy: float
    weights: float | None

    @property
    def passed(self) -> bool:
        """Whether distance and weights are within WASSERSTEIN_LIMIT and WEIGHT_LIMIT."""
        limit = WEIGHT_LIMIT * math.sqrt(max(1.0, DRAWN / self.samples))
        return self.wasserstein <= WASSERSTEIN_LIMIT and (self.weights or 0.0) <= limit


@dataclass(frozen=True)
class Grade:
    """What a sampler declares, and what it was measured to do."""

    name: str
    paper: str
    order: int
    evaluations: int
    stochastic: bool
    adaptive: bool
    measured_order: float | None  # None where the error does not fall with the steps
    curve: tuple[Point, ...]
    truth: Truth
    note: str

    @property
    def order_passed(self) -> bool:
        """Whether the measured order is within ORDER_TOLERANCE of the declared one.

        A stochastic sampler may exceed it: one Gaussian does not bring out all of its errors.
        """
        if self.measured_order is None:
            return True
        excess = self.measured_order - self.order
        return excess >= -ORDER_TOLERANCE and (self.stochastic or excess <= ORDER_TOLERANCE)

    def error_at(self, evaluations: int) -> Point | None:
        """The best point of the curve with at most so many evaluations."""
        within = [point for point in self.curve if point.evaluations <= evaluations]
        return max(within, key=lambda point: point.evaluations) if within else None

    def as_dict(self) -> dict[str, Any]:
        """The grade as JSON values."""
        values = asdict(self)
        values["curve"] = [point._asdict() for point in self.curve]
        values["truth"] = {**self.truth._asdict(), "passed": self.truth.passed}
        values["order_passed"] = self.order_passed
        return values


def grade_all(names: Iterable[str] = (), samples: int = DRAWN) -> list[Grade]:
    """Grades of these samplers (default: all of SAMPLERS), in the order given.

    samples: how many each draws for the comparison with the truth. One sampler per thread.
    """
    chosen = list(names) or list(SAMPLERS)
    exact = exact_sets(samples)
    with ThreadPoolExecutor(num_threads()) as pool:
        return list(pool.map(lambda name: grade(name, samples, exact), chosen))


def grade(name: str, samples: int = DRAWN, exact: ExactSets | None = None) -> Grade:
    """The grade of one sampler of SAMPLERS. exact: `exact_sets(samples)`, if it is there."""
    how = setting(name)
    sampler = SAMPLERS[name](**how.options)
    points = tuple(curve(name))
    return Grade(
        name,
        sampler.paper,
        sampler.order,
        sampler.evaluations,
        sampler.stochastic,
        sampler.adaptive,
        fitted_order(points) if how.converges else None,
        points,
        truth(name, samples, exact or exact_sets(samples)),
        how.note,
    )


def fitted_order(points: Iterable[Point]) -> float | None:
    """Minus the slope of log error against log evaluations at the fine end of a curve."""
    usable = [point for point in points if point.error > ROUNDING][-FITTED:]
    if len(usable) < 2:
        return None
    logs = np.log(np.array(usable, np.float64))
    return -float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def curve(name: str) -> list[Point]:
    """Errors at the numbers of evaluations of the sampler's setting."""
    how = setting(name)
    sampler = SAMPLERS[name](**{**how.options, **how.measured})
    schedule = make_schedule(how.schedule)
    error = _law_error if sampler.stochastic else _flow_error

    def at(count: int) -> Point:
        return _within(count, sampler, lambda steps: error(how, sampler, schedule, steps))

    return list(dict.fromkeys(at(count) for count in how.counts))


def _within(count: int, sampler: Sampler, run: Callable[[int], Point]) -> Point:
    """The run with the most steps that takes at most `count` evaluations (or one step)."""
    steps = max(1, count // sampler.evaluations)
    point = run(steps)
    while point.evaluations > count and steps > 1:  # the first steps of some take more
        steps -= max(1, (point.evaluations - count) // sampler.evaluations)
        point = run(max(1, steps))
    return point


class _Counted:
    """A Predictor that counts its evaluations."""

    def __init__(self, predictor: Predictor) -> None:
        self.schedule = predictor.schedule
        self.count = 0
        self._predict = predictor.predict

    def predict(self, x: np.ndarray, t: float) -> Any:
        self.count += 1
        return self._predict(x, t)


def _predictor(
    how: Setting, data: GaussianMixture, schedule: NoiseSchedule, tolerance: float = 1e-7
) -> _Counted:
    if how.consistency:
        return _Counted(consistency_function(data, schedule, tolerance))
    return _Counted(data.denoiser(schedule))


def _flow_error(how: Setting, sampler: Sampler, schedule: NoiseSchedule, steps: int) -> Point:
    """The median distance of points from the ends of their exact paths.

    Not the mean: a few points start so near a border between modes that a small error moves them
    far, which hides the order until the steps are very many.
    """
    times, model = grid(schedule, steps, END), _predictor(how, PLANE, schedule)
    start = schedule.prior_std * random.normal(0, (_POINTS, 2), dtype=np.float64)
    end = exact_flow(start, schedule, times[0], times[-1])
    if sampler.inverse:
        start, end = end, start
    reached = sample(model, x_init=start, sampler=sampler, grid=times)
    return Point(model.count, float(np.median(np.linalg.norm(reached - end, axis=1))))


def _law_error(how: Setting, sampler: Sampler, schedule: NoiseSchedule, steps: int) -> Point:
    """The Wasserstein-2 distance of the law of the samples of LINE from the true one."""
    times, model = grid(schedule, steps, END), _predictor(how, LINE, schedule)
    mean, std = _law(sampler, model, times)
    end = times[-1] if how.time is None else how.time
    true_mean, true_std = _marginal(schedule, end)
    # the law took two runs, one to count the draws
    return Point(model.count // 2, math.hypot(mean - true_mean, std - true_std))


def _law(sampler: Sampler, model: _Counted, times: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the samples, from one run per independent normal number.

    x = m + s z at the start, exactly distributed; row 0 of the batch sees no randomness, row 1 the
    start's, and row k + 2 the k-th draw of noise alone.
    """
    mean, std = _marginal(model.schedule, times[0])
    draws = 0

    def impulse(step: int, shape: tuple[int, ...]) -> np.ndarray:
        nonlocal draws
        draws += 1
        return (np.arange(shape[0]) == draws + 1).astype(np.float64)[:, None]

    sample(model, x_init=np.zeros((1, 1)), sampler=sampler, grid=times, noise=impulse)
    start = np.full((draws + 2, 1), mean)
    start[1] += std
    draws = 0
    ends = sample(model, x_init=start, sampler=sampler, grid=times, noise=impulse)[:, 0]
    return float(ends[0]), float(np.linalg.norm(ends[1:] - ends[0]))


def _marginal(schedule: NoiseSchedule, t: float) -> tuple[float, float]:
    """Mean and standard deviation of x_t for LINE."""
    mean, covariance = LINE.moments()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha * float(mean[0]), math.sqrt(alpha**2 * float(covariance[0, 0]) + sigma**2)


# ---------------------------------------------------------------- samples against the truth


class ExactSets(NamedTuple):
    """Independent exact sets of x_t, and the mean distances between two of them."""

    sets: tuple[np.ndarray, ...]
    wasserstein: float
    energy: float


def exact_sets(
    samples: int, schedule: NoiseSchedule | None = None, t: float | None = None
) -> ExactSets:
    """Sets (samples, 2) of PLANE itself, or of x_t on a schedule."""
    sets = [PLANE.sample(samples, seed + 10) for seed in range(2 * _PAIRS)]
    if schedule is not None and t is not None:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        sets = [alpha * x + sigma * random.normal(i, x.shape) for i, x in enumerate(sets)]
    pairs = zip(sets[::2], sets[1::2], strict=True)
    return ExactSets(tuple(sets[::2]), *_means(_distances(x, y) for x, y in pairs))


def truth(name: str, samples: int, exact: ExactSets) -> Truth:
    """Draws samples of PLANE with the evaluations of its setting and compares them with several
    exact sets, `exact_sets(samples)`, since the chance in one of them would count as much."""
    how = setting(name)
    sampler, schedule = SAMPLERS[name](**how.options), make_schedule(how.schedule)
    times = grid_to_data(schedule, max(1, how.evaluations // sampler.evaluations))
    model = _predictor(how, PLANE, schedule, _TOLD)
    start = schedule.prior_std * random.normal(100, (samples, 2))
    if sampler.inverse:
        start = PLANE.sample(samples, 1).astype(np.float32)
    if how.time is not None:
        exact = exact_sets(samples, schedule, how.time)
    drawn = sample(model, x_init=start, sampler=sampler, grid=times)
    if sampler.inverse:
        drawn = consistency_function(PLANE, schedule, _TOLD)(drawn, times[0])
    wasserstein, energy = _means(_distances(drawn, other) for other in exact.sets)
    weights = None
    if how.time is None:
        weights = float(np.abs(measures.modes(drawn, PLANE.means).weights - PLANE.weights).max())
    return Truth(
        samples, model.count, wasserstein / exact.wasserstein, energy / exact.energy, weights
    )


def _means(distances: Iterable[tuple[float, float]]) -> tuple[float, float]:
    wasserstein, energy = zip(*distances, strict=True)
    return float(np.mean(wasserstein)), float(np.mean(energy))


def _distances(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    return (
        measures.sliced_wasserstein(x, y, directions=_DIRECTIONS),
        measures.sliced_energy(x, y, directions=_DIRECTIONS),
    )
