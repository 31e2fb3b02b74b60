"""What the classes of schedulers share: how a config becomes schedule, sampler and denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..autograd import Tensor
from ..diffusion import Denoiser, NoiseSchedule, schedules, thresholding
from ..diffusion.discrete_schedule import DiscreteSchedule
from ..errors import ConfigError
from ..samplers import SAMPLERS, Sampler
from ..samplers.base import Predictor
from .options import Option, Options
from .sigmas import Course

Model = Callable[[np.ndarray, Any], Any]
Told = Callable[[Any], Any]


class Courses(Protocol):
    """(steps, mu) -> the course of a run; mu is the dynamic shift, for classes that have it."""

    def __call__(self, steps: int, mu: float | None) -> Course: ...


class Parts(NamedTuple):
    """A scheduler taken apart.

    told: the timestep at any time of the schedule, for times that are not in the course.
    predictor: (model, told) -> the Denoiser in the coordinates of the schedule.
    """

    schedule: NoiseSchedule
    sampler: Sampler
    course: Courses
    told: Told
    predictor: Callable[[Model, Told], Predictor]


class Family(NamedTuple):
    """One class of diffusers: its options, and what they amount to.

    build gets the checked options, and whether to do as diffusers does where that departs from
    the paper.
    """

    options: Mapping[str, Option]
    build: Callable[[Options, bool], Parts]


def training_schedule(options: Options) -> DiscreteSchedule:
    """The chain that the model was trained on."""
    schedule = schedules.from_config(options)
    last = schedule.num_train_timesteps
    if options.get("steps_offset", 0) >= last:
        raise ConfigError(f"steps_offset = {options['steps_offset']}; an integer in [0, {last})")
    return schedule


def sampler(name: str, **options: Any) -> Sampler:
    """The sampler of that name in the registry."""
    return SAMPLERS[name](**options)


def clip(options: Options) -> Any:
    """The `clip` of a Denoiser."""
    if options.get("thresholding"):
        return thresholding.dynamic(
            options["dynamic_thresholding_ratio"], options["sample_max_value"]
        )
    return options["clip_sample_range"] if options.get("clip_sample") else None


def denoiser(
    options: Options, schedule: NoiseSchedule, clips: bool = True
) -> Callable[[Model, Told], Denoiser]:
    """The usual predictor: the model sees the state itself."""
    prediction = options["prediction_type"]
    prediction = "flow" if prediction == "flow_prediction" else prediction
    learned = options.get("variance_type") in ("learned", "learned_range")
    bound = clip(options) if clips else None

    def build(model: Model, told: Told) -> Denoiser:
        return Denoiser(model, schedule, prediction, bound, told, learned)

    return build


def negative(model: Model) -> Model:
    """The model with its output's sign turned."""

    def turned(x: np.ndarray, t: Any) -> Any:
        output = model(x, t)
        if not isinstance(output, (np.ndarray, Tensor)):
            output = np.asarray(output.numpy() if hasattr(output, "numpy") else output)
        return -output

    return turned
