"""Langevin dynamics: plain at one noise level, annealed over many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..checks import check_count, check_flag, check_positive
from ..diffusion.parameterization import combine
from ..diffusion.prediction import Prediction
from .base import Noise, Predictor, Sampler, Step
from .levels import Level, level
from .moves import carried, move


@dataclass(frozen=True)
class _Dynamics(Sampler):
    """Base of those made of Langevin updates."""

    step_size: float | None = None
    n_steps: int = 1
    denoise: bool = False

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.step_size is not None:
            check_positive("step_size", self.step_size)
        check_count("n_steps", self.n_steps)
        check_flag("denoise", self.denoise)

    @property
    def evaluations(self) -> int:
        """n_steps."""
        return self.n_steps


@dataclass(frozen=True)
class Langevin(_Dynamics):
    """x + a s(x) + sqrt(2 a) z at a fixed time, again and again; s is the score of q(x_t).

    Each step of the run makes n_steps such updates at the time t, whatever the grid says: only its
    length counts. The chain's stationary distribution is that of x_t up to O(a); it crosses from
    mode to mode only if they overlap at that level.
    step_size: a; None is sigma^2 / 10. a < 2 sigma^2 or the chain diverges where data are thin.
    t: None is the least noisy level that the model sees, `schedule.t_first`.
    denoise: the last step returns E[x_0 | x_t] instead of x_t.
    """

    t: float | None = None

    name: ClassVar[str] = "langevin"
    paper: ClassVar[str] = (
        "Song & Ermon 2019, Generative Modeling by Estimating Gradients of the Data Distribution, "
        "arXiv 1907.05600, eq. 4 with epsilon = 2 a"
    )

    def start(self, times: Sequence[float]) -> float:
        """The last time of the grid."""
        return times[-1]

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """n_steps updates, all at one time."""
        schedule = denoiser.schedule
        fixed = schedule.t_first if self.t is None else self.t
        sigma = schedule.sigma(fixed)
        tau = 0.1 if self.step_size is None else self.step_size / sigma**2
        x, said = updates(denoiser, x, fixed, [_plain(tau)] * self.n_steps, noise)
        if t_next == state and self.denoise:
            said = denoiser.predict(x, fixed)
            x = said.x0
        return Step(x, said, state)


@dataclass(frozen=True)
class AnnealedLangevin(_Dynamics):
    """n_steps Langevin updates at each level: x + a_i / 2 s(x), and fresh noise.

    a_i = step_size sigma_i^2 / sigma_L^2, sigma_L that of the last noisy level of the grid. Where
    alpha is not 1, this holds for x / alpha, its noise sigma / alpha, and its score; going to the
    next level keeps x / alpha.
    step_size: epsilon; None is sigma_L^2 / 5, the ratio of NCSN (2e-5 at sigma_L = 0.01).
    n_steps: 1 is enough where the levels are many; NCSN has 100 at each of 10, NCSNv2 5 of 232.
    denoise: the step onto clean data returns E[x_0 | x_t], as in NCSNv2 (Song & Ermon 2020, arXiv
    2006.09011); False keeps the noise of the last level, as in NCSN.
    consistent: the fresh noise makes x as noisy as its level after each update, and the last one at
    a level as noisy as the next: Consistent Annealed Sampling. a_i / 2 is then at least
    sigma_i (sigma_i - sigma_(i+1)): with less, the noise could not fall so far. False adds
    sqrt(a_i) z, NCSN's Algorithm 1: x is always noisier than its level, and it takes thousands of
    updates to get the weights of modes right, against hundreds.
    """

    denoise: bool = True
    consistent: bool = True

    name: ClassVar[str] = "annealed_langevin"
    paper: ClassVar[str] = (
        "Song & Ermon 2019, Generative Modeling by Estimating Gradients of the Data Distribution, "
        "arXiv 1907.05600, Algorithm 1; its noise: Jolicoeur-Martineau et al. 2021, Adversarial "
        "Score Matching and Improved Sampling for Image Generation, arXiv 2009.05475, Algorithm 2"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("consistent", self.consistent)

    def start(self, times: Sequence[float]) -> tuple[float, float]:
        """The last two times of the grid."""
        return times[-2], times[-1]

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """All updates at the level of t, then on to that of t_next."""
        schedule = denoiser.schedule
        here, end = level(schedule, t), level(schedule, t_next)
        last = level(schedule, state[0] if schedule.sigma(state[1]) == 0.0 else state[1])
        # a_i in x itself, over sigma_i^2: alpha_i and the ratio cancel, so alpha_i = 0 is no matter
        tau = 0.1 if self.step_size is None else 0.5 * self.step_size / last.ratio**2
        x, said = updates(denoiser, x, t, self._factors(tau, here, end), noise)
        if end.sigma == 0.0 and self.denoise:
            said = denoiser.predict(x, t)
            return Step(said.mix(end.alpha, 0.0), said, state)
        return Step(combine((carried(here, end),), (x,)), said, state)

    def _factors(self, tau: float, here: Level, end: Level) -> list[Factors]:
        if not self.consistent:
            return [_plain(tau)] * self.n_steps
        falls = here.alpha > 0.0 and end.sigma > 0.0
        kept = end.ratio / here.ratio if falls else 1.0
        return [_to_level(tau, 1.0)] * (self.n_steps - 1) + [_to_level(tau, kept)]


class Factors(NamedTuple):
    """An update x - pull sigma eps + fresh sigma z."""

    pull: float
    fresh: float


def _plain(tau: float) -> Factors:
    """Langevin's, a = tau sigma^2."""
    return Factors(tau, math.sqrt(2.0 * tau))


def _to_level(tau: float, ratio: float) -> Factors:
    """A pull of tau leaves (1 - tau) sigma of the noise; fresh one makes that ratio sigma."""
    left = min(max(1.0 - tau, -ratio), ratio)
    return Factors(1.0 - left, math.sqrt(ratio * ratio - left * left))


def updates(
    denoiser: Predictor, x: np.ndarray, t: float, factors: Sequence[Factors], noise: Noise
) -> tuple[np.ndarray, Prediction]:
    """x after these updates, and what was predicted before the first of them."""
    first = None
    for pull, fresh in factors:
        p = denoiser.predict(x, t)
        first = p if first is None else first
        x = move(p, 0.0, -pull * p.sigma, (1.0, x), (fresh * p.sigma, noise()))
    assert first is not None
    return x, first
