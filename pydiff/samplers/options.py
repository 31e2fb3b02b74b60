"""Checks of samplers' options: each returns nothing, or raises a ConfigError."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigError


def check_number(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> None:
    """A number in [low, high]."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        raise ConfigError(f"{name} = {value!r}; allowed: a number in [{low:g}, {high:g}]")


def check_positive(name: str, value: Any) -> None:
    """A finite number > 0."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not 0.0 < value < math.inf:
        raise ConfigError(f"{name} = {value!r}; allowed: a number > 0")


def check_count(name: str, value: Any, low: int = 1, high: int | None = None) -> None:
    """An integer >= low, and at most `high`."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        allowed = f">= {low}" if high is None else f"in {low} .. {high}"
        raise ConfigError(f"{name} = {value!r}; allowed: an integer {allowed}")


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r}; allowed: True, False")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """One of some words."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} = {value!r}; allowed: {', '.join(choices)}")
