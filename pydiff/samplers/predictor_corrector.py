"""Predictor-corrector sampling of the reverse SDE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..diffusion.parameterization import combine
from ..diffusion.process import transition
from ..errors import ConfigError
from .base import Noise, Predictor, Sampler, Step
from .moves import implied_noise
from .options import check_choice, check_count, check_flag, check_positive
from .sde import PREDICTORS, SONG, predicted


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """n_corrector_steps Langevin updates at t, then a step of the reverse SDE to t'.

    predictor: euler_maruyama, reverse_diffusion, ancestral or none.
    corrector: langevin, whose step a = 2 c (snr |z| / |s|)^2 has a fixed signal-to-noise ratio
    (Algorithm 4 and 5); ald, a = 2 c (snr sigma)^2, that of annealed Langevin dynamics; or none.
    c is 1 - beta_t of the step, which is 1 where alpha is constant. An update is
    x + a s + sqrt(2 a) z.
    snr: 0.16 for VE on CIFAR-10 in the paper, 0.01 for VP.
    per_image: |z| and |s| of each image, as in the paper; False takes the mean norms of the batch,
    as score_sde and diffusers' ScoreSdeVe, whose images depend on the batch they are drawn in.
    """

    predictor: str = "reverse_diffusion"
    corrector: str = "langevin"
    snr: float = 0.16
    n_corrector_steps: int = 1
    per_image: bool = True

    name: ClassVar[str] = "predictor_corrector"
    paper: ClassVar[str] = SONG + "Algorithm 1 with Algorithms 2 to 5"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("predictor", self.predictor, PREDICTORS)
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
        if self.corrector != "none":
            kept = transition(denoiser.schedule, t_next, t).scale ** 2
            for _ in range(self.n_corrector_steps if kept > 0.0 else 0):
                x = self._corrected(denoiser, x, t, kept, noise())
        return predicted(self.predictor, denoiser, x, t, t_next, noise)

    def _corrected(
        self, denoiser: Predictor, x: np.ndarray, t: float, kept: float, z: np.ndarray
    ) -> np.ndarray:
        """An update x + a s + sqrt(2 a) z; s = -eps / sigma."""
        p = denoiser.predict(x, t)
        eps, size = implied_noise(p), self.snr * p.sigma
        if self.corrector == "langevin":
            size = size * self._ratio(z, eps)
        step = 2.0 * kept * size * size
        return combine((1.0, -step / p.sigma, np.sqrt(2.0 * step)), (x, eps, z))

    def _ratio(self, z: np.ndarray, eps: np.ndarray) -> Any:
        """|z| / |eps|: (N,), or a float of the whole batch; 0 where eps is 0."""
        rows = [a.reshape(len(a), -1).astype(np.float64) for a in (z, eps)]
        norms = [np.linalg.norm(row, axis=1) for row in rows]
        if not self.per_image:
            norms = [np.mean(norm, keepdims=True) for norm in norms]
        return np.divide(norms[0], norms[1], out=np.zeros_like(norms[0]), where=norms[1] > 0.0)
