"""Schedules whose time is the noise level itself, and the denoiser of scaled inputs.

With time sigma, a grid of noise levels is a grid of times: no table stands between.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diffusion import Denoiser, NoiseSchedule, Prediction
from ..diffusion.parameterization import combine, x0_coefficients
from ..errors import ConfigError


@dataclass(frozen=True)
class LevelSchedule(NoiseSchedule):
    """Base: time is a noise level sigma >= 0, clean data at 0; t_first .. t_last are the levels
    that the model was trained on, and others are allowed."""

    t_first: float
    t_last: float

    @property
    def t_clean(self) -> float:  # type: ignore[override]
        """0.0"""
        return 0.0

    def log_snr(self, t: Any) -> Any:
        """2 log(alpha / sigma)."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        if isinstance(sigma, float):
            if sigma == 0.0 or alpha == 0.0:
                return math.inf if sigma == 0.0 else -math.inf
            return 2.0 * math.log(alpha / sigma)
        with np.errstate(divide="ignore"):
            return 2.0 * (np.log(alpha) - np.log(sigma))


@dataclass(frozen=True)
class VarianceExploding(LevelSchedule):
    """x_t = x_0 + t eps, the coordinates of k-diffusion (Karras et al. 2022, arXiv 2206.00364)."""

    def alpha(self, t: Any) -> Any:
        """1."""
        return 0.0 * _level(t) + 1.0

    def sigma(self, t: Any) -> Any:
        """t."""
        return _level(t)

    def time(self, log_snr: Any) -> Any:
        """exp(-log_snr / 2)."""
        return np.exp(-0.5 * np.asarray(log_snr, np.float64))[()]

    def log_alpha_rate(self, t: Any) -> Any:
        """0."""
        return 0.0 * _level(t)


@dataclass(frozen=True)
class VariancePreserving(LevelSchedule):
    """alpha^2 + sigma^2 = 1 at the ratio sigma / alpha = t / data_std.

    For x = y_0 + t eps with data y_0 of that standard deviation, x / hypot(t, data_std) is
    alpha (y_0 / data_std) + sigma eps: the input of a network under EDM preconditioning.
    """

    data_std: float = 1.0

    def alpha(self, t: Any) -> Any:
        """data_std / hypot(t, data_std)."""
        return self.data_std / _hypot(_level(t), self.data_std)

    def sigma(self, t: Any) -> Any:
        """t / hypot(t, data_std)."""
        return _level(t) / _hypot(_level(t), self.data_std)

    def time(self, log_snr: Any) -> Any:
        """data_std exp(-log_snr / 2)."""
        return self.data_std * np.exp(-0.5 * np.asarray(log_snr, np.float64))[()]

    def log_alpha_rate(self, t: Any) -> Any:
        """-t / (t^2 + data_std^2)."""
        return -_level(t) / (_level(t) ** 2 + self.data_std**2)


@dataclass(frozen=True)
class Flow(LevelSchedule):
    """x_t = (1 - t) x_0 + t eps, 0 <= t <= 1 (Liu et al. 2023, arXiv 2209.03003)."""

    def alpha(self, t: Any) -> Any:
        """1 - t."""
        return 1.0 - self.sigma(t)

    def sigma(self, t: Any) -> Any:
        """t."""
        values = _level(t)
        if not np.all(values <= 1.0):
            raise ConfigError(f"t = {t!r:.80}: a level of rectified flow is at most 1")
        return values

    def time(self, log_snr: Any) -> Any:
        """1 / (1 + exp(log_snr / 2))."""
        return (1.0 / (1.0 + np.exp(0.5 * np.asarray(log_snr, np.float64))))[()]

    def log_alpha_rate(self, t: Any) -> Any:
        """-1 / (1 - t)."""
        return -1.0 / self.alpha(t)


@dataclass(frozen=True)
class Angular(LevelSchedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), 0 <= t <= 1 (Crowson 2022, v-diffusion)."""

    def alpha(self, t: Any) -> Any:
        """cos(pi t / 2), 0 at t = 1."""
        return _sine(1.0 - _level(t))

    def sigma(self, t: Any) -> Any:
        """sin(pi t / 2)."""
        return _sine(_level(t))

    def time(self, log_snr: Any) -> Any:
        """The angle of (alpha, sigma), in quarter turns."""
        ratio = np.exp(-0.5 * np.asarray(log_snr, np.float64))
        return (np.arctan(ratio) * (2.0 / math.pi))[()]

    def log_alpha_rate(self, t: Any) -> Any:
        """-pi / 2 tan(pi t / 2)."""
        return -0.5 * math.pi * self.sigma(t) / self.alpha(t)


def _sine(t: Any) -> Any:
    if not np.all((t >= 0.0) & (t <= 1.0)):
        raise ConfigError(f"t = {t!r:.80} is outside the schedule: 0 to 1")
    return np.sin(0.5 * math.pi * t) if not isinstance(t, float) else math.sin(0.5 * math.pi * t)


def _level(t: Any) -> Any:
    """t as a float or a float64 array; ConfigError below 0."""
    values = float(t) if isinstance(t, (int, float)) else np.asarray(t, np.float64)[()]
    if not np.all(values >= 0.0):
        raise ConfigError(f"t = {t!r:.80}: a noise level is a number >= 0")
    return values


def _hypot(a: Any, b: float) -> Any:
    return math.hypot(a, b) if isinstance(a, float) else np.hypot(a, b)


@dataclass(frozen=True)
class ScaledDenoiser:
    """x_0 at x = x_0 + t eps from a model of x / hypot(t, data_std).

    schedule: the coordinates of x; inner: the model's denoiser, over VariancePreserving, whose x_0
    is in units of data_std, but for its clip, which is in those of x.
    """

    schedule: VarianceExploding
    inner: Denoiser
    data_std: float = 1.0

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        """Called by samplers; x (N, ...) float32 or float64."""
        return self._lifted(x, t, self.inner.predict(self._scaled(x, t), t))

    def linearize(
        self, x: np.ndarray, t: float
    ) -> tuple[Prediction, Callable[[np.ndarray], np.ndarray]]:
        """As `Denoiser.linearize`."""
        p, pull = self.inner.linearize(self._scaled(x, t), t)
        scale = self.data_std / math.hypot(t, self.data_std)
        return self._lifted(x, t, p), lambda v: combine((scale,), (pull(v),))

    def _scaled(self, x: np.ndarray, t: float) -> np.ndarray:
        return combine((1.0 / math.hypot(t, self.data_std),), (x,))

    def _lifted(self, x: np.ndarray, t: float, p: Prediction) -> Prediction:
        from_x, from_output = x0_coefficients(self.inner.prediction, p.alpha, p.sigma)
        scale = self.data_std / math.hypot(t, self.data_std)
        coefficients = (scale * from_x, self.data_std * from_output)
        threshold = None if self.inner.clip is None else self.inner.threshold
        levels = (1.0, float(t))
        return Prediction.of_output(x, p.source, coefficients, levels, threshold, p.variance)
