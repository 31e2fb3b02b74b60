"""Time grids: which times a sampler visits, from noise to data.

A spacing is a function (schedule, steps) -> the decreasing times at which the model is evaluated;
`make_grid` appends the time of clean data, where the last step ends. Names and formulas of
leading, trailing and linspace are those of Lin et al. 2024, table 2 (arXiv 2305.08891), as
diffusers computes them. Each step goes to the next entry of the grid, as the papers have it;
diffusers' DDIM goes from t to t - T // steps instead, which leaves the grid under linspace, and
under trailing where steps does not divide T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..checks import check_count, check_number
from ..diffusion.noise_schedule import NoiseSchedule
from ..errors import ConfigError
from . import level_spacing
from .level_spacing import Levels

Spacing = Callable[[NoiseSchedule, int], "Sequence[float] | np.ndarray"]

# The level from which grids in levels go on where the schedule starts from pure noise: EDM's
# sigma_max, beside which data of unit size vanish.
PURE_NOISE = 80.0

# The least level of grids, where the betas of a chain begin with zeros: float64 sees none below.
NO_NOISE = 1e-12

# Levels of Sabour et al. 2024, arXiv 2404.14507, for Stable Diffusion 1.5 and XL, without the 0.
STABLE_DIFFUSION = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
STABLE_DIFFUSION_XL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


# ---------------------------------------------------------------- even in time


def leading(schedule: NoiseSchedule, steps: int, offset: int = 0) -> np.ndarray:
    """Multiples of T // steps, from 0 up, plus `offset` (diffusers' steps_offset); in continuous
    time steps of (t_last - t_first) / steps, from t_first up."""
    length = _length(schedule, steps)
    if length is None:
        stride = (schedule.t_last - schedule.t_first) / steps
        return schedule.t_first + np.arange(steps - 1.0, -1.0, -1.0) * stride
    return np.arange(steps - 1, -1, -1) * (length // steps) + offset


def trailing(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Even steps of T / steps down from T - 1, or of t_last / steps down from t_last: starts at the
    noisiest level.

    By arange, as in diffusers: its rounding decides where a time lies halfway between whole ones.
    """
    length = _length(schedule, steps)
    if length is None:
        return np.arange(steps, 0.0, -1.0) * (schedule.t_last / steps)
    return np.round(np.arange(length, 0.5, -length / steps)).astype(np.int64) - 1


