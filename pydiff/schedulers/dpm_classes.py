"""Options and samplers of the exponential integrators."""

from __future__ import annotations

import math

import numpy as np

from ..errors import ConfigError
from ..samplers import (
    DEIS,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    DPMppSingle,
    DPMSolver,
    Sampler,
    SASolver,
    UniPC,
)
from .dpm import family
from .family import training_schedule
from .options import (
    FALSE,
    FINAL_SIGMAS,
    FLOW_SIGMAS,
    MIDPOINT,
    RESPACED,
    SHIFTING,
    THRESHOLDING,
    TRUE,
    ZERO_SNR,
    Option,
    Options,
    betas,
    choice,
    integer,
    integers,
    nullable,
    number,
    predictions,
    spacing,
)
from .sigmas import Training

_PREDICTIONS = predictions("epsilon", "sample", "v_prediction", "flow_prediction")
_COMMON = {**betas(), **_PREDICTIONS, **THRESHOLDING, **RESPACED, **FLOW_SIGMAS}
_LEARNED = {
    "variance_type": Option(None, choice(None, "learned", "learned_range")),
    "lambda_min_clipped": Option(-math.inf, number(closed=True)),
}
_MULTISTEP = {
    **_COMMON,
    **SHIFTING,
    **_LEARNED,
    "solver_order": Option(2, integer(1, 3)),
    "algorithm_type": Option(
        "dpmsolver++",
        choice("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", deis="dpmsolver++"),
    ),
    "solver_type": Option("midpoint", MIDPOINT),
    "lower_order_final": TRUE,
    "euler_at_final": FALSE,
    "use_lu_lambdas": FALSE,
    **FINAL_SIGMAS,
    **spacing("linspace"),
    **ZERO_SNR,
}
_SINGLESTEP = {
    **_COMMON,
    **SHIFTING,
    **_LEARNED,
    "solver_order": Option(2, integer(1, 3)),
    "algorithm_type": Option(
        "dpmsolver++", choice("dpmsolver", "dpmsolver++", "sde-dpmsolver++", deis="dpmsolver++")
    ),
    "solver_type": Option("midpoint", MIDPOINT),
    "lower_order_final": FALSE,
    **FINAL_SIGMAS,
}
_DEIS = {
    **_COMMON,
    **SHIFTING,
    "solver_order": Option(2, integer(1, 3)),
    "algorithm_type": Option(
        "deis", choice("deis", **{"dpmsolver": "deis", "dpmsolver++": "deis"})
    ),
    "solver_type": Option(
        "logrho", choice("logrho", midpoint="logrho", heun="logrho", bh1="logrho", bh2="logrho")
    ),
    "lower_order_final": TRUE,
    **spacing("linspace"),
}
_UNIPC = {
    **_COMMON,
    "use_dynamic_shifting": FALSE,
    "time_shift_type": Option("exponential", choice("exponential", "linear")),
    "shift_terminal": Option(None, nullable(number(0.0, 1.0))),
    "solver_order": Option(2, integer(1, 8)),
    "predict_x0": TRUE,
    "solver_type": Option("bh2", choice("bh1", "bh2", midpoint="bh2", heun="bh2", logrho="bh2")),
    "lower_order_final": TRUE,
    "disable_corrector": Option((), integers),
    "solver_p": Option(None, choice(None)),
    "sigma_min": Option(None, nullable(number(0.0))),
    "sigma_max": Option(None, nullable(number(0.0))),
    **FINAL_SIGMAS,
    **spacing("linspace"),
    **ZERO_SNR,
}
_SA = {
    **_COMMON,
    **_LEARNED,
    "predictor_order": Option(2, integer(1, 4)),
    "corrector_order": Option(2, integer(0, 4)),
    "algorithm_type": Option("data_prediction", choice("data_prediction", "noise_prediction")),
    "tau_func": Option(None, choice(None)),
    "lower_order_final": TRUE,
    **spacing("linspace"),
}


def multistep_sampler(options: Options) -> Sampler:
    """Of DPMSolverMultistep, and of EDM's: algorithm_type and solver_order name the method.

    The third order is diffusers', which halves the second derivative: exact ones are
    `samplers.DPMpp3M()` and its like.
    """
    kind, order = options["algorithm_type"], options["solver_order"]
    shared = {key: options[key] for key in ("solver_type", "lower_order_final", "euler_at_final")}
    if kind in ("dpmsolver", "sde-dpmsolver"):
        _check_eps_form(options)
        eta = 1.0 if kind == "sde-dpmsolver" else 0.0
        return DPMSolver(**shared, solver_order=order, eta=eta, third_order="halved")
    if kind == "dpmsolver++":
        if order == 3:
            return DPMpp3M(**shared, third_order="halved")
        return DPMpp2M(**shared, solver_order=order)
    if order == 3:
        return DPMpp3MSDE(**shared, third_order="diffusers")
    return DPMpp2MSDE(**shared, solver_order=order)


def _check_eps_form(options: Options) -> None:
    if options["final_sigmas_type"] == "zero":
        raise ConfigError(
            f"final_sigmas_type = 'zero' with algorithm_type = {options['algorithm_type']!r}; "
            "allowed: sigma_min (the noise of clean data is undetermined)"
        )
    if options["algorithm_type"] == "sde-dpmsolver" and options["solver_order"] == 3:
        raise ConfigError("solver_order = 3 with algorithm_type = 'sde-dpmsolver'; allowed: 1, 2")


def _unipc(options: Options) -> Sampler:
    keys = ("solver_order", "solver_type", "predict_x0", "lower_order_final", "disable_corrector")
    return UniPC(**{key: options[key] for key in keys})


def _deis(options: Options) -> Sampler:
    keys = ("solver_order", "lower_order_final")
    return DEIS(**{key: options[key] for key in keys})


def _single(options: Options) -> Sampler:
    """diffusers turns lower_order_final on where a run ends at clean data."""
    kind = options["algorithm_type"]
    if kind == "dpmsolver":
        _check_eps_form(options)
    return DPMppSingle(
        solver_order=options["solver_order"],
        algorithm_type=kind.removeprefix("sde-"),
        solver_type=options["solver_type"],
        lower_order_final=options["lower_order_final"] or options["final_sigmas_type"] == "zero",
        eta=1.0 if kind == "sde-dpmsolver++" else 0.0,
        third_order="diffusers",
    )


def _sa(options: Options) -> Sampler:
    """tau is 1 at timesteps 200 .. 800, which diffusers rounds or cuts off."""
    rounded = options["use_karras_sigmas"]
    timesteps = np.array([199.5, 800.5] if rounded else [200.0, 801.0])
    low, high = Training(training_schedule(options)).sigma(timesteps)
    if options["use_flow_sigmas"]:
        low, high = (s / (1.0 - s) for s in timesteps / options["num_train_timesteps"])
    keys = ("predictor_order", "corrector_order", "algorithm_type", "lower_order_final")
    chosen = {key: options[key] for key in keys}
    return SASolver(**chosen, tau_low=low * (1 - 1e-9), tau_high=high * (1 - 1e-6))


FAMILIES = {
    "DEISMultistepScheduler": family(_DEIS, _deis),
    "DPMSolverMultistepScheduler": family(_MULTISTEP, multistep_sampler),
    "DPMSolverSinglestepScheduler": family(_SINGLESTEP, _single),
    "SASolverScheduler": family(_SA, _sa),
    "UniPCMultistepScheduler": family(_UNIPC, _unipc, unipc=True),
}
