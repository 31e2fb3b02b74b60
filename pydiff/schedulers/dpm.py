"""The schedulers of exponential integrators: DPM-Solver, DEIS, UniPC, SA-Solver.

Their states are alpha x_0 + sigma eps, variance preserving or of rectified flow; time is the level
that diffusers calls sigma: sigma / alpha, or under use_flow_sigmas sigma itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..diffusion import NoiseSchedule, schedules
from ..errors import ConfigError
from ..samplers import Sampler
from .family import Family, Parts, denoiser, training_schedule
from .levels import VariancePreserving
from .options import Option, Options
from .sigmas import (
    Course,
    Training,
    check_steps,
    ended,
    flow_shift,
    interval_timesteps,
    needed,
    respaced,
    respacing,
    shift,
    stretched,
)


def family(
    options: dict[str, Option], choose: Callable[[Options], Sampler], unipc: bool = False
) -> Family:
    """A class whose sampler is choose(options); unipc: with UniPC's own levels of flow."""

    def build(options: Options, compatible: bool) -> Parts:
        return _build(options, choose(options), _unipc_levels if unipc else _levels)

    return Family(options, build)


Levels = Callable[[Options, Training, int, "float | None"], "tuple[np.ndarray, np.ndarray]"]


def _build(options: Options, chosen: Sampler, levels: Levels) -> Parts:
    training = Training(training_schedule(options))
    schedule: NoiseSchedule = VariancePreserving(*training.span(options))
    flow = options["use_flow_sigmas"]
    if flow:
        schedule = schedules.flow()
    elif options["prediction_type"] == "flow_prediction":
        raise ConfigError("prediction_type = 'flow_prediction' needs use_flow_sigmas = true")

    def course(steps: int, mu: float | None) -> Course:
        times, timesteps = levels(options, training, steps, mu)
        return Course(times, timesteps.astype(np.int64), 1.0)  # cut off, as diffusers does

    def told(sigma: float) -> int:
        return int(sigma * training.length if flow else training.timestep(sigma))

    return Parts(schedule, chosen, course, told, denoiser(options, schedule))


def _levels(
    options: Options, training: Training, steps: int, mu: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The levels with the end, and the timesteps before they are made whole."""
    check_steps(steps, 1 << 20)
    key = respacing(options)
    if options["use_flow_sigmas"]:
        if key is not None:
            raise ConfigError(f"{key} gives levels beyond 1; use_flow_sigmas must be false with it")
        sigmas = 1.0 - np.linspace(1.0, 1.0 / training.length, steps + 1)
        sigmas = flow_shift(sigmas, shift(options, mu))[:0:-1]
        return ended(sigmas, _end(options, training, sigmas)), sigmas * training.length
    sigmas, timesteps = _variance_preserving(options, training, steps)
    return ended(sigmas, _end(options, training, sigmas)), timesteps


def _unipc_levels(
    options: Options, training: Training, steps: int, mu: float | None
) -> tuple[np.ndarray, np.ndarray]:
    check_steps(steps, 1 << 20)
    key, flow = respacing(options), options["use_flow_sigmas"]
    if flow and key is None:
        needed(options, mu)
        sigmas = np.linspace(1.0, 1.0 / training.length, steps + 1)[:-1]
        sigmas = stretched(flow_shift(sigmas, shift(options, mu)), options["shift_terminal"])
        sigmas[0] -= 1e-6 if abs(sigmas[0] - 1.0) < 1e-6 else 0.0  # lambda is finite below 1
        timesteps = sigmas * training.length
    else:
        sigmas, timesteps = _variance_preserving(options, training, steps)
    if flow and key is not None:
        if key != "use_karras_sigmas":
            raise ConfigError(f"{key} gives levels beyond 1; use_flow_sigmas must be false with it")
        sigmas = sigmas / (sigmas + 1.0)
        timesteps = sigmas * training.length
    repeated = flow or key is not None
    end = sigmas[-1] if repeated else training.sigmas[0]
    return ended(sigmas, end if options["final_sigmas_type"] == "sigma_min" else 0.0), timesteps


def _variance_preserving(
    options: Options, training: Training, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    sigmas = respaced(options, training.sigmas[0], training.sigmas[-1], steps)
    if sigmas is None:
        last = int(np.sum(-training.log_sigmas >= options.get("lambda_min_clipped", -math.inf)))
        timesteps = interval_timesteps(options, training.length, last, steps)
        return training.sigma(timesteps), timesteps
    timesteps = training.timestep(sigmas)
    return sigmas, timesteps.round() if _rounded(options) else timesteps


def _rounded(options: Options) -> bool:
    if options["use_karras_sigmas"] or options.get("use_lu_lambdas"):
        # only DPMSolverMultistep has use_lu_lambdas, and it alone excepts the cosine schedule
        return "use_lu_lambdas" not in options or options["beta_schedule"] != "squaredcos_cap_v2"
    return False


def _end(options: Options, training: Training, sigmas: np.ndarray) -> float:
    if "final_sigmas_type" in options:
        return training.sigmas[0] if options["final_sigmas_type"] == "sigma_min" else 0.0
    repeated = options["use_flow_sigmas"] or respacing(options) is not None
    return sigmas[-1] if repeated else training.sigmas[0]
