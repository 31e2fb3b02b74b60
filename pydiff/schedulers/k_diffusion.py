"""The schedulers in k-diffusion's coordinates: x = x_0 + sigma eps, time sigma.

The model gets x / sqrt(sigma^2 + 1), which is what it was trained on, and the time of that level
in its chain. States are those of diffusers.
"""

from __future__ import annotations

import math
from typing import Any

from ..diffusion import schedules
from ..samplers import Sampler
from ..samplers.base import Predictor
from ..samplers.level_spacing import exponential
from .family import Family, Model, Parts, Told, denoiser, sampler, training_schedule
from .levels import ScaledDenoiser, VariancePreserving, c_noise
from .options import (
    FINAL_SIGMAS,
    RESPACED,
    ZERO_SNR,
    Option,
    Options,
    betas,
    choice,
    clipping,
    integer,
    nullable,
    number,
    predictions,
    spacing,
)
from .sigmas import Course, Training, ended, model_timesteps, respaced, respacing

_STABLE_DIFFUSION = betas(0.00085, 0.012)


def _family(name: str, options: dict[str, Option], rounded: bool = False) -> Family:
    """rounded: whether the model is told whole timesteps at Karras' levels."""

    def build(options: Options, compatible: bool) -> Parts:
        return _build(options, sampler(name), rounded)

    return Family(options, build)


def _build(options: Options, chosen: Sampler, rounded: bool) -> Parts:
    training = Training(training_schedule(options))
    first, last = training.span(options)
    schedule = schedules.edm(first, last)
    inner = denoiser(options, VariancePreserving(first, last))

    def course(steps: int, mu: float | None) -> Course:
        return _course(options, training, steps, rounded)

    def predictor(model: Model, told: Told) -> Predictor:
        return ScaledDenoiser(schedule, inner(model, told))

    def told(sigma: float) -> Any:
        return c_noise(sigma) if _continuous(options) else float(training.timestep(sigma))

    return Parts(schedule, chosen, course, told, predictor)


def _course(options: Options, training: Training, steps: int, rounded: bool) -> Course:
    timesteps = model_timesteps(options, training.length, steps)
    sigmas = training.sigma(timesteps)
    end = training.sigmas[0] if options.get("final_sigmas_type") == "sigma_min" else 0.0
    if options.get("interpolation_type") == "log_linear":
        # one level more than steps: diffusers ends there, whatever final_sigmas_type is
        sigmas = exponential(training.sigmas[0], training.sigmas[-1], steps + 1)
        if respacing(options) is None:
            sigmas, end = sigmas[:-1], sigmas[-1]
    other = respaced(options, sigmas[-1], sigmas[0], steps)
    if other is not None:
        sigmas, timesteps = other, training.timestep(other)
        if rounded and options["use_karras_sigmas"]:
            timesteps = timesteps.round()
    if _continuous(options):
        timesteps = c_noise(sigmas)
    # under leading the first level is not the noisiest, so the state is data and noise
    extra = 1.0 if options["timestep_spacing"] == "leading" else 0.0
    return Course(ended(sigmas, end), timesteps, math.sqrt(sigmas[0] ** 2 + extra))


def _continuous(options: Options) -> bool:
    return (
        options.get("timestep_type") == "continuous"
        and options["prediction_type"] == "v_prediction"
    )


_EULER = {
    **betas(),
    **predictions("epsilon", "sample", "v_prediction"),
    "interpolation_type": Option("linear", choice("linear", "log_linear")),
    **RESPACED,
    "sigma_min": Option(None, nullable(number(0.0))),
    "sigma_max": Option(None, nullable(number(0.0))),
    **spacing("linspace"),
    "timestep_type": Option("discrete", choice("discrete", "continuous")),
    **ZERO_SNR,
    **FINAL_SIGMAS,
}
_ANCESTRAL = {
    **betas(),
    **predictions("epsilon", "sample", "v_prediction"),
    **spacing("linspace"),
    **ZERO_SNR,
}
_HEUN = {
    **_STABLE_DIFFUSION,
    **predictions("epsilon", "sample", "v_prediction"),
    **RESPACED,
    **clipping(False),
    **spacing("linspace"),
}
_LMS = {
    **betas(),
    **RESPACED,
    **predictions("epsilon", "sample", "v_prediction"),
    **spacing("linspace"),
}
_KDPM2 = {**_LMS, **_STABLE_DIFFUSION}
_DPM_SDE = {**_KDPM2, "noise_sampler_seed": Option(None, nullable(integer(0)))}

FAMILIES = {
    "EulerDiscreteScheduler": _family("euler", _EULER),
    "EulerAncestralDiscreteScheduler": _family("euler_ancestral", _ANCESTRAL),
    "HeunDiscreteScheduler": _family("heun", _HEUN),
    "KDPM2DiscreteScheduler": _family("dpm2", _KDPM2, rounded=True),
    "KDPM2AncestralDiscreteScheduler": _family("dpm2_ancestral", _KDPM2, rounded=True),
    "LMSDiscreteScheduler": _family("lms", _LMS),
    "DPMSolverSDEScheduler": _family("dpmpp_sde", _DPM_SDE),
}
