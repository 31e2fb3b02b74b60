"""`scheduler_config.json` of diffusers as a checked value, there and back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from ..diffusion import DiscreteSchedule
from ..diffusion.schedules import from_config
from ..errors import ConfigError
from ..io import read_config, write_config

CLASSES = ("DDPMScheduler", "DDIMScheduler")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
SPACINGS = ("leading", "trailing", "linspace")
# fixed_small_log is the same number as fixed_small, held as a logarithm on the way.
VARIANCES = {"fixed_small": "fixed_small", "fixed_small_log": "fixed_small",
             "fixed_large": "fixed_large"}  # fmt: skip

_SCHEDULE_KEYS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
    "rescale_betas_zero_snr",
)  # fmt: skip
# Keys that only matter together with one that is refused, or that old files carry without effect.
_WITHOUT_EFFECT = (
    "dynamic_thresholding_ratio", "sample_max_value", "tensor_format", "timestep_values",
    "skip_prk_steps",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SchedulerConfig:
    """How a model was trained and is meant to be sampled.

    schedule: the betas; prediction: epsilon, sample or v_prediction; clip: bound of the predicted
    x_0, or None; variance: of DDPM, fixed_small or fixed_large; spacing and steps_offset of the
    time grid; set_alpha_to_one: whether the last DDIM step ends at clean data or at t = 0.
    """

    schedule: DiscreteSchedule
    prediction: str = "epsilon"
    clip: float | None = 1.0
    variance: str = "fixed_small"
    spacing: str = "leading"
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    class_name: str = "DDPMScheduler"

    def __post_init__(self) -> None:
        _check_choice("_class_name", self.class_name, CLASSES)
        _check_choice("prediction_type", self.prediction, PREDICTIONS)
        _check_choice("timestep_spacing", self.spacing, SPACINGS)
        _check_choice("variance_type", self.variance, tuple(VARIANCES))
        object.__setattr__(self, "variance", VARIANCES[self.variance])
        _check_flag("set_alpha_to_one", self.set_alpha_to_one)
        last = self.schedule.num_train_timesteps
        if type(self.steps_offset) is not int or not 0 <= self.steps_offset < last:
            raise ConfigError(f"steps_offset = {self.steps_offset!r}; an integer in [0, {last})")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> SchedulerConfig:
        """From the keys of a diffusers scheduler; ConfigError for what pydiff does not do."""
        given = {key: value for key, value in config.items() if not key.startswith("_")}
        rest = dict(given)
        for key in (*_SCHEDULE_KEYS, *_WITHOUT_EFFECT):
            rest.pop(key, None)
        if rest.pop("thresholding", False) is not False:
            raise ConfigError("thresholding = true is not supported; use clip_sample")
        _check_flag("rescale_betas_zero_snr", given.get("rescale_betas_zero_snr", False))
        clip_sample = rest.pop("clip_sample", True)
        clip_range = rest.pop("clip_sample_range", 1.0)
        values = {
            "schedule": from_config(given),
            "clip": _clip(clip_sample, clip_range),
            "prediction": rest.pop("prediction_type", "epsilon"),
            "variance": rest.pop("variance_type", "fixed_small"),
            "spacing": rest.pop("timestep_spacing", "leading"),
            "steps_offset": rest.pop("steps_offset", 0),
            "set_alpha_to_one": rest.pop("set_alpha_to_one", True),
            "class_name": config.get("_class_name", "DDPMScheduler"),
        }
        if rest:
            raise ConfigError(f"scheduler config: unknown key {sorted(rest)[0]!r}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The keys that diffusers' scheduler of this class reads."""
        config = {
            "_class_name": self.class_name,
            **_named_betas(self.schedule),
            "prediction_type": self.prediction,
            "clip_sample": self.clip is not None,
            "clip_sample_range": 1.0 if self.clip is None else self.clip,
            "timestep_spacing": self.spacing,
            "steps_offset": self.steps_offset,
        }
        if self.class_name == "DDIMScheduler":
            return {**config, "set_alpha_to_one": self.set_alpha_to_one}
        return {**config, "variance_type": self.variance}


def read_scheduler(path: str | os.PathLike[str]) -> SchedulerConfig:
    """The scheduler in a JSON file; ConfigError names the file and the offending key."""
    try:
        return SchedulerConfig.from_dict(read_config(path))
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None


def write_scheduler(path: str | os.PathLike[str], scheduler: SchedulerConfig) -> None:
    """Write the scheduler for diffusers and for `read_scheduler`."""
    write_config(path, scheduler.to_dict())


def _named_betas(schedule: DiscreteSchedule) -> dict[str, Any]:
    return {"num_train_timesteps": schedule.num_train_timesteps, **schedule.config}


def _clip(clip_sample: Any, clip_range: Any) -> float | None:
    _check_flag("clip_sample", clip_sample)
    good = type(clip_range) in (int, float) and 0.0 < clip_range < float("inf")
    if not good:
        raise ConfigError(f"clip_sample_range = {clip_range!r}; a number > 0")
    return float(clip_range) if clip_sample else None


def _check_flag(key: str, value: Any) -> None:
    if type(value) is not bool:
        raise ConfigError(f"{key} = {value!r}; true or false")


def _check_choice(key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(f"{key} = {value!r}; pydiff knows {', '.join(allowed)}")
