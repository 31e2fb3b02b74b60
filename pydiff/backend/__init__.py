"""Numeric functions on plain arrays, without gradients.

`spec` is the contract (checked functions, exported here); `reference` (NumPy) and `cpu` (native
kernels) implement it; `registry` chooses between them by `PYDIFF_BACKEND` and `use`.
"""

from . import registry, spec
from .registry import NAMES, name, select, use
from .spec import *  # noqa: F403

__all__ = ["NAMES", "name", "registry", "select", "spec", "use", *spec.__all__]
