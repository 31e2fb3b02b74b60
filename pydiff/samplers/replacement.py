"""Replacement: after each step, what was observed is put in place at the noise level reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..diffusion.conditioning import Observation
from ..diffusion.parameterization import combine
from ..errors import ConfigError
from .base import Noise, Predictor, Sampler, Step
from .registry import make_sampler


@dataclass(frozen=True, eq=False)
class Wrapper(Sampler):
    """Base of the samplers that do something around the steps of another one.

    observation: y = A x_0 + noise. inner: a sampler, or its name. Raises ConfigError.
    """

    observation: Observation
    inner: Any = "ddpm"

    order: ClassVar[int] = 1
    exact_only: ClassVar[bool] = True  # whether noise_std must be 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", make_sampler(self.inner))
        if not isinstance(self.observation, Observation):
            raise ConfigError(
                f"observation must be an Observation, got {type(self.observation).__name__}"
            )
        if self.exact_only and self.observation.noise_std > 0.0:
            raise ConfigError(
                f"{self.name} takes y as exact, but noise_std = {self.observation.noise_std}; use "
                "PiGDM or MomentMatching of pydiff.diffusion.conditioning"
            )
        if self.inner.adaptive:
            raise ConfigError(
                f"{self.name} needs the steps of the grid; {self.inner.name} does not"
            )

    @property
    def evaluations(self) -> int:
        """As many as the inner sampler's."""
        return self.inner.evaluations

    @property
    def stochastic(self) -> bool:
        """Always: the observed part is noised anew."""
        return True

    def start(self, times: Sequence[float]) -> Any:
        """The inner sampler's."""
        return self.inner.start(times)


@dataclass(frozen=True, eq=False)
class Replacement(Wrapper):
    """Each step of the inner sampler, and then x + A^+ (A (alpha y + sigma z) - A x), z ~ N(0, I).

    With a Mask, the observed elements become a draw from q(x_s | y); the last step gives y itself,
    bit for bit. With AveragePool it is ILVR. What is unknown never learns of y but through the
    denoiser, so the samples are biased: the known part is too independent of the rest
    (docs/conditioning.md has the numbers; RePaint narrows the gap).
    """

    name: ClassVar[str] = "replacement"
    paper: ClassVar[str] = (
        "Song et al. 2021, Score-Based Generative Modeling through SDEs, arXiv 2011.13456, "
        "appendix I.2; Choi et al. 2021, ILVR, arXiv 2108.02938, Algorithm 1"
    )

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The inner step, then the observation at t_next."""
        made = self.inner.step(denoiser, x, t, t_next, state, noise)
        return made._replace(x=replaced(self.observation, denoiser, made.x, t_next, noise))


def replaced(
    observation: Observation, denoiser: Predictor, x: np.ndarray, t: float, noise: Noise
) -> np.ndarray:
    """x (N, ...) at time t with what y says about it put in place."""
    alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
    if sigma == 0.0:
        return observation.impose(x)
    operator = observation.operator
    seen = operator.apply(noise())
    y = np.broadcast_to(observation.y.astype(x.dtype, copy=False), seen.shape)
    return operator.impose(x, combine((alpha, sigma), (y, seen)))
