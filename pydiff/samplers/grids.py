"""Time grids: which times a sampler visits, from noise to data.

A spacing is a function (schedule, steps) -> the decreasing times at which the model is evaluated;
`make_grid` appends the time of clean data, where the last step ends. Names and formulas of
leading, trailing and linspace are those of Lin et al. 2024, table 2 (arXiv 2305.08891), as
diffusers computes them. Each step goes to the next entry of the grid, as the papers have it;
diffusers' DDIM goes from t to t - T // steps instead, which leaves the grid under linspace, and
under trailing where steps does not divide T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..diffusion.noise_schedule import NoiseSchedule
from ..errors import ConfigError

Spacing = Callable[[NoiseSchedule, int], "Sequence[float] | np.ndarray"]


def leading(schedule: NoiseSchedule, steps: int, offset: int = 0) -> np.ndarray:
    """Multiples of T // steps, from 0 up, plus `offset` (diffusers' steps_offset)."""
    return np.arange(steps - 1, -1, -1) * (_length(schedule, steps) // steps) + offset


def trailing(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Even steps of T / steps down from T - 1: starts at the noisiest level.

    By arange, as in diffusers: its rounding decides where a time lies halfway between whole ones.
    """
    length = _length(schedule, steps)
    return np.round(np.arange(length, 0.5, -length / steps)).astype(np.int64) - 1


def linspace(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Evenly from T - 1 to 0, both included."""
    return np.round(np.linspace(0, _length(schedule, steps) - 1, steps))[::-1].astype(np.int64)


def quadratic(schedule: NoiseSchedule, steps: int) -> np.ndarray:
    """Squares of an even grid up to 0.8 T, for small images (Song et al. 2021, DDIM, appendix D.2).

    Times that coincide after rounding are visited once: a DDIM step from a level to itself changes
    nothing, so the result is that of the published grid with fewer evaluations.
    """
    length = _length(schedule, steps)
    return np.unique((np.linspace(0, (0.8 * length) ** 0.5, steps) ** 2).astype(np.int64))[::-1]


def lcm(schedule: NoiseSchedule, steps: int, original_inference_steps: int = 50) -> np.ndarray:
    """Every so many of the times k T // original_inference_steps - 1, from T - 1 down.

    Those are the times at which latent consistency models were distilled (Luo et al. 2023, arXiv
    2310.04378); `original_inference_steps` as in diffusers' LCM and TCD.
    """
    length, count = _length(schedule, steps), original_inference_steps
    if not steps <= count <= length:
        raise ConfigError(
            f"original_inference_steps = {count}; allowed: steps .. the schedule's timesteps, "
            f"{steps} .. {length}"
        )
    distilled = np.arange(count, 0, -1) * (length // count) - 1
    return distilled[np.floor(np.linspace(0, count, steps, endpoint=False)).astype(np.int64)]


GRIDS: dict[str, Spacing] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "quadratic": quadratic,
}


def make_grid(
    schedule: NoiseSchedule,
    steps: int = 50,
    spacing: str | Spacing = "leading",
    grid: Sequence[float] | np.ndarray | None = None,
) -> list[Any]:
    """The times of a run: strictly decreasing, the last one is where it ends.

    grid: explicit times, taken as they are (so a grid ending at 0 stops at the least noisy level of
    a discrete schedule, and one ending at -1 at clean data); it replaces steps and spacing.
    Whole times of a discrete schedule come out as int, others as float. Raises ConfigError.
    """
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
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ConfigError(f"steps = {steps!r}; allowed: an integer >= 1")
    if isinstance(spacing, str):
        if spacing not in GRIDS:
            raise ConfigError(f"spacing = {spacing!r}; known: {', '.join(GRIDS)}, or a callable")
        spacing = GRIDS[spacing]
    elif not callable(spacing):
        raise ConfigError(f"spacing must be a name or a callable, got {type(spacing).__name__}")
    return _array("spacing", spacing(schedule, int(steps)))


def _array(name: str, times: Any) -> np.ndarray:
    try:
        array = np.asarray(times, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must give numbers: {error}") from None
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ConfigError(f"{name} must give finite times (n,), got shape {array.shape}: {array}")
    return array


def _length(schedule: NoiseSchedule, steps: int) -> int:
    length = getattr(schedule, "num_train_timesteps", None)
    if length is None:
        raise ConfigError("this spacing counts the steps of a discrete schedule; pass grid instead")
    if steps > length:
        raise ConfigError(f"steps = {steps} exceeds the schedule's {length} timesteps")
    return int(length)
