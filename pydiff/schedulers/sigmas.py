"""Which noise levels and timesteps diffusers visits: spacing, then other spacing of the levels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..diffusion import DiscreteSchedule
from ..errors import ConfigError
from ..samplers.level_spacing import Levels, beta, exponential, karras
from .options import Options


class Course(NamedTuple):
    """One run: n + 1 decreasing times, the last is where it ends; the timesteps that the model is
    told at the first n; and the standard deviation of the state at the first time."""

    times: np.ndarray
    timesteps: np.ndarray
    scale: float


class Training:
    """The noise levels sigma / alpha of a discrete chain, of time 0 .. T-1."""

    def __init__(self, schedule: DiscreteSchedule) -> None:
        # In the float32 of diffusers: at time 0 its rounding is 1e-4 of the level, which moves
        # levels and the timesteps looked up from them by more than parity allows.
        alphas = np.float32(1.0) - schedule.betas.astype(np.float32)
        alphas_cumprod = np.cumprod(alphas, dtype=np.float64).astype(np.float32)
        if schedule.betas[-1] == 1.0:
            alphas_cumprod[-1] = 2.0**-24  # what diffusers puts for zero terminal SNR
        sigmas = np.sqrt((np.float32(1.0) - alphas_cumprod) / alphas_cumprod)
        self.sigmas = sigmas.astype(np.float64)
        self.log_sigmas = np.log(sigmas).astype(np.float64)
        self.length = len(sigmas)

    def span(self, options: Options) -> tuple[float, float]:
        """The least and the largest level, those of sigma_min and sigma_max in the options too."""
        low, high = (options.get(key) for key in ("sigma_min", "sigma_max"))
        first, last = float(self.sigmas[0]), float(self.sigmas[-1])
        return min(first, low or first), max(last, high or last)

    def sigma(self, timesteps: np.ndarray) -> np.ndarray:
        """The levels at these times; between whole times on a line."""
        return np.interp(timesteps, np.arange(self.length), self.sigmas)

    def timestep(self, sigma: np.ndarray | float) -> np.ndarray:
        """The fractional times of these levels: between whole times on a line in log sigma.

        Some classes cut the result off, so T - 1 must come out where it does in diffusers.
        """
        wanted = np.log(np.maximum(sigma, 1e-10))
        index = np.searchsorted(self.log_sigmas, wanted, side="right") - 1
        index = index.clip(0, self.length - 2)
        low, high = self.log_sigmas[index], self.log_sigmas[index + 1]
        weight = ((low - wanted) / (low - high)).clip(0.0, 1.0)
        return (1.0 - weight) * index + weight * (index + 1)


# ---------------------------------------------------------------- spacing of timesteps


def model_timesteps(options: Options, length: int, steps: int) -> np.ndarray:
    """`steps` timesteps, of which linspace includes both ends and does not round."""
    spacing, offset = options["timestep_spacing"], options["steps_offset"]
    check_steps(steps, length)
    if spacing == "linspace":
        return np.linspace(0, length - 1, steps)[::-1]
    if spacing == "leading":
        return shifted(np.arange(steps - 1.0, -1.0, -1.0) * (length // steps), offset, length)
    return _trailing(length, length / steps)


def interval_timesteps(options: Options, length: int, last: int, steps: int) -> np.ndarray:
    """The upper ends of `steps` intervals below `last` (lambda_min_clipped can lower it)."""
    spacing, offset = options.get("timestep_spacing", "linspace"), options.get("steps_offset", 0)
    check_steps(steps, length if spacing == "trailing" else length - 1)
    if spacing == "linspace":
        return np.linspace(0, last - 1, steps + 1).round()[:0:-1]
    if spacing == "leading":
        return shifted(np.arange(steps, 0.0, -1.0) * (last // (steps + 1)), offset, length)
    return _trailing(last, length / steps)


def _trailing(last: int, stride: float) -> np.ndarray:
    """By arange, whose rounding decides where a time lies halfway between two whole ones."""
    return np.round(np.arange(last, 0.5, -stride)) - 1.0


def shifted(times: np.ndarray, offset: int, length: int) -> np.ndarray:
    """The times plus steps_offset; ConfigError where that is beyond T - 1."""
    most = length - 1 - int(times[0])
    if offset > most:
        raise ConfigError(
            f"steps_offset = {offset} puts the first of {len(times)} timesteps at "
            f"{int(times[0]) + offset}; allowed: at most {most}"
        )
    return times + offset


def check_steps(steps: int, length: int) -> None:
    """ConfigError unless 1 <= steps <= length."""
    if type(steps) is not int or not 1 <= steps <= length:
        raise ConfigError(f"steps = {steps!r}; allowed: an integer, 1 to {length}")


# ---------------------------------------------------------------- spacing of levels


def lu(low: float, high: float, steps: int) -> np.ndarray:
    """Even in lambda = -log sigma (Lu et al. 2022, arXiv 2206.00927); logarithms in float32, as
    those of the table that timesteps are looked up in."""
    top, bottom = (float(np.log(np.float32(level))) for level in (high, low))
    return np.exp(top + np.linspace(0.0, 1.0, steps) * (bottom - top))


_SPACINGS: dict[str, Levels] = {
    "use_karras_sigmas": karras,
    "use_exponential_sigmas": exponential,
    "use_beta_sigmas": beta,
    "use_lu_lambdas": lu,
}


def respacing(options: Options) -> str | None:
    """The option that asks for another spacing of the levels; ConfigError if several do."""
    wanted = [key for key in _SPACINGS if options.get(key)]
    if len(wanted) > 1:
        raise ConfigError(f"{wanted[0]} and {wanted[1]} are both true; allowed: one of them")
    return wanted[0] if wanted else None


def respaced(options: Options, low: float, high: float, steps: int) -> np.ndarray | None:
    """The levels that use_karras_sigmas and the like ask for; None if none does.

    sigma_min and sigma_max of the options go before low and high.
    """
    key = respacing(options)
    if key is None:
        return None
    low, high = options.get("sigma_min") or low, options.get("sigma_max") or high
    return _SPACINGS[key](low, high, steps)


def ended(sigmas: np.ndarray, end: float) -> np.ndarray:
    """The levels with the one where the run ends.

    Where that is the last level again, in diffusers' last step the model is asked but only a
    corrector uses the answer. Times of a grid decrease, so the step gets a width without effect.
    """
    repeated = math.isclose(end, sigmas[-1], rel_tol=1e-6)
    return np.append(sigmas, sigmas[-1] * (1.0 - 1e-6) if repeated else end)


# ---------------------------------------------------------------- rectified flow


def shift(options: Options, mu: float | None) -> float:
    """The shift of `flow_shift`: from mu under use_dynamic_shifting, else the config's own."""
    static = options["flow_shift"] if "flow_shift" in options else options["shift"]
    if mu is None:
        return static
    if not options["use_dynamic_shifting"]:
        raise ConfigError(f"mu = {mu!r}, but use_dynamic_shifting is false: leave mu out")
    if type(mu) not in (int, float) or not math.isfinite(mu):
        raise ConfigError(f"mu = {mu!r}; allowed: a number")
    return math.exp(mu) if options["time_shift_type"] == "exponential" else float(mu)


def needed(options: Options, mu: float | None) -> None:
    """ConfigError where dynamic shifting has nothing to go by."""
    if options["use_dynamic_shifting"] and mu is None:
        raise ConfigError("use_dynamic_shifting is true: pass mu, the shift for that image size")


def flow_shift(sigmas: np.ndarray, factor: float) -> np.ndarray:
    """Levels of rectified flow moved to noise (Esser et al. 2024, arXiv 2403.03206, eq. 23)."""
    return factor * sigmas / (1.0 + (factor - 1.0) * sigmas)


def stretched(sigmas: np.ndarray, terminal: float | None) -> np.ndarray:
    """The levels moved on a line, 1 held, so that the last is `terminal` (LTX-Video)."""
    if not terminal:
        return sigmas
    return 1.0 - (1.0 - sigmas) * ((1.0 - terminal) / (1.0 - sigmas[-1]))
