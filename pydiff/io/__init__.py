"""Files: weights, configurations, images. Knows arrays, not modules."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "WeightsFile": "weights",
    "read_weights": "weights",
    "write_weights": "weights",
    "read_config": "config",
    "write_config": "config",
    "atomic_write": "atomic",
    "atomic_folder": "atomic",
    "WriteError": "atomic",
    "load_image": "images",
    "save_images": "images",
    "save_grid": "images",
    "save_animation": "images",
    "read_metadata": "images",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load submodules on first use, so that importing pydiff stays cheap (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'pydiff.io' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
