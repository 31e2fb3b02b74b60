"""The variance of the reverse steps p(x_s | x_t), s < t: fixed, or learned by the network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..errors import ConfigError, NonFiniteError
from .noise_schedule import NoiseSchedule
from .process import posterior, transition

FIXED = ("fixed_small", "fixed_large")
LEARNED = ("learned", "learned_range")
VARIANCES = (*FIXED, *LEARNED)


def check_variance(kind: Any) -> str:
    """The name itself, or a ConfigError that lists the known ones."""
    if not isinstance(kind, str) or kind not in VARIANCES:
        raise ConfigError(f"variance = {kind!r}; allowed: {', '.join(VARIANCES)}")
    return kind


def reverse_std(
    kind: str, schedule: NoiseSchedule, s: float, t: float, learned: np.ndarray | None
) -> float | np.ndarray:
    """The standard deviation of p(x_s | x_t): a float, or like x_t (N, ...) where it was learned.

    fixed_small: of q(x_s | x_t, x_0); fixed_large: of q(x_t | x_s) (Ho et al. 2020, section 3.2).
    learned: the network gives the variance itself. learned_range: it gives v, and the log-variance
    goes from fixed_small's at v = -1 to fixed_large's at v = 1 (Nichol & Dhariwal 2021, arXiv
    2102.09672, eq. 15, where v is in [0, 1]; the scale is that of their code). learned
    (N, ...): `Prediction.variance`. s is after the clean data, whose fixed_small is 0.
    Raises ConfigError for a learned variance that the network does not give.
    """
    if kind == "fixed_small":
        return math.sqrt(posterior(schedule, s, t).variance)
    if kind == "fixed_large":
        return math.sqrt(transition(schedule, s, t).variance)
    given = given_variance(kind, learned)
    if kind == "learned":
        return np.sqrt(given)
    low = math.log(posterior(schedule, s, t).variance)
    high = math.log(transition(schedule, s, t).variance)
    return np.exp(0.5 * interpolate(given, low, high))


def given_variance(kind: str, learned: Any) -> Any:
    """What the network learned (an array or a Tensor), or an error that says why it cannot be."""
    if learned is None:
        raise ConfigError(
            f"variance = {kind!r}, but the model gives no variance: it must return twice the "
            "channels and the Denoiser be made with learned_variance=True; or use fixed_small"
        )
    values = learned.data if isinstance(learned, Tensor) else learned
    if not np.isfinite(values).all():
        raise NonFiniteError(f"variance = {kind!r}: the model's variance is not finite somewhere")
    if kind == "learned" and (values < 0.0).any():
        raise ConfigError(
            f"variance = 'learned', but the model's variance is {values.min():g} somewhere; "
            "learned takes it as it is, learned_range as a place between two bounds"
        )
    return learned


def interpolate(v: Any, low: Any, high: Any) -> Any:
    """low at v = -1, high at v = 1; v an array or a Tensor."""
    return v * (0.5 * (high - low)) + 0.5 * (high + low)
