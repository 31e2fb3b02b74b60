"""The Gaussian process between any two times: transitions, posteriors, the forward chain.

Written in log-SNR, lambda = log(alpha^2 / sigma^2), the formulas hold for every schedule
(variance preserving or not) and stay exact at both ends, where sigma or alpha is zero
(Kingma et al. 2021, "Variational Diffusion Models", appendix A, arXiv 2107.00630).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..errors import ConfigError
from .noise_schedule import NoiseSchedule, as_float


class Transition(NamedTuple):
    """q(x_t | x_s) = N(scale x_s, variance I) for s < t."""

    scale: float
    variance: float


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(from_x x_t + from_x0 x_0, variance I) for s < t."""

    from_x: float
    from_x0: float
    variance: float


def transition(schedule: NoiseSchedule, s: float, t: float) -> Transition:
    """The noising kernel from time s to a later time t.

    Between neighbours of a discrete schedule this is Ho et al. 2020, eq. 2: sqrt(1 - beta_t) and
    beta_t (arXiv 2006.11239). Raises ConfigError unless s <= t.
    """
    kept = _kept_snr(schedule, s, t)
    return Transition(schedule.alpha(t) / schedule.alpha(s), schedule.sigma(t) ** 2 * (1.0 - kept))


def posterior(schedule: NoiseSchedule, s: float, t: float) -> Posterior:
    """The distribution of x_s given a later x_t and x_0.

    Between neighbours of a discrete schedule this is Ho et al. 2020, eq. 6 and 7. Raises
    ConfigError unless s <= t.
    """
    kept = _kept_snr(schedule, s, t)
    alpha_s, variance_s = schedule.alpha(s), schedule.sigma(s) ** 2
    variance_t = schedule.sigma(t) ** 2
    # where x_t itself is clean, so is x_s, and they are equal
    from_x = schedule.alpha(t) / alpha_s * (variance_s / variance_t if variance_t > 0.0 else 1.0)
    return Posterior(from_x, alpha_s * (1.0 - kept), variance_s * (1.0 - kept))


def _kept_snr(schedule: NoiseSchedule, s: float, t: float) -> float:
    """SNR(t) / SNR(s) = exp(lambda_t - lambda_s), in [0, 1]."""
    if not s <= t:
        raise ConfigError(f"s = {s} must not be later than t = {t}")
    lambda_s, lambda_t = schedule.log_snr(s), schedule.log_snr(t)
    return 1.0 if lambda_s == lambda_t else math.exp(min(lambda_t - lambda_s, 0.0))


def diffuse(
    schedule: NoiseSchedule, x: np.ndarray, s: float, t: float, eps: np.ndarray
) -> np.ndarray:
    """x at time s carried to a later time t with the noise eps: one draw from q(x_t | x_s).

    x and eps of one shape; the result has the dtype of x (float64 stays, else float32).
    """
    x = as_float(x, "x")
    kernel = transition(schedule, s, t)
    eps = np.asarray(eps).astype(x.dtype, copy=False)
    return kernel.scale * x + math.sqrt(kernel.variance) * eps


def forward_chain(
    schedule: NoiseSchedule, x0: np.ndarray, times: Sequence[float], seed: int = 0
) -> Iterator[tuple[Any, np.ndarray]]:
    """The Markov chain of the forward process: yields (t, x_t) for increasing times after x_0.

    The noise of step i is the counter-based stream "sampler" at step i of the seed, so image j of
    x0 (N, ...) goes the same way alone and in any batch.
    """
    x, s = as_float(x0, "x0"), schedule.t_clean
    for step, t in enumerate(times):
        eps = random.normal(seed, x.shape, step=step, stream="sampler", dtype=x.dtype)
        x, s = diffuse(schedule, x, s, t, eps), t
        yield t, x
