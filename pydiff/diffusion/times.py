"""The random times of training: which noise levels a network sees, and how much each then counts.

A time is a quantile of its distribution at a u in (0, 1): random, or evenly spread over a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..errors import ConfigError
from .discrete_schedule import DiscreteSchedule
from .noise_schedule import NoiseSchedule

DISTRIBUTIONS = ("uniform", "log_snr", "logit_normal", "lognormal")
_EDM = -1.2, 1.2


class DrawnTimes(NamedTuple):
    """t (n,), int64 on discrete schedules and float64 on others; weight (n,) float64.

    Sums over the times weighted so have the mean that uniform times would give.
    """

    t: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Times:
    """A distribution of training times over `t_first` .. `t_last`.

    distribution:
      uniform       every time alike (Ho et al. 2020, Algorithm 1).
      log_snr       every log-SNR alike, weighted back to uniform times: with this the likelihood
                    weighting of Song et al. 2021 (arXiv 2101.09258, section 4.4) is least noisy.
      logit_normal  the place between t_first and t_last is 1 / (1 + exp(-z)) (Esser et al. 2024,
                    arXiv 2403.03206, section 3.1), z ~ N(mean, std^2), by default N(0, 1).
      lognormal     log(sigma / alpha) ~ N(mean, std^2), by default N(-1.2, 1.2^2), cut at the ends
                    of the schedule (Karras et al. 2022, arXiv 2206.00364, table 1).
    The last two choose what matters, and are not weighted back.

    low_discrepancy: the u of a batch are a van der Corput sequence with a random shift for each
    step: for 2^k images the points i / 2^k of Kingma et al. 2021 (VDM, arXiv 2107.00630, appendix
    I.1), and no image's time depends on how the batch is split.

    On discrete schedules times are whole. Raises ConfigError for unknown or impossible options.
    """

    distribution: str = "uniform"
    low_discrepancy: bool = False
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ConfigError(
                f"distribution = {self.distribution!r}; allowed: {', '.join(DISTRIBUTIONS)}"
            )
        if self.std is not None and not 0.0 < self.std < math.inf:
            raise ConfigError(f"std = {self.std!r}; allowed: a number > 0")

    def draw(
        self, schedule: NoiseSchedule, seed: int, n: int, step: int = 0, first_image: int = 0
    ) -> DrawnTimes:
        """n times, keyed by (seed, step, image index)."""
        u = uniforms(seed, n, step, first_image, self.low_discrepancy)
        if self.distribution == "log_snr":
            return _even_log_snr(schedule, u)
        if isinstance(schedule, DiscreteSchedule) and self.distribution == "uniform":
            return DrawnTimes(_whole(u, schedule.num_train_timesteps), np.ones(n))
        t = self._quantile(schedule, u)
        if isinstance(schedule, DiscreteSchedule):
            t = np.rint(t).astype(np.int64)
        return DrawnTimes(t, np.ones(n))

    def _quantile(self, schedule: NoiseSchedule, u: np.ndarray) -> np.ndarray:
        first, last = schedule.t_first, schedule.t_last
        if self.distribution == "uniform":
            return first + (last - first) * u
        edm = self.distribution == "lognormal"
        mean = (_EDM[0] if edm else 0.0) if self.mean is None else self.mean
        std = (_EDM[1] if edm else 1.0) if self.std is None else self.std
        normal = NormalDist(mean, std)
        z = np.array([normal.inv_cdf(value) for value in u])
        if not edm:
            return first + (last - first) / (1.0 + np.exp(-z))
        return _time_at(schedule, -2.0 * z)


TIMES = {
    "uniform": Times(),
    "low_discrepancy": Times(low_discrepancy=True),
    "log_snr": Times("log_snr"),
    "logit_normal": Times("logit_normal"),
    "lognormal": Times("lognormal"),
}


def uniforms(
    seed: int, n: int, step: int = 0, first_image: int = 0, low_discrepancy: bool = False
) -> np.ndarray:
    """(n,) float64 in (0, 1) for images first_image .. first_image + n - 1 of a training step."""
    key: dict[str, Any] = {"step": step, "stream": "train_time", "dtype": np.float64}
    if not low_discrepancy:
        return random.uniform(seed, (n, 1), first_image=first_image, **key)[:, 0]
    shift = random.uniform(seed, (1, 1), **key)[0, 0]
    index = np.arange(first_image, first_image + n, dtype=np.uint64)
    bits = (index[:, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    mirrored = bits @ 0.5 ** np.arange(1.0, 33.0)
    return np.clip((mirrored + shift) % 1.0, 2.0**-53, 1.0 - 2.0**-53)


def training_times(
    schedule: DiscreteSchedule, seed: int, n: int, step: int = 0, first_image: int = 0
) -> np.ndarray:
    """(n,) int64 times, uniform over 0 .. T-1, keyed by (seed, step, image index)."""
    return Times().draw(schedule, seed, n, step, first_image).t


class LossHistory:
    """The loss-second-moment resampler of Nichol & Dhariwal 2021 (arXiv 2102.09672, section 3.3).

    Each time of a discrete schedule is drawn in proportion to sqrt(E[L_t^2]) over its last ten
    losses, with a thousandth of all draws uniform; uniformly, until each has ten. It learns by
    `record`, so unlike `Times` it has a state: `arrays`, the losses (T, 10) and counts (T,).
    """

    LENGTH = 10
    UNIFORM = 1e-3

    def __init__(self, schedule: NoiseSchedule) -> None:
        if not isinstance(schedule, DiscreteSchedule):
            raise ConfigError("the loss-second-moment resampler is for discrete schedules")
        length = schedule.num_train_timesteps
        self.arrays = {
            "losses": np.zeros((length, self.LENGTH)),
            "counts": np.zeros(length, np.int64),
        }

    def probabilities(self) -> np.ndarray:
        """(T,) float64 of each time."""
        losses, counts = self.arrays["losses"], self.arrays["counts"]
        length = len(counts)
        size = np.sqrt((losses**2).mean(1))
        if counts.min() < self.LENGTH or not size.sum() > 0.0:
            return np.full(length, 1.0 / length)
        return (1.0 - self.UNIFORM) * size / size.sum() + self.UNIFORM / length

    def draw(
        self, schedule: NoiseSchedule, seed: int, n: int, step: int = 0, first_image: int = 0
    ) -> DrawnTimes:
        """n times, keyed by (seed, step, image index), by the probabilities of now."""
        return _by_probability(self.probabilities(), uniforms(seed, n, step, first_image))

    def record(self, t: np.ndarray, losses: np.ndarray) -> None:
        """Remember the loss (N,) of each image at its time t (N,), unweighted by the draw."""
        for time, loss in zip(t, losses, strict=True):
            place = self.arrays["counts"][time] % self.LENGTH
            self.arrays["losses"][time, place] = loss
            self.arrays["counts"][time] += 1


def _whole(u: np.ndarray, length: int) -> np.ndarray:
    return np.minimum((u * length).astype(np.int64), length - 1)


def _even_log_snr(schedule: NoiseSchedule, u: np.ndarray) -> DrawnTimes:
    first, last = schedule.log_snr(schedule.t_first), schedule.log_snr(schedule.t_last)
    if not math.isfinite(first - last):
        raise ConfigError("log_snr times need a finite log-SNR at both ends of the schedule")
    if isinstance(schedule, DiscreteSchedule):
        levels = schedule.log_snr(np.arange(schedule.num_train_timesteps))
        edges = np.concatenate([levels[:1], 0.5 * (levels[1:] + levels[:-1]), levels[-1:]])
        return _by_probability((edges[:-1] - edges[1:]) / (first - last), u)
    t = _time_at(schedule, last + (first - last) * u)
    per_time = (first - last) / (schedule.t_last - schedule.t_first)
    # -lambda' = g^2 / sigma^2 (Kingma et al. 2021, appendix B)
    return DrawnTimes(t, per_time / np.square(schedule.diffusion(t) / schedule.sigma(t)))


def _by_probability(probabilities: np.ndarray, u: np.ndarray) -> DrawnTimes:
    """Whole times, weighted by 1 / (T p)."""
    total = np.cumsum(probabilities)
    t = np.minimum(np.searchsorted(total, u * total[-1], side="right"), len(total) - 1)
    return DrawnTimes(t.astype(np.int64), 1.0 / (len(total) * probabilities[t]))


def _time_at(schedule: NoiseSchedule, log_snr: np.ndarray) -> np.ndarray:
    """The times of these levels, or the end of the schedule that is nearest."""
    first, last = schedule.log_snr(schedule.t_first), schedule.log_snr(schedule.t_last)
    inside = np.clip(log_snr, last, first)
    t = np.asarray(schedule.time(inside), np.float64)
    return np.where(inside >= first, schedule.t_first, np.where(inside <= last, schedule.t_last, t))
