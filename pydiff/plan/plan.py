"""Compiled plans: one call is one evaluation of a model, without Python between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import config
from ..errors import ConfigError
from .graph import Array
from .inputs import Signature
from .program import Instruction, Parts, Program, Timing, table


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A model compiled for one batch size and image size, with a copy of its weights.

    plan(x, t, **inputs) -> ndarray. The same kernels as the model's in one native call: no Python
    between them, memory planned beforehand, other Python threads run meanwhile, Ctrl-C ends it.
    A large batch of a network whose images are independent is cut into one share for each of the
    threads that were set when it was compiled; the bits are those of the whole.
    Immutable: any number of threads may share one. `print(plan)` shows its instructions.
    """

    _program: Program
    _signature: Signature
    _rebuild: Callable[[int], Plan]  # for another batch size
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _parts: Parts | None = None

    def __call__(self, x: Any, t: Any, **inputs: Any) -> np.ndarray:
        """The model's output for x, t and the keyword inputs that it was compiled with.

        x and other arrays of the shapes given to `compile`, t one number or one per image.
        Raises ShapeError naming `for_batch`, DtypeError, and what the model says of its inputs;
        KeyboardInterrupt on Ctrl-C.
        """
        return self._run(self._signature.arrays(x, t, inputs), None)

    def _run(self, arrays: list[Array], seconds: Array | None) -> np.ndarray:
        output = np.empty(self.output_shape, self.dtype)
        native, parts = self._program.native, self._parts
        if parts is None or seconds is not None or parts.count != config.num_threads():
            native.run([*arrays, output], seconds)
        else:
            native.run_parts([*arrays, output], parts.program.native, parts.count, parts.steps)
        return output

    @property
    def batch(self) -> int:
        """How many images go into one call."""
        return self._signature.shapes["x"][0]

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every input by name."""
        return dict(self._signature.shapes)

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The kernel calls in the order of their execution."""
        return self._program.instructions

    @property
    def flops(self) -> int:
        """Multiplications and additions of one call, convolutions counted as direct ones."""
        return sum(instruction.flops for instruction in self.instructions)

    @property
    def peak_bytes(self) -> int:
        """Memory of one call beside inputs and output: the arena and the weights.

        Kernels take some scratch on top; each further thread in a call adds an arena.
        """
        return self.arena_bytes + self.weight_bytes

    @property
    def arena_bytes(self) -> int:
        """Memory of all intermediate results, which share it by turns."""
        whole, parts = self._program.arena_bytes, self._parts
        return whole if parts is None else max(whole, parts.count * parts.program.arena_bytes)

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights and other constants, shared with plans from `for_batch`."""
        return sum(array.nbytes for array in self._program.weights)

    def for_batch(self, n: int) -> Plan:
        """A plan of the same model for n images; they share the weights.

        Raises PlanError if the model's weights have changed since, or an input has no image axis.
        """
        if type(n) is not int or n < 1:
            raise ConfigError(f"for_batch: n = {n!r}; allowed: integers >= 1")
        if n == self.batch:
            return self
        return self._rebuild(n)

    def profile(self, x: Any, t: Any, *, repeats: int = 5, **inputs: Any) -> list[Timing]:
        """The time of every instruction, the least of `repeats` calls after one to warm up."""
        arrays = self._signature.arrays(x, t, inputs)
        times = np.empty((repeats + 1, len(self.instructions)))
        for seconds in times:
            self._run(arrays, seconds)
        best = times[1 if repeats else 0 :].min(axis=0)
        return [Timing(*pair) for pair in zip(self.instructions, best.tolist(), strict=True)]

    def __str__(self) -> str:
        return table(self.instructions, self.arena_bytes, self.weight_bytes)

    def __repr__(self) -> str:
        return (
            f"<pydiff.Plan x {self.input_shapes['x']} -> {self.output_shape} {self.dtype}, "
            f"{len(self.instructions)} instructions, {self.flops / 1e9:.3g} GFLOP, "
            f"{self.peak_bytes / 2**20:.1f} MiB>"
        )
