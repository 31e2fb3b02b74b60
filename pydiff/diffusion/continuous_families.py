"""The continuous schedules of the field: VP, sub-VP, VE, EDM, rectified flow, cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .continuous import ContinuousSchedule, check_range
from .noise_schedule import number_or_array


@dataclass(frozen=True)
class VP(ContinuousSchedule):
    """Variance preserving SDE: dx = -beta/2 x dt + sqrt(beta) dw, beta linear in t in [0, 1].

    The limit of DDPM's chain (Song et al. 2021, arXiv 2011.13456, eq. 11 and appendix C). With
    B = integral of beta, alpha = exp(-B/2) and sigma^2 = 1 - exp(-B). 0 < beta_min <= beta_max.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_range(self, "beta_min", "beta_max", 1e-6, 1e4)

    def _beta(self, t: Any) -> Any:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    @cached_property
    def _half_slope(self) -> float:
        return 0.5 * (self.beta_max - self.beta_min)

    def _integral(self, t: Any) -> Any:
        return t * (self.beta_min + t * self._half_slope)

    def _alpha(self, m: Any, t: Any) -> Any:
        return m.exp(-0.5 * self._integral(t))

    def _sigma(self, m: Any, t: Any) -> Any:
        return m.sqrt(-m.expm1(-self._integral(t)))

    def _log_snr(self, m: Any, t: Any) -> Any:
        integral = self._integral(t)
        return -integral - m.log(-m.expm1(-integral))

    def _time(self, m: Any, log_snr: Any) -> Any:
        # log(1 + exp(-log_snr)), by the sign of log_snr so that neither overflows
        integral = m.log1p(m.exp(-abs(log_snr))) + 0.5 * (abs(log_snr) - log_snr)
        return self._time_of_integral(m, integral)

    def _time_of_integral(self, m: Any, integral: Any) -> Any:
        growth = 2.0 * (self.beta_max - self.beta_min)
        return 2.0 * integral / (self.beta_min + m.sqrt(self.beta_min**2 + growth * integral))

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return -0.5 * self._beta(t)

    def _diffusion(self, m: Any, t: Any) -> Any:
        return m.sqrt(self._beta(t))


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-VP SDE: the drift of VP, and sigma = 1 - exp(-B) below that of VP.

    Song et al. 2021, arXiv 2011.13456, section 3.4: g^2 = beta (1 - exp(-2 B)).
    """

    def _sigma(self, m: Any, t: Any) -> Any:
        return -m.expm1(-self._integral(t))

    def _log_snr(self, m: Any, t: Any) -> Any:
        integral = self._integral(t)
        return -integral - 2.0 * m.log(-m.expm1(-integral))

    def _time(self, m: Any, log_snr: Any) -> Any:
        # sigma / alpha = 2 sinh(B / 2)
        return self._time_of_integral(m, 2.0 * m.arcsinh(0.5 * m.exp(-0.5 * log_snr)))

    def _diffusion(self, m: Any, t: Any) -> Any:
        return m.sqrt(self._beta(t) * -m.expm1(-2.0 * self._integral(t)))


@dataclass(frozen=True)
class VE(ContinuousSchedule):
    """Variance exploding SDE: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t, t in [0, 1].

    Song et al. 2021, arXiv 2011.13456, eq. 9 and appendix C; the noise levels of NCSN. At t = 0
    there is noise of sigma_min still; the clean data lie at -1. 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    t_clean = -1.0
    t_first = 0.0

    def __post_init__(self) -> None:
        check_range(self, "sigma_min", "sigma_max", 1e-9, 1e9, strict=True)

    @property
    def prior_std(self) -> float:  # type: ignore[override]
        """sigma_max, beside which the data vanish."""
        return self.sigma_max

    def _alpha(self, m: Any, t: Any) -> Any:
        return 0.0 * t + 1.0

    def _sigma(self, m: Any, t: Any) -> Any:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def _log_snr(self, m: Any, t: Any) -> Any:
        return -2.0 * (math.log(self.sigma_min) + t * self._growth())

    def _time(self, m: Any, log_snr: Any) -> Any:
        return (-0.5 * log_snr - math.log(self.sigma_min)) / self._growth()

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return 0.0 * t

    def _diffusion(self, m: Any, t: Any) -> Any:
        return self._sigma(m, t) * math.sqrt(2.0 * self._growth())

    def _growth(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class EDM(ContinuousSchedule):
    """alpha = 1 and sigma = t, t in [0, sigma_max] (Karras et al. 2022, arXiv 2206.00364, table 1).

    The model sees the levels sigma_min .. sigma_max. 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    usual_spacing = "karras"

    def __post_init__(self) -> None:
        check_range(self, "sigma_min", "sigma_max", 1e-9, 1e9, strict=True)

    @property
    def t_first(self) -> float:  # type: ignore[override]
        """sigma_min."""
        return self.sigma_min

    @property
    def t_last(self) -> float:  # type: ignore[override]
        """sigma_max."""
        return self.sigma_max

    @property
    def prior_std(self) -> float:  # type: ignore[override]
        """sigma_max, beside which the data vanish."""
        return self.sigma_max

    def timestep(self, t: Any) -> Any:
        """Even in log sigma, 0 at sigma_min and 1000 at sigma_max."""
        scale = 1000.0 / math.log(self.sigma_max / self.sigma_min)
        return number_or_array(scale * np.log(np.asarray(t, np.float64) / self.sigma_min))

    def _alpha(self, m: Any, t: Any) -> Any:
        return 0.0 * t + 1.0

    def _sigma(self, m: Any, t: Any) -> Any:
        return t

    def _log_snr(self, m: Any, t: Any) -> Any:
        return -2.0 * m.log(t)

    def _time(self, m: Any, log_snr: Any) -> Any:
        return m.exp(-0.5 * log_snr)

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return 0.0 * t

    def _diffusion(self, m: Any, t: Any) -> Any:
        return m.sqrt(2.0 * t)


@dataclass(frozen=True)
class Flow(ContinuousSchedule):
    """Rectified flow: x_t on the line from x_0 to eps, alpha = 1 - u and sigma = u, t in [0, 1].

    u = t for shift = 1 (Liu et al. 2023, arXiv 2209.03003; Lipman et al. 2023, arXiv 2210.02747);
    else u = shift t / (1 + (shift - 1) t), which multiplies sigma / alpha by the shift (Esser et
    al. 2024, Stable Diffusion 3, arXiv 2403.03206, section 5.3.2): a model trained on u is told it
    by `Denoiser(timestep=schedule.sigma)`, on 1000 u by `schedule.timestep`. shift > 0.
    """

    shift: float = 1.0

    usual_spacing = "trailing"

    def __post_init__(self) -> None:
        check_range(self, "shift", "shift", 1e-6, 1e6)

    def timestep(self, t: Any) -> Any:
        """1000 u, as Stable Diffusion 3 and diffusers' FlowMatchEulerDiscreteScheduler tell it."""
        return 1000.0 * self.sigma(t)

    def _slant(self, t: Any) -> Any:
        return 1.0 + (self.shift - 1.0) * t

    def _alpha(self, m: Any, t: Any) -> Any:
        return (1.0 - t) / self._slant(t)

    def _sigma(self, m: Any, t: Any) -> Any:
        return self.shift * t / self._slant(t)

    def _log_snr(self, m: Any, t: Any) -> Any:
        return 2.0 * (m.log(1.0 - t) - m.log(self.shift * t))

    def _time(self, m: Any, log_snr: Any) -> Any:
        return 1.0 / (1.0 + self.shift * m.exp(0.5 * log_snr))

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return m.divide(-self.shift, (1.0 - t) * self._slant(t))

    def _diffusion(self, m: Any, t: Any) -> Any:
        return self.shift / self._slant(t) * m.sqrt(m.divide(2.0 * t, 1.0 - t))


@dataclass(frozen=True)
class CosineLogSNR(ContinuousSchedule):
    """Variance preserving, log-SNR = -2 log tan(a t + b) + shift from its maximum to its minimum.

    The continuous cosine schedule, cut off at both ends (Hoogeboom et al. 2023, "simple diffusion",
    arXiv 2301.11093, section 3.1; log-SNR as the coordinate: Kingma et al. 2021, VDM, arXiv
    2107.00630). shift: 2 log(64 / d) for images of d x d moves the levels of 64 x 64 there. At
    t = 0 there is noise still; the clean data lie at -1. -100 <= log_snr_min < log_snr_max <= 100
    are the ends before the shift.
    """

    log_snr_min: float = -15.0
    log_snr_max: float = 15.0
    shift: float = 0.0

    t_clean = -1.0
    t_first = 0.0

    def __post_init__(self) -> None:
        check_range(self, "log_snr_min", "log_snr_max", -100.0, 100.0, strict=True)
        check_range(self, "shift", "shift", -100.0, 100.0)

    @cached_property
    def _angles(self) -> tuple[float, float, float]:
        """How far the angle is from 0 at t = 0, from pi / 2 at t = 1, and what lies between.

        Each for itself, so that nothing cancels.
        """
        start = math.atan(math.exp(-0.5 * self.log_snr_max))
        end = math.atan(math.exp(0.5 * self.log_snr_min))
        return start, end, math.atan(math.exp(-0.5 * self.log_snr_min)) - start

    @cached_property
    def _scale(self) -> float:
        return math.exp(-0.5 * self.shift)

    def _parts(self, m: Any, t: Any) -> tuple[Any, Any]:
        """alpha and sigma up to a common factor."""
        start, end, span = self._angles
        return m.sin(span * (1.0 - t) + end), self._scale * m.sin(span * t + start)

    def _alpha(self, m: Any, t: Any) -> Any:
        signal, noise = self._parts(m, t)
        return signal / m.hypot(signal, noise)

    def _sigma(self, m: Any, t: Any) -> Any:
        signal, noise = self._parts(m, t)
        return noise / m.hypot(signal, noise)

    def _log_snr(self, m: Any, t: Any) -> Any:
        signal, noise = self._parts(m, t)
        return 2.0 * m.log(signal / noise)

    def _time(self, m: Any, log_snr: Any) -> Any:
        start, _, span = self._angles
        return (m.arctan(m.exp(-0.5 * log_snr) / self._scale) - start) / span

    def _log_alpha_rate(self, m: Any, t: Any) -> Any:
        return -0.5 * self._diffusion(m, t) ** 2

    def _diffusion(self, m: Any, t: Any) -> Any:
        # g^2 = -sigma^2 lambda', and lambda' = -2 span / (sin cos) of the angle
        signal, noise = self._parts(m, t)
        square = 2.0 * self._angles[2] * self._scale * noise / signal
        return m.sqrt(square) / m.hypot(signal, noise)
