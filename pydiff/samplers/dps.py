"""Posterior sampling by a gradient step on the state: DPS, and MCG, which also replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_finite
from ..diffusion.denoiser import Predictor, Pullback
from ..diffusion.guidance import linearize
from ..diffusion.noise_schedule import NoiseSchedule
from ..diffusion.prediction import Prediction
from .base import Noise, Step
from .replacement import Wrapper, replaced


@dataclass(frozen=True, eq=False)
class DPS(Wrapper):
    """Each step of the inner sampler, and then x - scale grad_{x_t} |y - A x0(x_t)|.

    scale: zeta'. As in the authors' code, the gradient is of the norm, not of its square: the
    paper's zeta' / |y - A x0| times the gradient of the square is twice that. The step's length is
    the same at every noise level, so scale must fit the data (authors: 0.3 to 1 at 256 x 256), and
    the result is no posterior: docs/conditioning.md. Needs a denoiser with a derivative.
    """

    scale: float = 1.0

    name: ClassVar[str] = "dps"
    paper: ClassVar[str] = (
        "Chung et al. 2023, Diffusion Posterior Sampling for General Noisy Inverse Problems, "
        "arXiv 2209.14687, Algorithm 1"
    )
    exact_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", check_finite("scale", self.scale))

    @property
    def stochastic(self) -> bool:
        """As the inner sampler."""
        return self.inner.stochastic

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The inner step, with the gradient of its first prediction subtracted."""
        first, pull = linearize(denoiser, x, t)
        first.settled()
        made = self.inner.step(_Known(denoiser, first, t), x, t, t_next, state, noise)
        return made._replace(x=made.x - self._shift(first, pull))

    def _shift(self, first: Prediction, pull: Pullback) -> np.ndarray:
        residual = self.observation.residual(first.x0)
        axes = tuple(range(1, residual.ndim))
        norm = np.sqrt((residual * residual).sum(axis=axes, keepdims=True))
        unit = np.divide(residual, norm, out=np.zeros_like(residual), where=norm > 0.0)
        return -self.scale * pull(self.observation.operator.transpose(unit))


@dataclass(frozen=True, eq=False)
class MCG(DPS):
    """Manifold-constrained gradient: the step of DPS, then that of Replacement.

    Noise-free; with a Mask the last step returns y bit for bit.
    """

    name: ClassVar[str] = "mcg"
    paper: ClassVar[str] = (
        "Chung, Sim, Ryu, Ye 2022, Improving Diffusion Models for Inverse Problems using Manifold "
        "Constraints, arXiv 2206.00941, section 4"
    )
    exact_only: ClassVar[bool] = True

    @property
    def stochastic(self) -> bool:
        """Always: the observed part is noised anew."""
        return True

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The step of DPS, then the observation at t_next."""
        made = super().step(denoiser, x, t, t_next, state, noise)
        return made._replace(x=replaced(self.observation, denoiser, made.x, t_next, noise))


class _Known:
    """A denoiser that was already asked at one x and t."""

    def __init__(self, denoiser: Predictor, known: Prediction, t: float) -> None:
        self._denoiser, self._known, self._t = denoiser, known, t

    @property
    def schedule(self) -> NoiseSchedule:
        return self._denoiser.schedule

    def predict(self, x: np.ndarray, t: float) -> Prediction:
        if x is self._known.x and t == self._t:
            return self._known
        return self._denoiser.predict(x, t)

    def linearize(self, x: np.ndarray, t: float) -> tuple[Prediction, Pullback]:
        return linearize(self._denoiser, x, t)
