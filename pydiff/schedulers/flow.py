"""FlowMatchEulerDiscreteScheduler: rectified flow, time sigma, x = (1 - sigma) x_0 + sigma eps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..diffusion import Denoiser, schedules
from ..samplers.base import Predictor
from .family import Family, Model, Parts, Told, negative, sampler
from .options import FALSE, POSITIVE, RESPACED, Option, Options, choice, integer, nullable, number
from .sigmas import Course, check_steps, flow_shift, needed, respaced, shift, stretched

_OPTIONS = {
    "num_train_timesteps": Option(1000, integer(1)),
    "shift": Option(1.0, POSITIVE),
    "use_dynamic_shifting": FALSE,
    "base_shift": Option(0.5, nullable(number())),  # from here on, see `Scheduler.mu`
    "max_shift": Option(1.15, nullable(number())),
    "base_image_seq_len": Option(256, integer(1)),
    "max_image_seq_len": Option(4096, integer(1)),
    "invert_sigmas": FALSE,
    "shift_terminal": Option(None, nullable(number(0.0, 1.0))),
    **RESPACED,
    "time_shift_type": Option("exponential", choice("exponential", "linear")),
    "stochastic_sampling": FALSE,
}


def _build(options: Options, compatible: bool) -> Parts:
    length = options["num_train_timesteps"]
    ends = np.array([1.0, 1.0 / length])  # sigma_max and sigma_min, shifted already
    if not options["use_dynamic_shifting"]:
        ends = flow_shift(ends, options["shift"])
    schedule = schedules.flow()
    chosen = sampler("euler")
    if options["stochastic_sampling"]:
        chosen = sampler("consistency", sigma_min=0.0)
    inverted = options["invert_sigmas"]

    def course(steps: int, mu: float | None) -> Course:
        check_steps(steps, 1 << 20)
        needed(options, mu)
        sigmas = flow_shift(np.linspace(ends[0], ends[1], steps), shift(options, mu))
        sigmas = stretched(sigmas, options["shift_terminal"])
        other = respaced(options, sigmas[-1], sigmas[0], steps)
        sigmas = sigmas if other is None else other
        return Course(np.append(sigmas, 0.0), told(sigmas), 1.0)

    def told(sigma: Any) -> Any:
        # inverted: the model counts time from noise to data, and predicts the opposite velocity
        return (1.0 - sigma if inverted else sigma) * length

    def predictor(model: Model, told: Told) -> Predictor:
        return Denoiser(negative(model) if inverted else model, schedule, "flow", None, told)

    return Parts(schedule, chosen, course, told, predictor)


FAMILIES = {"FlowMatchEulerDiscreteScheduler": Family(_OPTIONS, _build)}
