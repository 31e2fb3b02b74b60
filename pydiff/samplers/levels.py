"""Noise levels in the coordinates of the solvers' papers."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..diffusion.noise_schedule import NoiseSchedule


class Level(NamedTuple):
    """One time of a schedule: x_t = alpha x_0 + sigma eps.

    half_log_snr: lambda = log(alpha / sigma) of DPM-Solver (arXiv 2206.00927); inf at clean data.
    ratio: sigma / alpha, the "sigma" of EDM and k-diffusion (arXiv 2206.00364); 0 at clean data,
    inf where alpha = 0.
    """

    t: float
    alpha: float
    sigma: float
    half_log_snr: float
    ratio: float


def level(schedule: NoiseSchedule, t: float) -> Level:
    """The level of time t."""
    alpha, sigma, log_snr = schedule.levels(t)
    half = 0.5 * log_snr
    ratio = math.exp(-half) if half > -700.0 else math.inf
    return Level(t, alpha, sigma, half, ratio)


def as_clean(start: Level, end: Level) -> bool:
    """Whether a run at `start` has reached `end`, to rounding: there is no step left to make."""
    return start.sigma <= end.sigma * (1.0 + 1e-9)


def level_at(schedule: NoiseSchedule, half_log_snr: float) -> Level:
    """The level with that lambda, between those of the schedule."""
    return level(schedule, schedule.time(2.0 * half_log_snr))
