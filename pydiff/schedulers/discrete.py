"""The schedulers on the training chain's own times: DDPM, DDIM, DDIMInverse, PNDM, LCM, TCD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..diffusion import DiscreteSchedule
from ..samplers import DDIM, DDPM, LCM, PNDM, TCD, DDIMInverse, Sampler, grids
from .compatible import DDPMWithLastNoise, StridedDDIM, StridedDDIMInverse, StridedPNDM
from .family import Family, Parts, denoiser, training_schedule
from .options import (
    FALSE,
    THRESHOLDING,
    TRUE,
    ZERO_SNR,
    Option,
    Options,
    betas,
    choice,
    clipping,
    integer,
    number,
    predictions,
    spacing,
)
from .sigmas import Course, check_steps, shifted

_PREDICTIONS = predictions("epsilon", "sample", "v_prediction")
# the same numbers, held as logarithms on the way; diffusers takes a square root of fixed_large_log
_VARIANCES = {"fixed_small_log": "fixed_small", "fixed_large_log": "fixed_large"}
_JUST_ABOVE_0 = 1e-6

_DDPM = {
    **betas(),
    "variance_type": Option(
        "fixed_small",
        choice(
            "fixed_small",
            "fixed_large",
            "learned",
            "learned_range",
            "fixed_small_log",
            "fixed_large_log",
        ),
    ),
    **clipping(True),
    **_PREDICTIONS,
    **THRESHOLDING,
    **spacing("leading"),
    **ZERO_SNR,
}
_DDIM = {
    **betas(),
    **clipping(True),
    "set_alpha_to_one": TRUE,
    **_PREDICTIONS,
    **THRESHOLDING,
    **spacing("leading"),
    **ZERO_SNR,
}
_INVERSE = {
    **betas(),
    **clipping(True),
    "set_alpha_to_one": TRUE,
    **_PREDICTIONS,
    **spacing("leading", "leading", "trailing"),
    **ZERO_SNR,
}
_PNDM = {
    **betas(),
    "skip_prk_steps": FALSE,
    "set_alpha_to_one": FALSE,
    **predictions("epsilon", "v_prediction"),
    **spacing("leading"),
}
_CONSISTENCY = {
    **_DDIM,
    **betas(0.00085, 0.012, "scaled_linear"),
    **clipping(False),
    "original_inference_steps": Option(50, integer(1)),
    "timestep_scaling": Option(10.0, number(0.0)),
}


def _family(
    options: dict[str, Option],
    choose: Callable[[Options, bool], Sampler],
    end: int | None = None,
    clips: bool = True,
) -> Family:
    """end: the time where runs end; None: as set_alpha_to_one says. clips: whether the class clips
    the x_0 that the model predicts."""

    def build(options: Options, compatible: bool) -> Parts:
        schedule = training_schedule(options)
        final = _end(options) if end is None else end

        def course(steps: int, mu: float | None) -> Course:
            timesteps = _timesteps(options, schedule, steps)
            times: np.ndarray = np.append(timesteps, final)
            if timesteps[-1] == final:  # diffusers asks the model at 0 and stays there
                times = np.append(timesteps[:-1], (_JUST_ABOVE_0, final))
            return Course(times, timesteps, 1.0)

        predictor = denoiser(options, schedule, clips)
        return Parts(schedule, choose(options, compatible), course, _whole, predictor)

    return Family(options, build)


def _end(options: Options) -> int:
    return -1 if options["set_alpha_to_one"] else 0


def _timesteps(options: Options, schedule: DiscreteSchedule, steps: int) -> np.ndarray:
    """The times at which the model is asked, integers."""
    length = schedule.num_train_timesteps
    check_steps(steps, length)
    if "original_inference_steps" in options:
        return grids.lcm(schedule, steps, options["original_inference_steps"])
    if options["timestep_spacing"] == "leading":
        return shifted(grids.leading(schedule, steps), options["steps_offset"], length)
    return {"trailing": grids.trailing, "linspace": grids.linspace}[options["timestep_spacing"]](
        schedule, steps
    )


def _whole(t: float) -> int:
    return round(t)


def _ddpm(options: Options, compatible: bool) -> Sampler:
    variance = str(_VARIANCES.get(options["variance_type"], options["variance_type"]))
    return DDPMWithLastNoise(variance) if compatible else DDPM(variance)


def _ddim(options: Options, compatible: bool) -> Sampler:
    return StridedDDIM() if compatible else DDIM()


def _inverse(options: Options, compatible: bool) -> Sampler:
    bound = options["clip_sample_range"] if options["clip_sample"] else None
    kind = StridedDDIMInverse if compatible else DDIMInverse
    return kind(held=options["prediction_type"], clip=bound)


def _pndm(options: Options, compatible: bool) -> Sampler:
    kind = StridedPNDM if compatible else PNDM
    return kind(skip_prk_steps=options["skip_prk_steps"], held=options["prediction_type"])


def _lcm(options: Options, compatible: bool) -> Sampler:
    return LCM(timestep_scaling=options["timestep_scaling"])


def _tcd(options: Options, compatible: bool) -> Sampler:
    return TCD()


FAMILIES = {
    "DDPMScheduler": _family(_DDPM, _ddpm, end=-1),
    "DDIMScheduler": _family(_DDIM, _ddim),
    "DDIMInverseScheduler": _family(_INVERSE, _inverse, clips=False),
    "PNDMScheduler": _family(_PNDM, _pndm),
    "LCMScheduler": _family(_CONSISTENCY, _lcm, end=-1),
    "TCDScheduler": _family(_CONSISTENCY, _tcd, end=0, clips=False),
}
