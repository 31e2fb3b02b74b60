"""Solvers of the reverse-time SDE: one step of each, and two of them as samplers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.prediction import Prediction
from ..diffusion.process import posterior, transition
from .base import Noise, Predictor, Sampler, Step
from .moves import move

SONG = "Song et al. 2021, Score-Based Generative Modeling through SDEs, arXiv 2011.13456, "


class Kernel(NamedTuple):
    """x' = x x + x0 x_0 + eps eps + std z: the factors of a step from x_t, z fresh noise."""

    x: float
    x0: float
    eps: float
    std: float

    def draw(self, p: Prediction, noise: Noise) -> np.ndarray:
        """x' from the prediction at x_t."""
        drawn = ((self.std, noise()),) if self.std else ()
        return move(p, self.x0, self.eps, (self.x, p.x), *drawn)


def euler_maruyama(schedule: NoiseSchedule, t: float, t_next: float) -> Kernel:
    """x - (f x - g^2 s) dt + g sqrt(dt) z, f and g at t (appendix E, eq. 46), s = -eps / sigma."""
    dt, g = t - t_next, schedule.diffusion(t)
    pull = g * g * dt / schedule.sigma(t)
    return Kernel(1.0 - schedule.log_alpha_rate(t) * dt, 0.0, -pull, g * math.sqrt(dt))


def reverse_diffusion(schedule: NoiseSchedule, t: float, t_next: float) -> Kernel:
    """The forward transition x_t = c x_s + sqrt(v) z, run backwards: (2 - c) x + v s + sqrt(v) z.

    Appendix E, eq. 46; Algorithms 2 and 3 are its VE and VP cases.
    """
    forward = transition(schedule, t_next, t)
    pull = forward.variance / schedule.sigma(t)
    return Kernel(2.0 - forward.scale, 0.0, -pull, math.sqrt(forward.variance))


def ancestral(schedule: NoiseSchedule, t: float, t_next: float) -> Kernel:
    """q(x_s | x_t, x_0) with the predicted x_0 (appendix F, eq. 47, and DDPM's fixed_small)."""
    back = posterior(schedule, t_next, t)
    return Kernel(back.from_x, back.from_x0, 0.0, math.sqrt(back.variance))


PREDICTORS: dict[str, Callable[[NoiseSchedule, float, float], Kernel]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
}


def predicted(
    name: str, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, noise: Noise
) -> Step:
    """One step of a predictor; x_0 itself onto clean data, where the noise would only stay.

    At alpha = 0 the SDE is singular, and the posterior exact.
    """
    schedule = denoiser.schedule
    p = denoiser.predict(x, t)
    if schedule.sigma(t_next) == 0.0:
        return Step(p.mix(schedule.alpha(t_next), 0.0), p)
    rule = ancestral if p.alpha == 0.0 else PREDICTORS[name]
    return Step(rule(schedule, t, t_next).draw(p, noise), p)


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """x - (f(t) x - g(t)^2 s) dt + g(t) sqrt(dt) z on the SDE dx = f x dt + g dw of the schedule.

    The step onto clean data returns x_0. At alpha = 0, where f is infinite, the first step draws
    from the posterior.
    """

    name: ClassVar[str] = "euler_maruyama"
    paper: ClassVar[str] = SONG + "section 4.1"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """See `euler_maruyama`."""
        return predicted("euler_maruyama", denoiser, x, t, t_next, noise)


@dataclass(frozen=True)
class ReverseDiffusion(Sampler):
    """The forward process between two times of the grid, discretised, and reversed.

    The step onto clean data returns x_0. At alpha = 0 the first step draws from the posterior.
    """

    name: ClassVar[str] = "reverse_diffusion"
    paper: ClassVar[str] = SONG + "appendix E, eq. 46"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """See `reverse_diffusion`."""
        return predicted("reverse_diffusion", denoiser, x, t, t_next, noise)
