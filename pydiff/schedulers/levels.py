"""Schedules whose time is the noise level itself, and the denoiser of scaled inputs.

With time sigma, a grid of noise levels is a grid of times: no table stands between. In the
coordinates of k-diffusion that is `schedules.edm`, of rectified flow `schedules.flow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diffusion import Denoiser, NoiseSchedule, Prediction
from ..diffusion.continuous import ContinuousSchedule
from ..diffusion.parameterization import combine, x0_coefficients


def c_noise(sigma: Any) -> Any:
    """What networks under EDM preconditioning are told of sigma, a number or an array (arXiv
    2206.00364, table 1)."""
    return 0.25 * np.log(sigma)


@dataclass(frozen=True)
class VariancePreserving(ContinuousSchedule):
    """alpha^2 + sigma^2 = 1 at the ratio sigma / alpha = t / data_std, t in [0, sigma_max].

    For x = y_0 + t eps with data y_0 of that standard deviation, x / hypot(t, data_std) is
    alpha (y_0 / data_std) + sigma eps: the input of a network under EDM preconditioning.
    """

    sigma_min: float
    sigma_max: float
    data_std: float = 1.0

    @property
    def t_first(self) -> float:  # type: ignore[override]
        """sigma_min."""
        return self.sigma_min

    @property
    def t_last(self) -> float:  # type: ignore[override]
        """sigma_max."""
        return self.sigma_max

    def _alpha(self, m: Any, t: Any) -> Any:
        return self.data_std / m.hypot(t, self.data_std)

    def _sigma(self, m: Any, t: Any) -> Any:
        return t / m.hypot(t, self.data_std)

    def _log_snr(self, m: Any, t: Any) -> Any:
        return 2.0 * (math.log(self.data_std) - m.log(t))

    def _time(self, m: Any, log_snr: Any) -> Any:
        return self.data_std * m.exp(-0.5 * log_snr)

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return -t / (t * t + self.data_std**2)

    def _diffusion(self, m: Any, t: Any) -> Any:
        return m.sqrt(2.0 * t) / m.hypot(t, self.data_std)


@dataclass(frozen=True)
class Angular(ContinuousSchedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), t in [0, 1] (Crowson 2022, v-diffusion)."""

    def _alpha(self, m: Any, t: Any) -> Any:
        return m.sin(0.5 * math.pi * (1.0 - t))

    def _sigma(self, m: Any, t: Any) -> Any:
        return m.sin(0.5 * math.pi * t)

    def _log_snr(self, m: Any, t: Any) -> Any:
        return 2.0 * (m.log(self._alpha(m, t)) - m.log(self._sigma(m, t)))

    def _time(self, m: Any, log_snr: Any) -> Any:
        return m.arctan(m.exp(-0.5 * log_snr)) * (2.0 / math.pi)

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return -0.5 * math.pi * m.divide(self._sigma(m, t), self._alpha(m, t))

    def _diffusion(self, m: Any, t: Any) -> Any:
        return m.sqrt(math.pi * m.divide(self._sigma(m, t), self._alpha(m, t)))


@dataclass(frozen=True)
class ScaledDenoiser:
    """x_0 at x = x_0 + t eps from a model of x / hypot(t, data_std).

    schedule: the coordinates of x; inner: the model's denoiser, over VariancePreserving, whose x_0
    is in units of data_std, but for its clip, which is in those of x.
    """

    schedule: NoiseSchedule
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
