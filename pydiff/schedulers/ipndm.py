"""IPNDMScheduler: improved PNDM on the schedule of v-diffusion."""

from __future__ import annotations

import math

import numpy as np

from .family import Family, Parts, denoiser, sampler
from .levels import Angular
from .options import Option, Options, integer, levels, nullable
from .sigmas import Course, check_steps

_OPTIONS = {
    "num_train_timesteps": Option(1000, integer(1)),
    "trained_betas": Option(None, nullable(levels)),
}


def _build(options: Options, compatible: bool) -> Parts:
    schedule = Angular()

    def course(steps: int, mu: float | None) -> Course:
        check_steps(steps, 1 << 20)
        if options["trained_betas"] is None:
            sigmas = np.sin(np.linspace(1.0, 0.0, steps + 1) * (math.pi / 2)) ** 2
        else:  # the levels of a run themselves, whatever the number of steps
            sigmas = np.array(options["trained_betas"])
        times = np.arcsin(sigmas) * (2.0 / math.pi)
        return Course(times, times[:-1], 1.0)

    as_v = denoiser({"prediction_type": "v_prediction"}, schedule)
    return Parts(schedule, sampler("ipndm", from_nothing=True), course, float, as_v)


FAMILIES = {"IPNDMScheduler": Family(_OPTIONS, _build)}
