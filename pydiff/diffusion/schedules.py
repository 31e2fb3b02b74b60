"""Constructors of noise schedules: the named beta schedules of the field, and continuous ones.

Each warns where the end of its schedule is not noise: sampling starts from N(0, I), or
N(0, sigma_max^2 I), which is wrong when the terminal SNR is well above zero.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..checks import check_count, is_number
from ..errors import ConfigError
from .continuous_families import EDM, VE, VP, CosineLogSNR, Flow, SubVP
from .discrete_schedule import DiscreteSchedule
from .noise_schedule import (
    MAX_TIMESTEPS,
    NOISY_ENOUGH,
    NoiseSchedule,
)
from .schedule_picture import save_picture

__all__ = [
    "EDM",
    "SCHEDULES",
    "VE",
    "VP",
    "CosineLogSNR",
    "DiscreteSchedule",
    "Flow",
    "NoiseSchedule",
    "SubVP",
    "cosine",
    "cosine_logsnr",
    "edm",
    "exp",
    "flow",
    "from_betas",
    "from_config",
    "geometric",
    "laplace",
    "linear",
    "save_picture",
    "scaled_linear",
    "sigmoid",
    "sub_vp",
    "ve",
    "vp",
]

S = TypeVar("S", bound=NoiseSchedule)


def linear(
    num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> DiscreteSchedule:
    """betas evenly spaced (Ho et al. 2020, arXiv 2006.11239, section 4)."""
    start, end = _beta_range(beta_start, beta_end)
    betas = np.linspace(start, end, _length(num_train_timesteps))
    return _named("linear", betas, beta_start=start, beta_end=end)


def scaled_linear(
    num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> DiscreteSchedule:
    """Square roots of the betas evenly spaced (Rombach et al. 2022, arXiv 2112.10752)."""
    start, end = _beta_range(beta_start, beta_end)
    betas = np.linspace(start**0.5, end**0.5, _length(num_train_timesteps)) ** 2
    return _named("scaled_linear", betas, beta_start=start, beta_end=end)


def cosine(
    num_train_timesteps: int = 1000, s: float = 0.008, max_beta: float = 0.999
) -> DiscreteSchedule:
    """alpha_bar a squared cosine, `squaredcos_cap_v2` (Nichol & Dhariwal 2021, eq. 17, 2102.09672).

    s > 0 keeps the first steps from being too small; betas are capped at max_beta <= 1.
    """
    length = _length(num_train_timesteps)
    s, max_beta = _number("s", s, 0.0, 1.0), _number("max_beta", max_beta, 0.0, 1.0, closed=True)
    alpha_bar = np.cos((np.arange(length + 1) / length + s) / (1.0 + s) * (math.pi / 2)) ** 2
    betas = np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], max_beta)
    if (s, max_beta) != (0.008, 0.999):  # scheduler configs know these two values only
        return _warned(DiscreteSchedule(betas), stacklevel=3)
    return _named("squaredcos_cap_v2", betas)


def sigmoid(
    num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
) -> DiscreteSchedule:
    """betas along a logistic curve over [-6, 6] (Xu et al. 2022, GeoDiff, arXiv 2203.02923)."""
    start, end = _beta_range(beta_start, beta_end)
    curve = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, _length(num_train_timesteps))))
    return _named("sigmoid", curve * (end - start) + start, beta_start=start, beta_end=end)


def laplace(num_train_timesteps: int = 1000) -> DiscreteSchedule:
    """Log-SNR with the quantiles of a Laplace distribution (Hang et al. 2024, arXiv 2407.03297).

    As diffusers has it, for the models that were trained so: its alpha_bar is the square root of
    the sigmoid, which ends at a terminal SNR of 0.03, and this warns.
    """
    t = np.arange(_length(num_train_timesteps) + 1) / num_train_timesteps
    centred = t - 0.5
    log_snr = 0.5 * np.copysign(1.0, centred) * np.log(1.0 - 2.0 * np.abs(centred) + 1e-6)
    alpha_bar = np.sqrt(1.0 / (1.0 + np.exp(-log_snr)))
    return _named("laplace", np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


def exp(num_train_timesteps: int = 1000) -> DiscreteSchedule:
    """alpha_bar = exp(-12 t / T): all betas are the same."""
    length = _length(num_train_timesteps)
    return _named("exp", np.full(length, min(-math.expm1(-12.0 / length), 0.999)))


def geometric(num_train_timesteps: int = 1000, b: float = 0.02) -> DiscreteSchedule:
    """beta_t = b (1-b)^(T-1-t), 0 < b < 1.

    The betas sum to at most 1, so alpha_bar_T stays near exp(-1) for small b and the chain never
    reaches noise (terminal SNR 0.58 at b = 0.02): it warns. Rescale it to zero terminal SNR, or
    start from draws of `matched_prior`.
    """
    length, b = _length(num_train_timesteps), _number("b", b, 0.0, 1.0)
    betas = b * (1.0 - b) ** np.arange(length - 1.0, -1.0, -1.0)
    return _warned(DiscreteSchedule(betas), stacklevel=3)


def from_betas(betas: Any) -> DiscreteSchedule:
    """A schedule from T variances, 0 <= beta < 1 (the last may be 1)."""
    return _warned(DiscreteSchedule(betas), stacklevel=3)


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> VP:
    """The variance preserving SDE in continuous time, the limit of `linear`; see `VP`."""
    return _warned(VP(beta_min, beta_max), stacklevel=3)


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> SubVP:
    """The sub-VP SDE, with less noise than `vp`; see `SubVP`."""
    return _warned(SubVP(beta_min, beta_max), stacklevel=3)


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> VE:
    """The variance exploding SDE, noise levels in geometric progression; see `VE`."""
    return _warned(VE(sigma_min, sigma_max), stacklevel=3)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0) -> EDM:
    """alpha = 1, sigma = t; see `EDM`."""
    return _warned(EDM(sigma_min, sigma_max), stacklevel=3)


def flow(shift: float = 1.0) -> Flow:
    """Rectified flow, the straight line between data and noise; see `Flow`."""
    return Flow(shift)


def cosine_logsnr(
    log_snr_min: float = -15.0, log_snr_max: float = 15.0, shift: float = 0.0
) -> CosineLogSNR:
    """The cosine schedule in continuous time, stated by its log-SNR; see `CosineLogSNR`."""
    return _warned(CosineLogSNR(log_snr_min, log_snr_max, shift), stacklevel=3)


SCHEDULES: dict[str, Callable[..., DiscreteSchedule]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "squaredcos_cap_v2": cosine,
    "sigmoid": sigmoid,
    "laplace": laplace,
    "exp": exp,
}
_OF_LENGTH_ALONE = ("squaredcos_cap_v2", "laplace", "exp")


def from_config(config: Mapping[str, Any]) -> DiscreteSchedule:
    """The schedule of a diffusers scheduler_config.json; its other keys are not looked at.

    Keys: num_train_timesteps (1000), beta_schedule ("linear"), beta_start (1e-4), beta_end (0.02),
    trained_betas (overrides them), rescale_betas_zero_snr. `DiscreteSchedule.config` is the way
    back.
    """
    if config.get("trained_betas") is not None:
        schedule = from_betas(config["trained_betas"])
    else:
        schedule = _from_name(config)
    rescaled = config.get("rescale_betas_zero_snr", False)
    return schedule.rescale_zero_terminal_snr() if rescaled else schedule


def _from_name(config: Mapping[str, Any]) -> DiscreteSchedule:
    name = config.get("beta_schedule", "linear")
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ConfigError(f"beta_schedule = {name!r}; known: {', '.join(SCHEDULES)}")
    length = config.get("num_train_timesteps", 1000)
    if name in _OF_LENGTH_ALONE:
        return SCHEDULES[name](length)
    return SCHEDULES[name](length, config.get("beta_start", 1e-4), config.get("beta_end", 0.02))


def _named(name: str, betas: np.ndarray, **parameters: float) -> DiscreteSchedule:
    config = {"num_train_timesteps": len(betas), "beta_schedule": name, **parameters}
    return _warned(DiscreteSchedule(betas, config), stacklevel=4)


def _warned(schedule: S, stacklevel: int) -> S:
    if schedule.terminal_snr > NOISY_ENOUGH:
        warnings.warn(
            f"terminal SNR {schedule.terminal_snr:.3g} (alpha_T "
            f"{schedule.alpha(schedule.t_last):.3g}): x_T is not noise, so sampling from it is "
            "biased; start from the distribution that x_T has, x_init = schedule.matched_prior("
            "x0.mean(0), x0.std(0)).sample(shape) with the moments of the data x0, or if the "
            "schedule is discrete and the model predicts v or the sample, use "
            ".rescale_zero_terminal_snr()",
            stacklevel=stacklevel,
        )
    return schedule


def _length(value: Any) -> int:
    return check_count("num_train_timesteps", value, 1, MAX_TIMESTEPS)


def _beta_range(start: Any, end: Any) -> tuple[float, float]:
    start, end = _number("beta_start", start, 0.0, 1.0), _number("beta_end", end, 0.0, 1.0)
    if start > end:
        raise ConfigError(f"beta_start = {start} exceeds beta_end = {end}")
    return start, end


def _number(name: str, value: Any, low: float, high: float, closed: bool = False) -> float:
    if not is_number(value) or not (low < value < high or (closed and value == high)):
        raise ConfigError(f"{name} = {value!r}; allowed: {low:g} < {name} <{'=' * closed} {high:g}")
    return float(value)
