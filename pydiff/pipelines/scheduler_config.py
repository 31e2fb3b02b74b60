"""A scheduler for a model that was trained here, in the names that pydiff uses for its options."""

from __future__ import annotations

import os
import warnings
from typing import Any

from .. import schedulers
from ..diffusion import DiscreteSchedule, NoiseSchedule
from ..diffusion.schedules import EDM, Flow
from ..errors import ConfigError
from ..io import write_config
from ..schedulers import Scheduler


def scheduler_for(
    schedule: NoiseSchedule,
    prediction: str = "epsilon",
    clip: float | None = 1.0,
    variance: str = "fixed_small",
    spacing: str = "leading",
    steps_offset: int = 0,
    set_alpha_to_one: bool = True,
    class_name: str = "DDPMScheduler",
    sigma_data: float | None = None,
) -> Scheduler:
    """The scheduler of a model trained with `schedule`, by default as DDPM has it.

    A chain has all of these settings. Of continuous schedules diffusers knows `Flow`, with a
    prediction of flow, and `EDM`, with a network that is preconditioned for sigma_data; they have
    no other settings.

    prediction: epsilon, sample or v_prediction. clip: bound of the predicted x_0, or None.
    variance: of DDPM. spacing and steps_offset: of the time grid. set_alpha_to_one: of DDIM,
    whether the last step ends at clean data or at t = 0. class_name: a key of
    `schedulers.SCHEDULERS`; options that the class does not have are left out.
    Raises ConfigError for a schedule and prediction that no scheduler has.
    """
    if not isinstance(schedule, DiscreteSchedule) or sigma_data is not None:
        return _continuous(schedule, prediction, sigma_data)
    options = {
        "prediction_type": prediction,
        "clip_sample": clip is not None,
        "clip_sample_range": 1.0 if clip is None else clip,
        "timestep_spacing": spacing,
        "steps_offset": steps_offset,
        "set_alpha_to_one": set_alpha_to_one,
    }
    if class_name == "DDPMScheduler":  # elsewhere variance_type says whether one is learned
        options["variance_type"] = variance
    family = schedulers.SCHEDULERS.get(class_name)
    known = options.keys() if family is None else family.options.keys()
    config: dict[str, Any] = {key: options[key] for key in options if key in known}
    config |= {"num_train_timesteps": schedule.num_train_timesteps, **schedule.config}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "terminal SNR")  # whoever made the schedule has seen it
        return schedulers.from_config({"_class_name": class_name, **config})


def _continuous(schedule: NoiseSchedule, prediction: str, sigma_data: float | None) -> Scheduler:
    if isinstance(schedule, Flow) and prediction == "flow":
        name, options = "FlowMatchEulerDiscreteScheduler", {"shift": schedule.shift}
    elif isinstance(schedule, EDM) and prediction == "sample" and sigma_data is not None:
        name = "EDMEulerScheduler"
        low, high = schedule.sigma_min, schedule.sigma_max
        options = {"sigma_min": low, "sigma_max": high, "sigma_data": sigma_data}
    else:
        raise ConfigError(
            f"no scheduler of diffusers is for {type(schedule).__name__}, prediction = "
            f"{prediction!r}, sigma_data = {sigma_data!r}; it has chains without sigma_data, Flow "
            "with 'flow', and EDM with 'sample' and a sigma_data"
        )
    return schedulers.from_config({"_class_name": name, **options})


def write_scheduler(path: str | os.PathLike[str], scheduler: Scheduler) -> None:
    """Write the config of a scheduler for diffusers and for `schedulers.from_config`."""
    write_config(path, scheduler.to_config())
