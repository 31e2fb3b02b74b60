"""Noise schedules: alpha(t), sigma(t) and log-SNR of x_t = alpha(t) x_0 + sigma(t) eps."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..backend.spec.checks import are_usual
from ..errors import ConfigError, DtypeError, ShapeError
from .prior import GaussianPrior

MAX_TIMESTEPS = 1_000_000
NOISY_ENOUGH = 1e-2  # above this terminal SNR, x_T is visibly not N(0, I)


class NoiseSchedule:
    """A Gaussian forward process x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

    Time runs from `t_clean` (alpha = 1, sigma = 0: the data) over `t_first`, the least noisy
    level a model sees, up to `t_last`, where sampling starts. Each function of t takes a number
    and returns a float, or an array and returns a float64 array of its shape; times outside the
    schedule are a ConfigError.

    The process is the solution of the SDE dx = f(t) x dt + g(t) dw (Song et al. 2021, arXiv
    2011.13456) with f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2.
    """

    t_clean: float
    t_first: float
    t_last: float
    prior_std: float = 1.0
    usual_spacing: ClassVar[str] = "linspace"  # the grid of a run that asks for none

    def alpha(self, t: Any) -> Any:
        """Signal scale, 1 at `t_clean`."""
        raise NotImplementedError

    def sigma(self, t: Any) -> Any:
        """Noise scale, 0 at `t_clean`."""
        raise NotImplementedError

    def log_snr(self, t: Any) -> Any:
        """lambda(t) = log(alpha^2 / sigma^2), decreasing, +inf at `t_clean`."""
        raise NotImplementedError

    def levels(self, t: float) -> tuple[float, float, float]:
        """alpha, sigma and log-SNR of one time."""
        return self.alpha(t), self.sigma(t), self.log_snr(t)

    def time(self, log_snr: Any) -> Any:
        """The time at which the log-SNR has this value: the inverse of `log_snr`."""
        raise NotImplementedError

    def timestep(self, t: Any) -> Any:
        """What a network trained here is told at time t, a number or an array: about 0 .. 1000, the
        range for which sinusoidal embeddings are made. A chain's own t; see the other schedules.
        """
        return t

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

    def log_alpha_rate(self, t: Any) -> Any:
        """f(t) = d log alpha / dt, the rate of the drift; -inf where alpha = 0."""
        raise NotImplementedError

    def diffusion(self, t: Any) -> Any:
        """g(t), the scale of the noise that the SDE adds; inf where alpha = 0."""
        raise NotImplementedError

    def drift(self, x: np.ndarray, t: Any) -> np.ndarray:
        """f(t) x of the forward SDE, in the dtype of x (N, ...); t a number or (N,).

        ConfigError where alpha = 0: there it is infinite.
        """
        return per_image(self._finite_rates(t)[0], x) * as_float(x, "x")

    def reverse_sde(self, x: np.ndarray, t: Any, score: np.ndarray) -> tuple[np.ndarray, Any]:
        """Drift f x - g^2 score and diffusion g of the SDE that runs from noise to data.

        Song et al. 2021, eq. 6: for steps dt < 0, dx = drift dt + g dw. x and score (N, ...) of
        one shape, score the gradient of log q(x_t); t a number or (N,).
        """
        return self._towards_data(x, t, score, 1.0), self.diffusion(t)

    def probability_flow(self, x: np.ndarray, t: Any, score: np.ndarray) -> np.ndarray:
        """dx/dt = f x - g^2 score / 2, the ODE with the marginals of the SDE (eq. 13)."""
        return self._towards_data(x, t, score, 0.5)

    def marginal(self, x0: np.ndarray, t: Any) -> tuple[np.ndarray, Any]:
        """Mean alpha x_0, like x0 (N, ...), and standard deviation sigma of q(x_t | x_0)."""
        return per_image(self.alpha(t), x0) * as_float(x0, "x0"), self.sigma(t)

    def prior(self) -> GaussianPrior:
        """N(0, prior_std^2 I), what q(x_T) is taken for where a run starts."""
        return GaussianPrior(0.0, std=self.prior_std)

    def matched_prior(
        self, mean: Any = 0.0, std: Any = None, covariance: Any = None, t: float | None = None
    ) -> GaussianPrior:
        """The Gaussian with mean and covariance of q(x_t), for data of these moments.

        The remedy where the end of the schedule is not noise: with data x0 (M, ...),
        `sample(..., x_init=schedule.matched_prior(x0.mean(0), x0.std(0)).sample((16, ...)))`.

        mean: of x_0, a number or an image's shape. std: its standard deviations, a number or an
        image's shape (default 1); or covariance: (D, D) over the D numbers of an image, symmetric,
        positive semi-definite. t: the time of the start, by default `t_last`.
        """
        alpha, sigma = (f(self.t_last if t is None else t) for f in (self.alpha, self.sigma))
        data = GaussianPrior(mean, 1.0 if std is None and covariance is None else std, covariance)
        return data.diffused(alpha, sigma)

    def _towards_data(self, x: np.ndarray, t: Any, score: np.ndarray, share: float) -> np.ndarray:
        x, score = as_float(x, "x"), np.asarray(score)
        if x.shape != score.shape:
            raise ShapeError(f"x has shape {x.shape}, score {score.shape}")
        rate, diffusion = self._finite_rates(t)
        pull = per_image(-share * diffusion**2, x)
        return per_image(rate, x) * x + pull * score.astype(x.dtype, copy=False)

    def _finite_rates(self, t: Any) -> tuple[Any, Any]:
        rate, diffusion = self.log_alpha_rate(t), self.diffusion(t)
        if not np.all(np.isfinite(diffusion)):
            raise ConfigError(f"t = {t!r:.80}: the SDE is infinite where alpha = 0; start earlier")
        return rate, diffusion

    def describe(self) -> str:
        """A few lines for people: the range of noise levels and whether the end is noise."""
        first, last, snr = self.t_first, self.t_last, self.terminal_snr
        biased = "NOT noise: start from .matched_prior(...), not from N(0, I)"
        verdict = "noise" if snr <= NOISY_ENOUGH else biased
        return "\n".join(
            (
                f"t = {first} .. {last}, clean data at {self.t_clean}",
                f"alpha   {self.alpha(first):.6g} .. {self.alpha(last):.6g}",
                f"sigma   {self.sigma(first):.6g} .. {self.sigma(last):.6g}",
                f"log-SNR {self.log_snr(first):.6g} .. {self.log_snr(last):.6g}",
                f"terminal SNR {snr:.3g}: the end is {verdict}",
            )
        )


def as_float(x: Any, name: str) -> np.ndarray:
    """x as a real array: float64 is kept, bool, integers and other floats become float32."""
    if are_usual(x):
        return x
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


def checked_times(t: Any, low: float, high: float, clean: float | None = None) -> np.ndarray:
    """t as a float64 array; ConfigError outside of low .. high, but for the time of clean data."""
    times = np.asarray(t)
    if times.dtype.kind not in "iuf":
        raise ConfigError(f"t must be a number or an array of numbers, got {t!r:.80}")
    times = times.astype(np.float64)
    bad = ~(((times >= low) & (times <= high)) | (times == clean))
    if bad.any():
        worst = times[bad].flat[0] if times.ndim else float(times)
        also = "" if clean is None or clean >= low else f", or {clean:g} for clean data"
        raise ConfigError(f"t = {worst:g} is outside the schedule: {low:g} .. {high:g}{also}")
    return times


def checked_log_snr(log_snr: Any, low: float, high: float) -> np.ndarray:
    """log_snr as a float64 array; ConfigError outside of low .. high, but for inf (clean data)."""
    wanted = np.asarray(log_snr)
    if wanted.dtype.kind not in "iuf":
        raise ConfigError(f"log_snr must be a number or an array of numbers, got {log_snr!r:.80}")
    wanted = wanted.astype(np.float64)
    # what was computed from the ends themselves may lie beyond them by some roundings
    slack = 1e-12 * (1.0 + np.abs(np.where(np.isfinite(wanted), wanted, 0.0)))
    inside = (wanted >= low - slack) & (wanted <= high + slack)
    if not np.all(inside | (wanted == np.inf)):
        raise ConfigError(f"log_snr={log_snr} is outside the schedule: {low:.6g} .. {high:.6g}")
    return wanted


def number_or_array(values: np.ndarray) -> Any:
    """A float of a 0-d array, any other array as it is."""
    return float(values) if values.ndim == 0 else values
