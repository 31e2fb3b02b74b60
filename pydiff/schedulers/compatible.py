"""What diffusers does where it departs from the paper: for `from_config(compatible=True)` only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..diffusion.process import transition
from ..samplers import DDIM, DDPM, PNDM, DDIMInverse, Step
from ..samplers.base import Noise, Predictor


class _Run(NamedTuple):
    steps: int
    end: float


def _stride_away(denoiser: Predictor, t: float, run: _Run) -> float:
    """t - T // steps, which leaves the grid under linspace, and under trailing where steps does
    not divide T; where that is below 0, the end of the grid."""
    length: int = denoiser.schedule.num_train_timesteps  # type: ignore[attr-defined]
    away = t - length // run.steps
    return away if away >= 0 else run.end


@dataclass(frozen=True)
class StridedDDIM(DDIM):
    """DDIM whose steps end at t - T // steps, whatever the next time at which the model is asked
    (diffusers' DDIMScheduler; its issues #7401 and #11347)."""

    def start(self, times: Sequence[float]) -> _Run:
        """The number of steps, and where the run ends."""
        return _Run(len(times) - 1, times[-1])

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """A step to another time than t_next; the next one begins at t_next all the same."""
        away = _stride_away(denoiser, t, state)
        return super().step(denoiser, x, t, away, None, noise)._replace(state=state)


@dataclass(frozen=True)
class StridedPNDM(PNDM):
    """PNDM whose steps end at t - T // steps (diffusers' PNDMScheduler)."""

    def start(self, times: Sequence[float]) -> Any:
        """The run, and the state of PNDM."""
        return _Run(len(times) - 1, times[-1]), super().start(times)

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """A step to another time than t_next."""
        run, inner = state
        made = super().step(denoiser, x, t, _stride_away(denoiser, t, run), inner, noise)
        return made._replace(state=(run, made.state))


@dataclass(frozen=True)
class StridedDDIMInverse(DDIMInverse):
    """DDIMInverse whose steps begin at t_next - T // steps (diffusers' DDIMInverseScheduler)."""

    def start(self, times: Sequence[float]) -> _Run:
        """The number of steps, and where the grid ends: here, where the run begins."""
        return _Run(len(times) - 1, times[0])

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """A step from another time than t."""
        away = _stride_away(denoiser, t_next, state)
        return super().step(denoiser, x, away, t_next, None, noise)._replace(state=state)


@dataclass(frozen=True)
class DDPMWithLastNoise(DDPM):
    """DDPM that adds noise in a last step from t > 0 onto clean data too (DDPMScheduler)."""

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 2, with noise wherever t > 0."""
        result = super().step(denoiser, x, t, t_next, state, noise)
        if denoiser.schedule.sigma(t_next) > 0.0 or t <= 0 or self.variance != "fixed_large":
            return result
        std = math.sqrt(transition(denoiser.schedule, t_next, t).variance)
        return result._replace(x=result.x + result.x.dtype.type(std) * noise())
