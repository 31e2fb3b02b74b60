"""What the one-step methods share: moves between two noise levels that hold a prediction fixed.

In the ratio sigma / alpha these are k-diffusion's formulas (its "sigma" is the ratio and alpha is
1); written in (alpha, sigma) they also hold where alpha = 0 and the ratio is infinite.
"""

from __future__ import annotations

import math

import numpy as np

from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.prediction import Prediction
from .base import Predictor
from .levels import Level, level, level_at


def implied_noise(p: Prediction) -> np.ndarray:
    """The noise in x if x_0 is what was predicted, thresholded; or the one that p prescribes."""
    return p.noise_for(p.x0) if p.other_eps is None else p.other_eps


def move(p: Prediction, alpha: float, sigma: float, *more: tuple[float, np.ndarray]) -> np.ndarray:
    """alpha x_0 + sigma eps, eps implied by x_0, and the sum of c array over `more`.

    Without more: the prediction p at another level. A step of Euler, or of DDIM.
    """
    if p.other_eps is None and p.thresholded:
        kept = sigma / p.sigma
        return p.mix(alpha - kept * p.alpha, 0.0, (kept, p.x), *more)
    return p.mix(alpha, sigma, *more)


def ancestral(start: Level, end: Level, eta: float) -> tuple[float, float]:
    """(down, up): x' = alpha' x_0 + down eps + up z with down^2 + up^2 = sigma'^2, ' is `end`.

    up is eta times the standard deviation of q(x_end | x_start, x_0), at most sigma'; eps is the
    predicted noise and z fresh. Divided by alpha' these are k-diffusion's sigma_down and sigma_up.
    """
    lost = -math.expm1(min(2.0 * (start.half_log_snr - end.half_log_snr), 0.0))
    up = min(1.0, eta * math.sqrt(lost))
    return end.sigma * math.sqrt(1.0 - up * up), end.sigma * up


def midpoint(schedule: NoiseSchedule, start: Level, end: Level, down: float) -> Level:
    """The level halfway in log(sigma / alpha) from `start` to (alpha of `end`, down), down > 0.

    Where alpha = 0 at the start there is no such level: then halfway in time. Otherwise it is not
    beyond `end` (where it lies if eta = 1), unless the model sees such levels.
    """
    if math.isinf(start.half_log_snr):
        return level(schedule, 0.5 * (start.t + end.t))
    half = 0.5 * (start.half_log_snr + math.log(end.alpha / down))
    if half > end.half_log_snr:
        half = min(half, max(end.half_log_snr, 0.5 * schedule.log_snr(schedule.t_first)))
    return level_at(schedule, half)


def carried(start: Level, end: Level) -> float:
    """The factor of x where only the scale of the signal changes; of the noise where alpha = 0."""
    return end.alpha / start.alpha if start.alpha > 0.0 else end.sigma / start.sigma


def ends(
    schedule: NoiseSchedule, t: float, t_next: float, eta: float
) -> tuple[Level, Level, float, float]:
    """The levels of a step, and its ancestral down and up."""
    start, end = level(schedule, t), level(schedule, t_next)
    return start, end, *ancestral(start, end, eta)


def ask_midway(denoiser: Predictor, p: Prediction, middle: Level) -> Prediction:
    """The prediction at the middle of a step, reached by a step of Euler."""
    return denoiser.predict(move(p, middle.alpha, middle.sigma), middle.t)


def level_before(schedule: NoiseSchedule, t: float) -> Level:
    """The level of t, or where that is clean data the least noisy one that the model sees."""
    end = level(schedule, t)
    return end if end.sigma > 0.0 else level(schedule, schedule.t_first)
