"""What schedules in continuous time share.

Each class states alpha, log-SNR and so on once, for numbers and arrays: `m` is a namespace of
functions, of floats or of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..checks import is_number
from ..errors import ConfigError
from .noise_schedule import NoiseSchedule, checked_log_snr, checked_times, number_or_array

Rule = Callable[[Any, Any], Any]


def _log(x: float) -> float:
    return math.log(x) if x > 0.0 else -math.inf


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.0 else math.inf


def _divide(a: float, b: float) -> float:
    return a / b if b != 0.0 else math.copysign(math.inf, a)


# The sampling loop asks for single numbers, for which Python's own functions are fastest.
_NUMBERS = SimpleNamespace(
    log=_log,
    exp=_exp,
    divide=_divide,
    expm1=math.expm1,
    log1p=math.log1p,
    sqrt=math.sqrt,
    sin=math.sin,
    sinh=math.sinh,
    hypot=math.hypot,
    arcsinh=math.asinh,
    arctan=math.atan,
)


class ContinuousSchedule(NoiseSchedule):
    """Base: a frozen dataclass whose methods `_alpha` ... `_time` take (m, values).

    Time lies in [0, t_last]; where t_clean is -1, t = 0 is a noisy level still. `_alpha`, `_sigma`
    and `_log_snr` are not asked at t_clean.
    """

    t_clean = 0.0
    t_first = 1e-3
    t_last = 1.0

    def alpha(self, t: Any) -> Any:
        """Signal scale of a number or an array of times, 1 at `t_clean`."""
        return self._evaluate(self._alpha, t, 1.0)

    def sigma(self, t: Any) -> Any:
        """Noise scale of a number or an array of times, 0 at `t_clean`."""
        return self._evaluate(self._sigma, t, 0.0)

    def log_snr(self, t: Any) -> Any:
        """log(alpha^2 / sigma^2) of a number or an array of times, inf at `t_clean`."""
        return self._evaluate(self._log_snr, t, math.inf)

    def levels(self, t: float) -> tuple[float, float, float]:
        """alpha, sigma and log-SNR of one time."""
        if type(t) is float and 0.0 < t <= self.t_last:  # what steps mostly ask
            return self._alpha(_NUMBERS, t), self._sigma(_NUMBERS, t), self._log_snr(_NUMBERS, t)
        return super().levels(t)

    def timestep(self, t: Any) -> Any:
        """1000 t."""
        return 1000.0 * t

    def log_alpha_rate(self, t: Any) -> Any:
        """f(t) = d log alpha / dt for t in [0, t_last]; -inf where alpha = 0."""
        return self._rate(self._log_alpha_rate, t)

    def diffusion(self, t: Any) -> Any:
        """g(t) for t in [0, t_last]; inf where alpha = 0."""
        return self._rate(self._diffusion, t)

    def time(self, log_snr: Any) -> Any:
        """The time of a number or an array of log-SNR, inf gives `t_clean`."""
        if type(log_snr) is float and log_snr != math.inf:
            value = self._time(_NUMBERS, log_snr)
            if 0.0 <= value <= self.t_last:
                return value
        low = self.log_snr(self.t_last)
        high = math.inf if self.t_clean == 0.0 else self.log_snr(0.0)
        wanted = checked_log_snr(log_snr, low, high)
        with np.errstate(divide="ignore", over="ignore"):
            times = self._time(np, np.where(wanted == np.inf, low, wanted)).clip(0.0, self.t_last)
        return number_or_array(np.where(wanted == np.inf, self.t_clean, times))

    def describe(self) -> str:
        """A few lines for people: the parameters, the range of levels, whether the end is noise."""
        return f"continuous schedule {self!r}\n{super().describe()}"

    def _evaluate(self, rule: Rule, t: Any, clean: float) -> Any:
        if type(t) is float and 0.0 < t <= self.t_last:
            return rule(_NUMBERS, t)
        times = checked_times(t, 0.0, self.t_last, self.t_clean)
        is_clean = times == self.t_clean
        if times.ndim == 0:
            return clean if is_clean else rule(_NUMBERS, float(times))
        with np.errstate(divide="ignore"):
            return np.where(is_clean, clean, rule(np, np.where(is_clean, self.t_first, times)))

    def _rate(self, rule: Rule, t: Any) -> Any:
        if type(t) is float and 0.0 <= t <= self.t_last:
            return rule(_NUMBERS, t)
        times = checked_times(t, 0.0, self.t_last)
        if times.ndim == 0:
            return rule(_NUMBERS, float(times))
        with np.errstate(divide="ignore"):
            return rule(np, times)

    def _alpha(self, m: Any, t: Any) -> Any:
        raise NotImplementedError

    def _sigma(self, m: Any, t: Any) -> Any:
        raise NotImplementedError

    def _log_snr(self, m: Any, t: Any) -> Any:
        raise NotImplementedError

    def _time(self, m: Any, log_snr: Any) -> Any:
        raise NotImplementedError

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        raise NotImplementedError

    def _diffusion(self, m: Any, t: Any) -> Any:
        raise NotImplementedError


def check_range(
    schedule: Any, low_name: str, high_name: str, least: float, most: float, strict: bool = False
) -> None:
    """ConfigError unless least <= low <= high <= most, low < high if strict; makes them floats."""
    for name in (low_name, high_name):
        value = getattr(schedule, name)
        if not is_number(value) or not least <= value <= most:
            raise ConfigError(f"{name} = {value!r}; allowed: {least:g} .. {most:g}")
        object.__setattr__(schedule, name, float(value))
    low, high = getattr(schedule, low_name), getattr(schedule, high_name)
    if low > high or (strict and low == high):
        raise ConfigError(f"{low_name} = {low} must be below {high_name} = {high}")
