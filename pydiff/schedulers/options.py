"""Options of a scheduler_config.json: their defaults and what they may be."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigError

Check = Callable[[str, Any], Any]
Options = Mapping[str, Any]


class Option(NamedTuple):
    """What a key is when the config has none, and (key, value) -> value, or a ConfigError."""

    default: Any
    check: Check


def checked(class_name: str, table: Mapping[str, Option], config: Options) -> dict[str, Any]:
    """Every option of the class, from the config or by default; keys in _ are left out.

    Warns of keys that the class does not have, as diffusers does: they change nothing.
    """
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    for key in sorted(given.keys() - table.keys() - _WITHOUT_EFFECT):
        warnings.warn(f"{class_name} has no option {key!r}: it is ignored", stacklevel=4)
    return {
        key: option.check(key, given[key]) if key in given else option.default
        for key, option in table.items()
    }


# Keys of old files that no version of diffusers reads any more.
_WITHOUT_EFFECT = {"tensor_format", "timestep_values"}


def anything(key: str, value: Any) -> Any:
    """Checked elsewhere."""
    return value


def flag(key: str, value: Any) -> bool:
    """True or false; null is false, as in old configs."""
    if value is None or type(value) is bool:
        return bool(value)
    raise ConfigError(f"{key} = {value!r}; allowed: true, false")


def choice(*allowed: str | None, **aliases: str) -> Check:
    """One of some names; aliases are names of other classes, with what diffusers takes them for."""

    def check(key: str, value: Any) -> Any:
        if isinstance(value, (str, type(None))):
            if value in allowed:
                return value
            if value in aliases:
                return aliases[value]
        names = ", ".join("null" if name is None else name for name in allowed)
        raise ConfigError(f"{key} = {value!r}; allowed: {names}")

    return check


def integer(low: int, high: int = 1 << 20) -> Check:
    """An integer in [low, high]."""

    def check(key: str, value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ConfigError(f"{key} = {value!r}; allowed: an integer, {low} to {high}")

    return check


def number(low: float = -math.inf, high: float = math.inf, closed: bool = False) -> Check:
    """A number with low < value < high; closed: the two ends are allowed, infinities too."""

    def check(key: str, value: Any) -> float:
        real = type(value) in (int, float)
        if real and (low < value < high or (closed and value in (low, high))):
            return float(value)
        sign = "<=" if closed else "<"
        raise ConfigError(
            f"{key} = {value!r}; allowed: a number, {low:g} {sign} {key} {sign} {high:g}"
        )

    return check


def nullable(check: Check) -> Check:
    """null, or what `check` allows."""
    return lambda key, value: None if value is None else check(key, value)


def integers(key: str, value: Any) -> tuple[int, ...]:
    """A list of integers >= 0."""
    if isinstance(value, (list, tuple)) and all(type(i) is int and i >= 0 for i in value):
        return tuple(value)
    raise ConfigError(f"{key} = {value!r}; allowed: a list of integers >= 0")


def levels(key: str, value: Any) -> tuple[float, ...]:
    """At least two decreasing numbers from 1 to 0."""
    good = isinstance(value, (list, tuple)) and all(type(v) in (int, float) for v in value)
    if not good or len(value) < 2 or not value[0] <= 1.0 or not value[-1] >= 0.0:
        raise ConfigError(f"{key} = {value!r:.80}; allowed: a list of levels, from 1 down to 0")
    return tuple(float(v) for v in value)


POSITIVE = number(0.0)
FALSE = Option(False, flag)
TRUE = Option(True, flag)

# ---------------------------------------------------------------- groups that classes share


def betas(start: float = 1e-4, end: float = 0.02, name: str = "linear") -> dict[str, Option]:
    """The noise schedule of training; `schedules.from_config` checks the values together."""
    return {
        "num_train_timesteps": Option(1000, anything),
        "beta_start": Option(start, anything),
        "beta_end": Option(end, anything),
        "beta_schedule": Option(name, anything),
        "trained_betas": Option(None, anything),
    }


def predictions(*names: str) -> dict[str, Option]:
    """What the network predicts."""
    return {"prediction_type": Option("epsilon", choice(*names))}


def spacing(default: str, *names: str) -> dict[str, Option]:
    """How timesteps are spaced (Lin et al. 2024, arXiv 2305.08891, table 2)."""
    names = names or ("linspace", "leading", "trailing")
    return {
        "timestep_spacing": Option(default, choice(*names)),
        "steps_offset": Option(0, integer(0)),
    }


def clipping(default: bool) -> dict[str, Option]:
    """Clipping of the predicted x_0."""
    return {"clip_sample": Option(default, flag), "clip_sample_range": Option(1.0, POSITIVE)}


THRESHOLDING = {
    "thresholding": FALSE,
    "dynamic_thresholding_ratio": Option(0.995, number(0.0, 1.0, closed=True)),
    "sample_max_value": Option(1.0, number(1.0, closed=True)),
}
RESPACED = {
    "use_karras_sigmas": FALSE,
    "use_exponential_sigmas": FALSE,
    "use_beta_sigmas": FALSE,
}
FLOW_SIGMAS = {"use_flow_sigmas": FALSE, "flow_shift": Option(1.0, POSITIVE)}
SHIFTING = {
    "use_dynamic_shifting": FALSE,
    "time_shift_type": Option("exponential", choice("exponential")),
}
MIDPOINT = choice("midpoint", "heun", logrho="midpoint", bh1="midpoint", bh2="midpoint")
FINAL_SIGMAS = {"final_sigmas_type": Option("zero", choice("zero", "sigma_min"))}
ZERO_SNR = {"rescale_betas_zero_snr": FALSE}
