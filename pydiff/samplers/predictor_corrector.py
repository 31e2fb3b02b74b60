"""Predictor-corrector sampling of the reverse SDE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_choice, check_count, check_flag, check_positive
from ..diffusion.parameterization import combine
from ..diffusion.prediction import Prediction
from ..errors import ConfigError
from .base import Noise, Predictor, Sampler, Step
from .levels import level
from .moves import carried, implied_noise, move
from .sde import PREDICTORS, SONG, predicted


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """n_corrector_steps Langevin updates at t, then a step of the reverse SDE to t'.

    predictor: euler_maruyama, the nearest to the truth on a mixture at 200 evaluations;
    reverse_diffusion, which the paper takes for VE; ancestral; or none.
    corrector: an update is x + a s + sqrt(2 a) z. ald, that of annealed Langevin dynamics:
    a = 2 c (snr sigma)^2, c = 1 - beta_t of the step, which is 1 where alpha is constant;
    langevin: a = 2 c (snr |z| / |s|)^2 (Algorithms 4 and 5), whose step depends on x: good in
    many dimensions, where the norms hardly vary, far off in few; or none.
    snr: in the paper 0.16 for VE on CIFAR-10, 0.01 for VP.
    per_image: langevin takes |z| and |s| of each image, as in the paper; False takes the mean norms
    of the batch, as score_sde and diffusers' ScoreSdeVe, whose images depend on their batch.
    """

    predictor: str = "euler_maruyama"
    corrector: str = "ald"
    snr: float = 0.16
    n_corrector_steps: int = 1
    per_image: bool = True

    name: ClassVar[str] = "predictor_corrector"
    paper: ClassVar[str] = SONG + "Algorithm 1 with Algorithms 2 to 5"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("predictor", self.predictor, (*PREDICTORS, "none"))
        check_choice("corrector", self.corrector, ("langevin", "ald", "none"))
        check_positive("snr", self.snr)
        check_count("n_corrector_steps", self.n_corrector_steps)
        check_flag("per_image", self.per_image)
        if self.predictor == self.corrector == "none":
            raise ConfigError("predictor and corrector are both 'none': nothing would be sampled")

    @property
    def evaluations(self) -> int:
        """One of the predictor, n_corrector_steps of the corrector."""
        corrections = 0 if self.corrector == "none" else self.n_corrector_steps
        return corrections + (self.predictor != "none")

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """Algorithm 1, its corrector first."""
        schedule = denoiser.schedule
        said, kept = None, (schedule.alpha(t) / schedule.alpha(t_next)) ** 2
        if self.corrector != "none" and kept > 0.0:
            for _ in range(self.n_corrector_steps):
                x, said = self._corrected(denoiser, x, t, kept, noise())
        if self.predictor != "none" or schedule.sigma(t_next) == 0.0:
            return predicted(self.predictor, denoiser, x, t, t_next, noise)
        said = denoiser.predict(x, t) if said is None else said
        kept = carried(level(schedule, t), level(schedule, t_next))
        return Step(combine((kept,), (x,)), said)

    def _corrected(
        self, denoiser: Predictor, x: np.ndarray, t: float, kept: float, z: np.ndarray
    ) -> tuple[np.ndarray, Prediction]:
        """An update x + a s + sqrt(2 a) z, s = -eps / sigma, and the prediction before it."""
        p = denoiser.predict(x, t)
        size = self.snr * p.sigma
        step = 2.0 * kept * size * size
        if self.corrector == "ald":
            return move(p, 0.0, -step / p.sigma, (1.0, x), (math.sqrt(2.0 * step), z)), p
        eps = implied_noise(p)
        ratio = self._ratio(z, eps)
        factors = (1.0, -step / p.sigma * ratio**2, math.sqrt(2.0 * step) * ratio)
        return combine(factors, (x, eps, z)), p

    def _ratio(self, z: np.ndarray, eps: np.ndarray) -> Any:
        """|z| / |eps|: (N,), or a float of the whole batch; 0 where eps is 0."""
        rows = [a.reshape(len(a), -1).astype(np.float64) for a in (z, eps)]
        norms = [np.linalg.norm(row, axis=1) for row in rows]
        if not self.per_image:
            norms = [np.mean(norm, keepdims=True) for norm in norms]
        return np.divide(norms[0], norms[1], out=np.zeros_like(norms[0]), where=norms[1] > 0.0)
