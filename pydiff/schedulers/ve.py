"""ScoreSdeVeScheduler: the variance exploding SDE by predictor and corrector."""

from __future__ import annotations

import numpy as np

from ..diffusion import schedules
from ..samplers.level_spacing import exponential
from .family import Family, Parts, denoiser, sampler
from .options import POSITIVE, Option, Options, integer
from .sigmas import Course, check_steps

_OPTIONS = {
    "num_train_timesteps": Option(2000, integer(1)),
    "snr": Option(0.15, POSITIVE),
    "sigma_min": Option(0.01, POSITIVE),
    "sigma_max": Option(1348.0, POSITIVE),
    "sampling_eps": Option(1e-5, POSITIVE),
    "correct_steps": Option(1, integer(0)),
}


def _build(options: Options, compatible: bool) -> Parts:
    low, high = options["sigma_min"], options["sigma_max"]
    schedule = schedules.edm(low, high)
    chosen = sampler(
        "predictor_corrector",
        predictor="reverse_diffusion",
        corrector="langevin" if options["correct_steps"] else "none",
        per_image=False,  # as score_sde has it
        snr=options["snr"],
        n_corrector_steps=max(options["correct_steps"], 1),
    )

    def course(steps: int, mu: float | None) -> Course:
        check_steps(steps, 1 << 20)
        # the model is told the level at times from 1 to sampling_eps, a little above the level of
        # the state (Song et al. 2021, arXiv 2011.13456, appendix C: t runs to eps, not 0)
        at = np.linspace(1.0, options["sampling_eps"], steps)
        told = low * (high / low) ** at
        return Course(np.append(exponential(low, high, steps), 0.0), told, high)

    as_score = denoiser({"prediction_type": "score"}, schedule)
    return Parts(schedule, chosen, course, float, as_score)


FAMILIES = {"ScoreSdeVeScheduler": Family(_OPTIONS, _build)}