def linspace(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Evenly from t_last (T - 1) to t_first (0), both included.

    A single step starts at t_last; on a chain at 0, as in diffusers.
    """
    length = _length(schedule, steps)
    if length is None:
        return np.linspace(schedule.t_last, schedule.t_first, steps)
    return np.round(np.linspace(0, length - 1, steps))[::-1].astype(np.int64)


def quadratic(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Squares of an even grid up to 0.8 T, for small images (Song et al. 2021, DDIM, appendix D.2);
    in continuous time from t_first to 0.8 t_last.

    Times that coincide after rounding are visited once: a DDIM step from a level to itself changes
    nothing, so the result is that of the published grid with fewer evaluations.
    """
    length = _length(schedule, steps)
    if length is None:
        roots = np.linspace((0.8 * schedule.t_last) ** 0.5, schedule.t_first**0.5, steps)
        return (roots**2).clip(schedule.t_first)
    return np.unique((np.linspace(0, (0.8 * length) ** 0.5, steps) ** 2).astype(np.int64))[::-1]


def lcm(schedule: NoiseSchedule, steps: int, original_inference_steps: int = 50) -> np.ndarray:
    """Every so many of the times k T // original_inference_steps - 1, from T - 1 down.

    Those are the times at which latent consistency models were distilled (Luo et al. 2023, arXiv
    2310.04378); `original_inference_steps` as in diffusers' LCM and TCD.
    """
    length, count = _length(schedule, steps), original_inference_steps
    if length is None:
        raise ConfigError("the grid lcm takes the times of a chain; this schedule is continuous")
    if not steps <= count <= length:
        raise ConfigError(
            f"original_inference_steps = {count}; allowed: steps .. the schedule's timesteps, "
            f"{steps} .. {length}"
        )
    distilled = np.arange(count, 0, -1) * (length // count) - 1
    return distilled[np.floor(np.linspace(0, count, steps, endpoint=False)).astype(np.int64)]


# ---------------------------------------------------------------- even in some measure of noise


def karras(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> np.ndarray:
    """Over the schedule's own levels, even in (sigma / alpha)^(1/rho); see `level_spacing`."""
    return _by_level(schedule, steps, partial(level_spacing.karras, rho=rho))


def exponential(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Over the schedule's own levels, even in log-SNR: also named "log_snr"."""
    return _by_level(schedule, steps, level_spacing.exponential)


def beta(schedule: NoiseSchedule, steps: int, alpha: float = 0.6, beta: float = 0.6) -> np.ndarray:
    """Over the schedule's own levels, at the quantiles of a beta distribution.

    In levels, as diffusers has it; the paper takes quantiles of the timesteps (arXiv 2407.12173).
    """
    return _by_level(schedule, steps, partial(level_spacing.beta, alpha=alpha, beta=beta))


def edm(
    schedule: NoiseSchedule, steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0
) -> np.ndarray:
    """`karras` between the levels of EDM (arXiv 2206.00364, table 1), as far as the schedule has
    them."""
    for name, value in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        check_number(name, value)
    return _by_level(schedule, steps, level_spacing.karras, sigma_min, sigma_max)


def align_your_steps(
    schedule: NoiseSchedule, steps: int, levels: Sequence[float] = STABLE_DIFFUSION
) -> np.ndarray:
    """A list of levels, the last of which stands for the end, stretched to `steps` (Sabour et al.
    2024, arXiv 2404.14507).

    Levels that the schedule does not reach become its own first or last one, which is visited once.
    """
    low, high = _level_range(schedule)
    wanted = level_spacing.interpolated(levels, steps + 1)[:-1].clip(low, high)
    return _times(schedule, wanted[np.append(True, np.diff(wanted) < 0.0)], low, high)


GRIDS: dict[str, Spacing] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "quadratic": quadratic,
    "karras": karras,
    "exponential": exponential,
    "log_snr": exponential,
    "beta": beta,
    "edm": edm,
    "align_your_steps": align_your_steps,
}


def _by_level(
    schedule: NoiseSchedule,
    steps: int,
    spacing: Levels,
    least: float = 0.0,
    most: float = math.inf,
) -> np.ndarray:
    """The times of `steps` levels; from pure noise, where the level is infinite, t_last goes before
    them."""
    low, high = _level_range(schedule)
    bottom, top = max(low, least), min(high, most)
    if not bottom <= top:
        raise ConfigError(f"the schedule's levels sigma / alpha, {low:g} .. {high:g}, lie outside")
    from_noise = schedule.log_snr(schedule.t_last) == -math.inf
    if from_noise and steps == 1:
        return np.array([schedule.t_last])
    times = _times(schedule, spacing(bottom, top, steps - from_noise), low, high)
    return np.append(schedule.t_last, times) if from_noise else times


def _level_range(schedule: NoiseSchedule) -> tuple[float, float]:
    """The least and the largest level; the largest is PURE_NOISE, or below it the last but one of a
    chain, where the schedule has an infinite one."""
    low = max(math.exp(-0.5 * schedule.log_snr(schedule.t_first)), NO_NOISE)
    last = schedule.log_snr(schedule.t_last)
    if last > -math.inf:
        return low, math.exp(-0.5 * last)
    length = getattr(schedule, "num_train_timesteps", None)
    before = math.inf if length is None else math.exp(-0.5 * schedule.log_snr(length - 2))
    return low, min(PURE_NOISE, before)


def _times(schedule: NoiseSchedule, levels: np.ndarray, low: float, high: float) -> np.ndarray:
    """The times of these levels; those of the schedule's own ends are exact."""
    times = np.asarray(schedule.time(-2.0 * np.log(levels.clip(low, high))), np.float64)
    times[levels <= low] = schedule.t_first
    if schedule.log_snr(schedule.t_last) > -math.inf:
        times[levels >= high] = schedule.t_last
    return times


# ---------------------------------------------------------------- the grid of a run


def make_grid(
    schedule: NoiseSchedule,
    steps: int = 50,
    spacing: str | Spacing | None = None,
    grid: Sequence[float] | np.ndarray | None = None,
) -> list[Any]:
    """The times of a run: strictly decreasing, the last one is where it ends.

    spacing: a name in GRIDS or a callable; None is the schedule's usual one: leading for a chain,
    linspace for VP, sub-VP, VE and cosine, karras for EDM, trailing for rectified flow.
    grid: explicit times, taken as they are (so a grid ending at 0 stops at the least noisy level of
    a discrete schedule, and one ending at -1 at clean data); it replaces steps and spacing.
    Whole times of a discrete schedule come out as int, others as float. Raises ConfigError.
    """
    spacing = schedule.usual_spacing if spacing is None else spacing
    if grid is not None:
        times = _array("grid", grid)
        if times.size < 2:
            raise ConfigError(f"grid has {times.size} times; it needs a start and an end")
    else:
        times = np.append(_spaced(schedule, steps, spacing), schedule.t_clean)
    if not (np.diff(times) < 0.0).all():
        i = int(np.argmin(np.diff(times) < 0.0))
        raise ConfigError(
            f"grid must decrease: entry {i} is {times[i]:g}, entry {i + 1} is {times[i + 1]:g}"
        )
    schedule.log_snr(times)  # raises for a time outside the schedule
    whole = isinstance(schedule.t_clean, int) and (times == np.rint(times)).all()
    return [int(t) for t in times] if whole else times.tolist()


def _spaced(schedule: NoiseSchedule, steps: Any, spacing: str | Spacing) -> np.ndarray:
    steps = check_count("steps", steps)
    if isinstance(spacing, str):
        if spacing not in GRIDS:
            raise ConfigError(f"spacing = {spacing!r}; known: {', '.join(GRIDS)}, or a callable")
        spacing = GRIDS[spacing]
    elif not callable(spacing):
        raise ConfigError(f"spacing must be a name or a callable, got {type(spacing).__name__}")
    return _array("spacing", spacing(schedule, steps))


def _array(name: str, times: Any) -> np.ndarray:
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must give numbers: {error}") from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ConfigError(f"{name} must give finite times (n,), got shape {array.shape}: {array}")
    return array


def _length(schedule: NoiseSchedule, steps: int) -> int | None:
    """The number of times of a chain, at least `steps`; None in continuous time."""
    length = getattr(schedule, "num_train_timesteps", None)
    if length is not None and steps > length:
        raise ConfigError(f"steps = {steps} exceeds the schedule's {length} timesteps")
    return length
