"""Which implementation of the contract is active: `cpu` (native kernels) or `reference` (NumPy)."""

from __future__ import annotations

import importlib.util
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ..errors import ConfigError

NAMES = ("cpu", "reference")

_active: ModuleType | None = None


class _Tracing(threading.local):
    """Per thread: what stands in for the active implementation."""

    recorder: Any = None


_tracing = _Tracing()


def active() -> Any:
    """The active implementation: a module that has every function of the contract, unchecked."""
    if _tracing.recorder is not None:
        return _tracing.recorder
    return _active if _active is not None else _choose()


def implementation() -> ModuleType:
    """The active implementation itself, also where this thread records its calls."""
    return _active if _active is not None else _choose()


def name() -> str:
    """Name of the active implementation, "cpu" or "reference"."""
    return implementation().__name__.rpartition(".")[2]


@contextmanager
def tracing(recorder: Any) -> Iterator[None]:
    """Send the calls of this thread to `recorder`, which has every function of the contract."""
    before, _tracing.recorder = _tracing.recorder, recorder
    try:
        yield
    finally:
        _tracing.recorder = before


def select(name: str) -> None:
    """Make `name` ("cpu" or "reference") the implementation of this process from now on.

    Raises ConfigError for another name, ImportError where the native module cannot be loaded.
    """
    global _active
    if name not in NAMES:
        raise ConfigError(f"backend {name!r} does not exist; allowed: {', '.join(NAMES)}")
    _active = importlib.import_module(f"{__package__}.{name}")


@contextmanager
def use(name: str) -> Iterator[None]:
    """Select `name` for the duration of a `with` block (for the whole process, not one thread)."""
    global _active
    before = _active
    select(name)
    try:
        yield
    finally:
        _active = before


def _choose() -> ModuleType:
    """`PYDIFF_BACKEND`, else cpu; reference with a warning where no native module was built."""
    wanted = os.environ.get("PYDIFF_BACKEND", "")
    if not wanted and importlib.util.find_spec("pydiff._native") is None:
        wanted = "reference"
        warnings.warn(
            "pydiff: the native module is missing, so everything runs on the slow NumPy reference; "
            "reinstall pydiff with a C++ compiler, or set PYDIFF_BACKEND=reference to accept this",
            RuntimeWarning,
            stacklevel=2,
        )
    select(wanted or "cpu")
    assert _active is not None
    return _active
