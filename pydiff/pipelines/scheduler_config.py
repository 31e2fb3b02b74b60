"""A scheduler for a model that was trained here, in the names that pydiff uses for its options."""

from __future__ import annotations

import os
import warnings
from typing import Any

from .. import schedulers
from ..diffusion import DiscreteSchedule
from ..io import write_config
from ..schedulers import Scheduler


def scheduler_for(
    schedule: DiscreteSchedule,
    prediction: str = "epsilon",
    clip: float | None = 1.0,
    variance: str = "fixed_small",
    spacing: str = "leading",
    steps_offset: int = 0,
    set_alpha_to_one: bool = True,
    class_name: str = "DDPMScheduler",
) -> Scheduler:
    """The scheduler of a model trained with `schedule`, by default as DDPM has it.

    prediction: epsilon, sample or v_prediction. clip: bound of the predicted x_0, or None.
    variance: of DDPM. spacing and steps_offset: of the time grid. set_alpha_to_one: of DDIM,
    whether the last step ends at clean data or at t = 0. class_name: a key of
    `schedulers.SCHEDULERS`; options that the class does not have are left out.
    """
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


def write_scheduler(path: str | os.PathLike[str], scheduler: Scheduler) -> None:
    """Write the config of a scheduler for diffusers and for `schedulers.from_config`."""
    write_config(path, scheduler.to_config())
