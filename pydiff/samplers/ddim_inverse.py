"""DDIM run backwards: from data to the noise that DDIM would turn into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_choice, check_count, check_positive
from ..diffusion.parameterization import PREDICTIONS, combine, target
from .base import Noise, Predictor, Sampler, Step


@dataclass(frozen=True)
class DDIMInverse(Sampler):
    """x_t such that a step of DDIM from t gives the x_s at hand, s < t.

    `sample(denoiser, x_init=images, sampler="ddim_inverse", ...)` walks the grid that the same
    arguments give another sampler, but from its end to its start, and returns the noise.

    iterations: the equation x_s = alpha_s x_0(x_t, t) + sigma_s eps(x_t, t) is implicit in x_t; it
    is solved by this many fixed-point iterations from x_t = x_s. 1 is the usual inversion
    (diffusers' DDIMInverse), of first order; with more, DDIM comes back to the images exactly
    (Pan et al. 2023, AIDI, arXiv 2309.04907), where the iteration converges.
    held: what the first iteration takes from the prediction at x_s, told the time t: epsilon,
    sample or v_prediction; further ones take epsilon. diffusers holds what its model predicts.
    sample cannot leave clean data, whose noise it does not tell; that step holds epsilon.
    clip: a bound r on x_0, |x_0| <= r, or None (`clip_sample_range` of diffusers).
    """

    iterations: int = 1
    held: str = "epsilon"
    clip: float | None = None

    name: ClassVar[str] = "ddim_inverse"
    paper: ClassVar[str] = (
        "Song, Meng, Ermon 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502, section "
        "4.3; Mokady et al. 2023, Null-text Inversion, arXiv 2211.09794, section 3.1"
    )
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    inverse: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)
        check_choice("held", self.held, ("epsilon", "sample", "v_prediction"))
        if self.clip is not None:
            check_positive("clip", self.clip)

    @property
    def evaluations(self) -> int:
        """One per iteration."""
        return self.iterations

    def step(
        self, denoiser: Predictor, x: np.ndarray, t: float, t_next: float, state: Any, noise: Noise
    ) -> Step:
        """The fixed-point iterations; t_next is noisier than t."""
        schedule = denoiser.schedule
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        reached, held = x, self.held
        for _ in range(self.iterations):
            held = "epsilon" if sigma == 0.0 and held == "sample" else held
            p = denoiser.predict(reached, t_next)
            out = target(held, p.raw_x0, p.eps, p.alpha, p.sigma)
            rule = PREDICTIONS[held]
            x0, eps = (combine(to(alpha, sigma), (x, out)) for to in (rule.x0, rule.eps))
            if self.clip is not None:
                np.clip(x0, -self.clip, self.clip, out=x0)
            reached, held = combine((p.alpha, p.sigma), (x0, eps)), "epsilon"
        return Step(reached, x0)
