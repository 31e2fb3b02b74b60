"""Which parameters a model had: plans are copies, and must know when they have become old."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from ..autograd.arrays import fingerprint


def parameters_of(model: Any) -> list[Any]:
    """The parameters of a module; none of any other callable."""
    return list(model.parameters()) if hasattr(model, "parameters") else []


@dataclass(frozen=True)
class Parameters:
    """For each parameter: its array, and a hash of its version and a sample of its elements."""

    states: tuple[tuple[Any, int], ...]

    @classmethod
    def of(cls, model: Any) -> Parameters:
        """The parameters of `model` as they are now."""
        found = parameters_of(model)
        return cls(tuple((weakref.ref(p.data), fingerprint(p.data, p.version)) for p in found))

    def are_those_of(self, model: Any) -> bool:
        """Whether `model` has the same arrays with the same contents now."""
        now = Parameters.of(model).states
        return len(now) == len(self.states) and all(
            a[0]() is b[0]() and a[1] == b[1] for a, b in zip(self.states, now, strict=True)
        )
