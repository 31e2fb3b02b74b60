"""From a config to a scheduler, and back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..io import read_config
from ..samplers import Sampler
from . import discrete, dpm_classes, edm, flow, ipndm, k_diffusion, ve
from .family import Family
from .options import checked
from .scheduler import Scheduler

FILE = "scheduler_config.json"
SCHEDULERS: dict[str, Family] = {
    **discrete.FAMILIES,
    **k_diffusion.FAMILIES,
    **dpm_classes.FAMILIES,
    **ipndm.FAMILIES,
    **edm.FAMILIES,
    **flow.FAMILIES,
    **ve.FAMILIES,
}


def from_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    compatible: bool = False,
    **options: Any,
) -> Scheduler:
    """The scheduler of a config of diffusers.

    source: the config as a dict, the JSON file, or a folder that holds `scheduler_config.json`
        itself or in `scheduler/`. `_class_name` says which of `SCHEDULERS` it is.
    compatible: do as diffusers does where it departs from the paper: DDIM, DDIMInverse and PNDM
        step by T // steps whatever the grid (diffusers #7401, #11347), and DDPM with a large
        variance adds noise in a last step from t > 0. Without it each step goes to the next time
        of the grid, and the last one to clean data.
    options: fields of the sampler that are arguments of `step` in diffusers and not in its configs,
        such as eta, s_churn, s_noise.

    Options of diffusers that the class does not have warn and change nothing, keys in _ do not
    warn. Raises ConfigError naming key, value and what is allowed.
    """
    if isinstance(source, Mapping):
        return _from_dict(source, compatible, options)
    path = _file(Path(source))
    try:
        return _from_dict(read_config(path, infinities=True), compatible, options)
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None


def to_config(scheduler: Scheduler) -> dict[str, Any]:
    """A config equal in effect to the one that `scheduler` came from."""
    return scheduler.to_config()


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    inner = path / "scheduler" / FILE
    return inner if inner.exists() else path / FILE


def _from_dict(config: Mapping[str, Any], compatible: bool, extra: dict[str, Any]) -> Scheduler:
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise ConfigError(f"_class_name = {name!r}; known: {', '.join(SCHEDULERS)}")
    family = SCHEDULERS[name]
    options = checked(name, family.options, config)
    parts = family.build(options, compatible)
    chosen = _with(parts.sampler, extra)
    return Scheduler(name, options, parts.schedule, chosen, parts)


def _with(sampler: Sampler, options: dict[str, Any]) -> Sampler:
    fields = [field.name for field in dataclasses.fields(sampler)]  # type: ignore[arg-type]
    for key in options:
        if key not in fields:
            raise ConfigError(f"{key} is no option of {sampler.name}; it has {', '.join(fields)}")
    return dataclasses.replace(sampler, **options) if options else sampler  # type: ignore[type-var]
