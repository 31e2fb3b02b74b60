"""Checks of options by name: each returns the value, or raises a ConfigError that says what may be.

NumPy's numbers are welcome and become Python's own.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from .errors import ConfigError


def is_integer(value: Any) -> bool:
    """A whole number; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """A real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_count(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """An integer >= low, and at most `high`."""
    if not is_integer(value) or value < low or (high is not None and value > high):
        allowed = f">= {low}" if high is None else f"in {low} .. {high}"
        raise ConfigError(f"{name} = {value!r}; allowed: an integer {allowed}")
    return int(value)


def check_number(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """A number in [low, high]."""
    if not is_number(value) or not low <= value <= high:
        raise ConfigError(f"{name} = {value!r}; allowed: a number in [{low:g}, {high:g}]")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """A finite number > 0."""
    if not is_number(value) or not 0.0 < value < math.inf:
        raise ConfigError(f"{name} = {value!r}; allowed: a number > 0")
    return float(value)


def check_finite(name: str, value: Any) -> float:
    """A finite number."""
    if not is_number(value) or not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r}; allowed: a finite number")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r}; allowed: True, False")
    return value


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} = {value!r}; allowed: {', '.join(choices)}")
    return value
