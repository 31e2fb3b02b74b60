"""The schedulers of EDM: x = x_0 + sigma eps, a network with EDM's preconditioning.

D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), c_noise = log(sigma) / 4 (Karras et al. 2022,
arXiv 2206.00364, eq. 7 and table 1). In units of sigma_data, F is minus the v-prediction at the
input c_in x: that is how it is asked here.
"""

from __future__ import annotations

import math

from ..diffusion import Denoiser, schedules
from ..samplers import Sampler
from ..samplers.base import Predictor
from ..samplers.level_spacing import exponential, karras
from .dpm_classes import multistep_sampler
from .family import Family, Model, Parts, Told, clip, negative, sampler
from .levels import ScaledDenoiser, VariancePreserving, c_noise
from .options import (
    FALSE,
    FINAL_SIGMAS,
    MIDPOINT,
    POSITIVE,
    THRESHOLDING,
    TRUE,
    Option,
    Options,
    choice,
    integer,
    predictions,
)
from .sigmas import Course, check_steps, ended

_EULER = {
    "sigma_min": Option(0.002, POSITIVE),
    "sigma_max": Option(80.0, POSITIVE),
    "sigma_data": Option(0.5, POSITIVE),
    "sigma_schedule": Option("karras", choice("karras", "exponential")),
    "num_train_timesteps": Option(1000, integer(1)),
    **predictions("epsilon", "v_prediction"),
    "rho": Option(7.0, POSITIVE),
    **FINAL_SIGMAS,
}
_DPM = {
    **_EULER,
    "solver_order": Option(2, integer(1, 3)),
    **THRESHOLDING,
    "algorithm_type": Option(
        "dpmsolver++", choice("dpmsolver++", "sde-dpmsolver++", deis="dpmsolver++")
    ),
    "solver_type": Option("midpoint", MIDPOINT),
    "lower_order_final": TRUE,
    "euler_at_final": FALSE,
}


def _euler(options: Options, compatible: bool) -> Parts:
    return _build(options, sampler("euler"))


def _dpm(options: Options, compatible: bool) -> Parts:
    return _build(options, multistep_sampler(options))


def _build(options: Options, chosen: Sampler) -> Parts:
    low, high, data_std = (options[f"sigma_{key}"] for key in ("min", "max", "data"))
    schedule, inner = schedules.edm(low, high), VariancePreserving(low, high, data_std)
    turned = options["prediction_type"] == "epsilon"
    bound = clip(options)

    def course(steps: int, mu: float | None) -> Course:
        check_steps(steps, 1 << 20)
        if options["sigma_schedule"] == "karras":
            sigmas = karras(low, high, steps, options["rho"])
        else:
            sigmas = exponential(low, high, steps)
        end = sigmas[-1] if options["final_sigmas_type"] == "sigma_min" else 0.0
        # hypot(sigma_max, 1) and not hypot(sigma_max, sigma_data): as diffusers has it
        return Course(ended(sigmas, end), c_noise(sigmas), math.hypot(high, 1.0))

    def predictor(model: Model, told: Told) -> Predictor:
        network = negative(model) if turned else model
        denoiser = Denoiser(network, inner, "v_prediction", bound, told)
        return ScaledDenoiser(schedule, denoiser, data_std)

    return Parts(schedule, chosen, course, c_noise, predictor)


FAMILIES = {
    "EDMEulerScheduler": Family(_EULER, _euler),
    "EDMDPMSolverMultistepScheduler": Family(_DPM, _dpm),
}
