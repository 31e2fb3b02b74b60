"""Noise schedules: alpha(t), sigma(t) and log-SNR of x_t = alpha(t) x_0 + sigma(t) eps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConfigError, DtypeError, ShapeError

MAX_TIMESTEPS = 1_000_000
NOISY_ENOUGH = 1e-2  # above this terminal SNR, x_T is visibly not N(0, I)
_LOG_SNR_LIMIT = 60.0  # exp(-60) is 1e-26: beyond it float64 sees only signal or only noise


class NoiseSchedule:
    """A Gaussian forward process x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

    Time runs from `t_clean` (alpha = 1, sigma = 0: the data) over `t_first`, the least noisy
    level a model sees, up to `t_last`, where sampling starts. Each function of t takes a number
    and returns a float, or an array and returns a float64 array of its shape; times outside the
    schedule are a ConfigError.
    """

    t_clean: float
    t_first: float
    t_last: float
    prior_std: float = 1.0

    def alpha(self, t: Any) -> Any:
        """Signal scale, 1 at `t_clean`."""
        raise NotImplementedError

    def sigma(self, t: Any) -> Any:
        """Noise scale, 0 at `t_clean`."""
        raise NotImplementedError

    def log_snr(self, t: Any) -> Any:
        """lambda(t) = log(alpha^2 / sigma^2), decreasing, +inf at `t_clean`."""
        raise NotImplementedError

    def time(self, log_snr: Any) -> Any:
        """The time at which the log-SNR has this value: the inverse of `log_snr`."""
        raise NotImplementedError

    @property
    def terminal_snr(self) -> float:
        """alpha^2 / sigma^2 at `t_last`; sampling from pure noise assumes that it is near 0."""
        return math.exp(min(self.log_snr(self.t_last), 700.0))

    def add_noise(self, x0: np.ndarray, eps: np.ndarray, t: Any) -> np.ndarray:
        """x_t = alpha(t) x_0 + sigma(t) eps, one draw from q(x_t | x_0).

        x0 and eps (N, ...) of one shape; t a number, or (N,) with one time per image. The result
        has the dtype of x0 (float64 stays, anything else becomes float32).
        """
        x0, eps = as_float(x0, "x0"), np.asarray(eps)
        if x0.shape != eps.shape:
            raise ShapeError(f"add_noise: x0 has shape {x0.shape}, eps {eps.shape}")
        eps = eps.astype(x0.dtype, copy=False)
        return per_image(self.alpha(t), x0) * x0 + per_image(self.sigma(t), x0) * eps

    def describe(self) -> str:
        """A few lines for people: the range of noise levels and whether the end is noise."""
        first, last, snr = self.t_first, self.t_last, self.terminal_snr
        verdict = "noise" if snr <= NOISY_ENOUGH else "NOT noise: sampling from N(0, I) is biased"
        return "\n".join(
            (
                f"t = {first} .. {last}, clean data at {self.t_clean}",
                f"alpha   {self.alpha(first):.6g} .. {self.alpha(last):.6g}",
                f"sigma   {self.sigma(first):.6g} .. {self.sigma(last):.6g}",
                f"log-SNR {self.log_snr(first):.6g} .. {self.log_snr(last):.6g}",
                f"terminal SNR {snr:.3g}: the end is {verdict}",
            )
        )


@dataclass(frozen=True, eq=False)
class DiscreteSchedule(NoiseSchedule):
    """The variance-preserving Markov chain of DDPM (Ho et al. 2020, arXiv 2006.11239, eq. 2 and 4).

    betas: (T,) variances of the T noising steps, float64, 0 <= beta < 1 (the last may be 1).
    Times 0 .. T-1 index the betas as in diffusers, so x_t has seen betas[0..t]; -1 is the clean
    data. Integer times are exact; fractional times in [0, T-1] interpolate the log-SNR linearly.
    config: how the betas were made, in the keys of a diffusers scheduler_config.json.
    """

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

    def time(self, log_snr: Any) -> Any:
        """The fractional time of a log-SNR between those of T-1 and 0; +inf gives -1."""
        wanted = np.asarray(log_snr, np.float64)
        table = self._finite_log_snr()
        inside = (wanted >= self._tables["log_snr"][-2]) & (wanted <= self._tables["log_snr"][0])
        if not np.all(inside | (wanted == np.inf)):
            low, high = self._tables["log_snr"][-2], self._tables["log_snr"][0]
            raise ConfigError(f"log_snr={log_snr} is outside the schedule: {low:.6g} .. {high:.6g}")
        times = np.interp(wanted, table[::-1], np.arange(len(table) - 1.0, -1.0, -1.0))
        return _number_or_array(np.where(wanted == np.inf, -1.0, times))

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
        table = self._tables[name]
        if type(t) is int and -1 <= t < len(self.betas):  # the sampling loop's case
            return float(table[t])
        times = _checked_times(t, len(self.betas))
        index = np.rint(times).astype(np.int64)
        exact = index == times
        if exact.all():
            return _number_or_array(table[index])
        levels = np.interp(times, np.arange(len(self.betas)), self._finite_log_snr())
        return _number_or_array(np.where(exact, table[index], _FROM_LOG_SNR[name](levels)))

    def _finite_log_snr(self) -> np.ndarray:
        return np.clip(self._tables["log_snr"][:-1], -_LOG_SNR_LIMIT, _LOG_SNR_LIMIT)


_FROM_LOG_SNR = {
    "alpha": lambda level: np.sqrt(1.0 / (1.0 + np.exp(-level))),
    "sigma": lambda level: np.sqrt(1.0 / (1.0 + np.exp(level))),
    "log_snr": lambda level: level,
}


def as_float(x: Any, name: str) -> np.ndarray:
    """x as a real array: float64 is kept, bool, integers and other floats become float32."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{name} has dtype {array.dtype}; it must be a real number type")
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def per_image(values: Any, x: np.ndarray) -> Any:
    """A coefficient ready to multiply x (N, ...): a float as it is, (N,) as (N, 1, ..., 1)."""
    if isinstance(values, float):
        return values
    if values.ndim != 1 or x.ndim == 0 or len(values) not in (1, x.shape[0]):
        raise ShapeError(
            f"t has shape {values.shape}; for x of shape {x.shape} it must be a number "
            f"or ({x.shape[0] if x.ndim else ''},)"
        )
    return values.reshape((-1,) + (1,) * (x.ndim - 1)).astype(x.dtype)


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


def _checked_times(t: Any, length: int) -> np.ndarray:
    times = np.asarray(t)
    if times.dtype.kind not in "iuf":
        raise ConfigError(f"t must be a number or an array of numbers, got {t!r:.80}")
    times = times.astype(np.float64)
    bad = ~(((times >= 0.0) & (times <= length - 1)) | (times == -1.0))
    if bad.any():
        worst = times[bad].flat[0] if times.ndim else float(times)
        raise ConfigError(
            f"t = {worst:g} is outside the schedule: 0 .. {length - 1}, or -1 for clean data"
        )
    return times


def _number_or_array(values: np.ndarray) -> Any:
    return float(values) if values.ndim == 0 else values
