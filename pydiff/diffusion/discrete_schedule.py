"""The Markov chain of DDPM as a noise schedule."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError
from .noise_schedule import (
    MAX_TIMESTEPS,
    NoiseSchedule,
    checked_log_snr,
    checked_times,
    number_or_array,
)

_LOG_SNR_LIMIT = 60.0  # exp(-60) is 1e-26: beyond it float64 sees only signal or only noise


@dataclass(frozen=True, eq=False)
class DiscreteSchedule(NoiseSchedule):
    """The variance-preserving Markov chain of DDPM (Ho et al. 2020, arXiv 2006.11239, eq. 2 and 4).

    betas: (T,) variances of the T noising steps, float64, 0 <= beta < 1 (the last may be 1).
    Times 0 .. T-1 index the betas as in diffusers, so x_t has seen betas[0..t]; -1 is the clean
    data. Integer times are exact; fractional times in [0, T-1] interpolate the log-SNR linearly.
    config: how the betas were made, in the keys of a diffusers scheduler_config.json.
    """

    usual_spacing: ClassVar[str] = "leading"

    betas: np.ndarray
    config: Mapping[str, Any] = field(default_factory=dict)
    alphas_cumprod: np.ndarray = field(init=False, repr=False)
    _tables: dict[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        betas = checked_betas(self.betas)
        # log1p and expm1 keep sigma exact where beta is below the rounding of 1 - beta
        with np.errstate(divide="ignore"):
            log_abar = np.cumsum(np.log1p(-betas))
            variance = -np.expm1(log_abar)
            log_snr = log_abar - np.log(variance)
        tables = {  # the entry past the end is also entry -1: the clean data
            "alpha": np.append(np.exp(0.5 * log_abar), 1.0),
            "sigma": np.append(np.sqrt(variance), 0.0),
            "log_snr": np.append(log_snr, np.inf),
        }
        alphas_cumprod = np.exp(log_abar)
        for array in (betas, alphas_cumprod, *tables.values()):
            array.setflags(write=False)
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "alphas_cumprod", alphas_cumprod)
        object.__setattr__(self, "_tables", tables)
        object.__setattr__(self, "config", dict(self.config) or {"trained_betas": betas.tolist()})

    @property
    def num_train_timesteps(self) -> int:
        """T, the length of the chain."""
        return len(self.betas)

    @property
    def t_clean(self) -> int:  # type: ignore[override]
        """-1: the data before any noise."""
        return -1

    @property
    def t_first(self) -> int:  # type: ignore[override]
        """0: after the first noising step."""
        return 0

    @property
    def t_last(self) -> int:  # type: ignore[override]
        """T - 1: after the last noising step."""
        return len(self.betas) - 1

    def alpha(self, t: Any) -> Any:
        """sqrt(alpha_bar_t) for a number or an array of times."""
        return self._evaluate("alpha", t)

    def sigma(self, t: Any) -> Any:
        """sqrt(1 - alpha_bar_t) for a number or an array of times."""
        return self._evaluate("sigma", t)

    def log_snr(self, t: Any) -> Any:
        """log(alpha_bar_t / (1 - alpha_bar_t)); -inf at the end of a zero-terminal-SNR schedule."""
        return self._evaluate("log_snr", t)

    def levels(self, t: float) -> tuple[float, float, float]:
        """alpha, sigma and log-SNR of one time: what steps ask, in one look-up."""
        rows = self._rows
        if type(t) is int and -1 <= t < len(rows) - 1:
            return rows[t]
        if type(t) is float and 0.0 <= t <= len(rows) - 2 and t != int(t):
            level = self._between(t)
            return _FROM_NUMBER["alpha"](level), _FROM_NUMBER["sigma"](level), level
        return super().levels(t)

    def time(self, log_snr: Any) -> Any:
        """The fractional time of a log-SNR between those of T-1 and 0; +inf gives -1."""
        rising = self._rising
        if type(log_snr) is float and rising[0] < -log_snr < rising[-1]:
            after = bisect.bisect_right(rising, -log_snr)
            low, high = rising[after - 1], rising[after]
            return after - 1 + (-log_snr - low) / (high - low)
        table = self._finite_log_snr()
        low, high = self._tables["log_snr"][-2], self._tables["log_snr"][0]
        wanted = checked_log_snr(log_snr, low, high)
        times = np.interp(wanted, table[::-1], np.arange(len(table) - 1.0, -1.0, -1.0))
        return number_or_array(np.where(wanted == np.inf, -1.0, times))

    def log_alpha_rate(self, t: Any) -> Any:
        """f(t) between the times of the chain, in units of one step.

        The log-SNR is linear between neighbours, so there f = sigma^2 lambda' / 2, and alpha, sigma
        and `transition` solve this SDE exactly. At a whole time the rate is that of the step that
        leads to it (at 0: from it), and at the clean data there is none: a ConfigError.
        """
        return self._rates(t)[0]

    def diffusion(self, t: Any) -> Any:
        """g(t) with g^2 = -sigma^2 lambda', in units of one step; see `log_alpha_rate`."""
        return self._rates(t)[1]

    def rescale_zero_terminal_snr(self) -> DiscreteSchedule:
        """The schedule shifted and scaled so that the last step is pure noise (alpha_bar_T = 0).

        Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed", Algorithm
        1 (arXiv 2305.08891). It needs a v_prediction or sample model: at alpha = 0 the noise is
        all there is, and predicting it says nothing about x_0.
        """
        root = self._tables["alpha"][:-1]
        if len(root) < 2 or root[0] == root[-1]:
            raise ConfigError("rescale_zero_terminal_snr needs at least two different noise levels")
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        alphas = np.append(root[0] ** 2, (root[1:] / root[:-1]) ** 2)
        config = {key: value for key, value in self.config.items() if key != "trained_betas"}
        if config:
            config["rescale_betas_zero_snr"] = True
        return DiscreteSchedule(1.0 - alphas, config)

    def describe(self) -> str:
        """A few lines for people: betas, the range of noise levels, whether the end is noise."""
        kind = self.config.get("beta_schedule", "trained betas")
        ends = f"{self.betas[0]:.6g} .. {self.betas[-1]:.6g}"
        return (
            f"discrete schedule ({kind}), T = {self.num_train_timesteps}, beta {ends}, "
            f"alpha_bar_T {self.alphas_cumprod[-1]:.3g}\n{super().describe()}"
        )

    def _evaluate(self, name: str, t: Any) -> Any:
        numbers = self._numbers[name]  # the sampling loop's cases: single numbers
        if type(t) is int and -1 <= t < len(numbers) - 1:
            return numbers[t]
        if type(t) is float and 0.0 <= t <= len(numbers) - 2:
            before = int(t)
            if before == t:
                return numbers[before]
            return _FROM_NUMBER[name](self._between(t))
        table = self._tables[name]
        times = checked_times(t, 0.0, self.t_last, -1.0)
        index = np.rint(times).astype(np.int64)
        exact = index == times
        if exact.all():
            return number_or_array(table[index])
        levels = np.interp(times, np.arange(len(self.betas)), self._finite_log_snr())
        return number_or_array(np.where(exact, table[index], _FROM_LOG_SNR[name](levels)))

    def _rates(self, t: Any) -> tuple[Any, Any]:
        if type(t) in (int, float) and 0 <= t <= self.t_last != 0:
            end, alpha, variance = max(math.ceil(t), 1), self.alpha(t), self.sigma(t) ** 2
            fall = self._rising[end] - self._rising[end - 1]
            if alpha == 0.0:
                return -math.inf, math.inf
            return -0.5 * variance * fall, math.sqrt(variance * fall)
        times = checked_times(t, 0.0, self.t_last)
        if self.t_last == 0:
            raise ConfigError("the SDE of a schedule needs at least two timesteps")
        slopes = np.diff(self._finite_log_snr())
        slope = slopes[np.maximum(np.ceil(times).astype(np.int64) - 1, 0)]
        alpha, variance = np.asarray(self.alpha(times)), np.asarray(self.sigma(times)) ** 2
        rate = np.where(alpha > 0.0, 0.5 * variance * slope, -np.inf)
        diffusion = np.where(alpha > 0.0, np.sqrt(-variance * slope), np.inf)
        return number_or_array(rate), number_or_array(diffusion)

    @cached_property
    def _numbers(self) -> dict[str, list[float]]:
        """The tables as lists: single numbers of Python are read the fastest."""
        return {name: table.tolist() for name, table in self._tables.items()}

    @cached_property
    def _rows(self) -> list[tuple[float, float, float]]:
        return list(
            zip(*(self._numbers[name] for name in ("alpha", "sigma", "log_snr")), strict=True)
        )

    def _between(self, t: float) -> float:
        """The log-SNR of a fractional time."""
        rising, before = self._rising, int(t)
        return -(rising[before] + (t - before) * (rising[before + 1] - rising[before]))

    @cached_property
    def _rising(self) -> list[float]:
        """-log-SNR of times 0 .. T-1, finite."""
        return (-self._finite_log_snr()).tolist()

    def _finite_log_snr(self) -> np.ndarray:
        return np.clip(self._tables["log_snr"][:-1], -_LOG_SNR_LIMIT, _LOG_SNR_LIMIT)


