"""The inputs of a plan: how a call's arguments become the arrays that it was compiled for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DtypeError, PlanError, ShapeError
from .graph import Array

Rules = Callable[..., Mapping[str, Any]]

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))


@dataclass(frozen=True)
class AnyInputs:
    """Rules for models that bring none: numbers and arrays as they are, integers as int64."""

    names: tuple[str, ...]

    def __call__(self, x: Any, t: Any, **inputs: Any) -> dict[str, Array]:
        given = {"x": x, "t": t, **inputs}
        if given.keys() != set(self.names):
            raise PlanError(f"inputs {', '.join(given)}; this plan takes {', '.join(self.names)}")
        return {name: _plain(name, given[name]) for name in self.names}


def _plain(name: str, value: Any) -> Array:
    array = np.ascontiguousarray(_data(value)).reshape(np.shape(_data(value)))
    if array.dtype.kind in "iu":
        array = array.astype(np.int64)
    if array.dtype not in _DTYPES:
        raise DtypeError(
            f"plan: {name} has dtype {array.dtype}; allowed: float32, float64, integers"
        )
    return array


def _data(value: Any) -> Any:
    """The array of a Tensor, anything else as it is."""
    return value.numpy() if hasattr(value, "numpy") else value


@dataclass(frozen=True)
class Signature:
    """Names, shapes and dtypes of a plan's inputs, and the rules by which arguments get there."""

    rules: Rules
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype[Any]]

    def arrays(self, x: Any, t: Any, inputs: Mapping[str, Any]) -> list[Array]:
        """The arguments as contiguous arrays, in order. Raises ShapeError and DtypeError, and what
        the rules of the model raise."""
        given = self.rules(x, t, **inputs)
        if given.keys() != self.shapes.keys():
            missing, extra = self.shapes.keys() - given.keys(), given.keys() - self.shapes.keys()
            raise PlanError(
                f"plan: inputs missing: {sorted(missing)}, unexpected: {sorted(extra)}; it was "
                f"compiled for {', '.join(self.shapes)}"
            )
        return [self._array(name, _data(given[name])) for name in self.shapes]

    def _array(self, name: str, value: Any) -> Array:
        array, shape, dtype = np.asarray(value), self.shapes[name], self.dtypes[name]
        if array.shape != shape:
            raise ShapeError(
                f"plan: {name} has shape {array.shape}, but the plan was compiled for {shape}; "
                "plan.for_batch(n) gives one for n images, pydiff.compile one for another size"
            )
        if array.dtype.kind == "f" and dtype.kind != "f":
            raise DtypeError(f"plan: {name} has dtype {array.dtype}; allowed: integers")
        if dtype.kind == "i":  # a private copy: checked once, then used as an index
            return np.array(array, dtype, order="C")
        return np.ascontiguousarray(array, dtype).reshape(shape)
