"""The configuration of a U-Net: keys and defaults of diffusers' UNet2DModel, and limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..checks import is_integer, is_number
from ..errors import ConfigError
from .layers import ACTIVATIONS

MAX_CHANNELS = 1 << 20
MAX_LEVELS = 16

# Block type -> (has attention, how it resamples; None: as downsample_type or upsample_type say).
DOWN_BLOCKS: dict[str, tuple[bool, str | None]] = {
    "DownBlock2D": (False, "conv"),
    "AttnDownBlock2D": (True, None),
    "ResnetDownsampleBlock2D": (False, "resnet"),
}
UP_BLOCKS: dict[str, tuple[bool, str | None]] = {
    "UpBlock2D": (False, "conv"),
    "AttnUpBlock2D": (True, None),
    "ResnetUpsampleBlock2D": (False, "resnet"),
}
_UNSUPPORTED = ("SkipDownBlock2D", "AttnSkipDownBlock2D", "SkipUpBlock2D", "AttnSkipUpBlock2D")


@dataclass(frozen=True)
class Key:
    """One key: its default, what is allowed in words, and a parser that raises ValueError."""

    default: Any
    allowed: str
    parse: Callable[[Any], Any]


def _integer(value: Any, low: int, high: int) -> int:
    if not is_integer(value):
        raise ValueError
    number = int(value)
    if not low <= number <= high:
        raise ValueError
    return number


def _integer_key(default: Any, low: int, high: int, null: bool = False) -> Key:
    def parse(value: Any) -> int | None:
        return None if null and value is None else _integer(value, low, high)

    return Key(default, f"{'null or ' * null}an integer in [{low}, {high}]", parse)


def _number_key(default: float, allowed: str, within: Callable[[float], bool]) -> Key:
    def parse(value: Any) -> float:
        if not is_number(value):
            raise ValueError
        number = int(value) if is_integer(value) else float(value)
        if not math.isfinite(number) or not within(number):
            raise ValueError
        return number

    return Key(default, allowed, parse)


def _choice_key(default: Any, *choices: Any) -> Key:
    def parse(value: Any) -> Any:
        if isinstance(value, (bool, float)) or value not in choices:
            raise ValueError
        return value

    names = ["null" if choice is None else repr(choice) for choice in choices]
    return Key(default, f"one of {', '.join(names)}", parse)


def _flag_key(default: bool) -> Key:
    def parse(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Key(default, "true or false", parse)


def _list_key(default: list[Any], item: Callable[[Any], Any], allowed: str) -> Key:
    def parse(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MAX_LEVELS:
            raise ValueError
        return [item(entry) for entry in value]

    return Key(default, f"a list of 1 to {MAX_LEVELS} {allowed}", parse)


def _size(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        height, width = value
        return [_integer(height, 1, MAX_CHANNELS), _integer(width, 1, MAX_CHANNELS)]
    return _integer(value, 1, MAX_CHANNELS)


def _block(blocks: Mapping[str, Any]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        name = value.removeprefix("UNetRes") if isinstance(value, str) else value
        if not isinstance(name, str) or name not in blocks:
            raise ValueError("not supported yet" if name in _UNSUPPORTED else "")
        return name

    return parse


KEYS: dict[str, Key] = {
    "sample_size": Key(None, "null, a positive integer or [height, width]", _size),
    "in_channels": _integer_key(3, 1, MAX_CHANNELS),
    "out_channels": _integer_key(3, 1, MAX_CHANNELS),
    "center_input_sample": _flag_key(False),
    "time_embedding_type": _choice_key("positional", "positional", "fourier", "learned"),
    "time_embedding_dim": _integer_key(None, 1, MAX_CHANNELS, null=True),
    "freq_shift": _number_key(0, "a number in [-1000, 1000]", lambda v: abs(v) <= 1000),
    "flip_sin_to_cos": _flag_key(True),
    "down_block_types": _list_key(
        ["DownBlock2D"] + ["AttnDownBlock2D"] * 3, _block(DOWN_BLOCKS), f"of {list(DOWN_BLOCKS)}"
    ),
    "mid_block_type": _choice_key("UNetMidBlock2D", "UNetMidBlock2D", None),
    "up_block_types": _list_key(
        ["AttnUpBlock2D"] * 3 + ["UpBlock2D"], _block(UP_BLOCKS), f"of {list(UP_BLOCKS)}"
    ),
    "block_out_channels": _list_key(
        [224, 448, 672, 896],
        lambda value: _integer(value, 1, MAX_CHANNELS),
        f"integers in [1, {MAX_CHANNELS}]",
    ),
    "layers_per_block": _integer_key(2, 1, 64),
    "mid_block_scale_factor": _number_key(1, "a number in [1e-6, 1e6]", lambda v: 1e-6 <= v <= 1e6),
    "downsample_padding": _choice_key(1, 0, 1),
    "downsample_type": _choice_key("conv", "conv", "resnet"),
    "upsample_type": _choice_key("conv", "conv", "resnet"),
    "dropout": _number_key(0.0, "a number in [0, 1)", lambda v: 0 <= v < 1),
    "act_fn": _choice_key("silu", *ACTIVATIONS),
    "attention_head_dim": _integer_key(8, 1, MAX_CHANNELS, null=True),
    "norm_num_groups": _integer_key(32, 1, MAX_CHANNELS),
    "attn_norm_num_groups": _integer_key(None, 1, MAX_CHANNELS, null=True),
    "norm_eps": _number_key(1e-5, "a number in (0, 1]", lambda v: 0 < v <= 1),
    "resnet_time_scale_shift": _choice_key("default", "default", "scale_shift"),
    "add_attention": _flag_key(True),
    "class_embed_type": _choice_key(None, None, "timestep", "identity"),
    "num_class_embeds": _integer_key(None, 1, MAX_CHANNELS, null=True),
    "num_train_timesteps": _integer_key(None, 1, MAX_CHANNELS, null=True),
}


def checked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """All keys with valid values, defaults filled in; keys that begin with "_" are dropped.

    Raises ConfigError naming key, value and what is allowed.
    """
    given = {key: value for key, value in config.items() if not str(key).startswith("_")}
    for key in given:
        if key not in KEYS:
            raise ConfigError(
                f"UNet2D: unknown key {key!r:.80}; allowed: {', '.join(sorted(KEYS))}"
            )
    result = {key: _parsed(key, given.get(key, spec.default)) for key, spec in KEYS.items()}
    _check_levels(result)
    _check_widths(result)
    return result


def _parsed(key: str, value: Any) -> Any:
    try:
        return KEYS[key].parse(value)
    except (ValueError, OverflowError) as error:
        reason = f" ({error})" if str(error) == "not supported yet" else ""
        _refuse(key, value, KEYS[key].allowed, reason)


def _check_levels(config: Mapping[str, Any]) -> None:
    levels = len(config["block_out_channels"])
    for key in ("down_block_types", "up_block_types"):
        if len(config[key]) != levels:
            _refuse(key, config[key], f"{levels} entries, one per entry of block_out_channels")


def _check_widths(config: Mapping[str, Any]) -> None:
    channels, groups = config["block_out_channels"], config["norm_num_groups"]
    if any(width % groups for width in channels):
        _refuse("norm_num_groups", groups, f"a common divisor of block_out_channels {channels}")
    mid_groups = config["attn_norm_num_groups"]
    if mid_groups is not None and channels[-1] % mid_groups:
        _refuse("attn_norm_num_groups", mid_groups, f"null or a divisor of {channels[-1]}")
    head_dim = config["attention_head_dim"]
    if head_dim is not None and head_dim > min(_attended(config), default=head_dim):
        _refuse("attention_head_dim", head_dim, f"null or at most {min(_attended(config))}")
    half = channels[0] // 2
    if config["time_embedding_type"] == "positional" and config["freq_shift"] >= max(half, 1):
        _refuse("freq_shift", config["freq_shift"], f"less than {half}, half the first width")
    if config["time_embedding_type"] == "learned" and config["num_train_timesteps"] is None:
        _refuse("num_train_timesteps", None, "an integer where time_embedding_type is 'learned'")


def _attended(config: Mapping[str, Any]) -> list[int]:
    """Channels of the levels that have attention."""
    widths = config["block_out_channels"]
    down = [
        w
        for w, name in zip(widths, config["down_block_types"], strict=True)
        if DOWN_BLOCKS[name][0]
    ]
    up = [
        w
        for w, name in zip(widths[::-1], config["up_block_types"], strict=True)
        if UP_BLOCKS[name][0]
    ]
    has_mid = config["mid_block_type"] is not None and config["add_attention"]
    return down + up + ([widths[-1]] if has_mid else [])


def _refuse(key: str, value: Any, allowed: str, reason: str = "") -> None:
    raise ConfigError(f"UNet2D: {key} = {value!r:.200}{reason}; allowed: {allowed}")