_FROM_LOG_SNR = {
    "alpha": lambda level: np.sqrt(1.0 / (1.0 + np.exp(-level))),
    "sigma": lambda level: np.sqrt(1.0 / (1.0 + np.exp(level))),
    "log_snr": lambda level: level,
}
_FROM_NUMBER: dict[str, Callable[[float], float]] = {
    "alpha": lambda level: math.sqrt(1.0 / (1.0 + math.exp(-level))),
    "sigma": lambda level: math.sqrt(1.0 / (1.0 + math.exp(level))),
    "log_snr": lambda level: level,
}


def checked_betas(betas: Any) -> np.ndarray:
    """A private float64 copy of betas, or a ConfigError that says what is wrong with them."""
    try:
        array = np.array(betas, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"betas must be a sequence of numbers: {error}") from None
    if array.ndim != 1 or not 1 <= array.size <= MAX_TIMESTEPS:
        raise ConfigError(f"betas must be (T,) with 1 <= T <= {MAX_TIMESTEPS}, got {array.shape}")
    bad = ~((array >= 0.0) & (array < 1.0))
    bad[-1] &= array[-1] != 1.0
    if bad.any():
        i = int(np.argmax(bad))
        raise ConfigError(f"betas[{i}] = {array[i]}: a beta must lie in [0, 1) (the last may be 1)")
    if not array.any():
        raise ConfigError("betas are all 0: such a chain adds no noise")
    return array
