"""From a graph to a native plan: every call is made once on placeholders and recorded, not run."""

from __future__ import annotations

import math
import mmap
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _native
from ..errors import PlanError
from .calls import HOW
from .graph import Array, Buffer, Graph, Node, Shape, View
from .memory import Lifetime, place
from .program import Instruction, Program
from .weights import WeightStore

_ARENA, _NULL = -1, -2  # spaces of native relocations


def lower(graph: Graph, store: WeightStore, exact: bool) -> Program:
    """The native plan of a graph. Raises PlanError for calls that no plan can hold."""
    lowering = Lowering(graph, store, exact)
    for node in graph.nodes:
        lowering.lower(node)
    return lowering.program()


def untouched(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Addresses for an array that nobody reads or writes: the system gives them no memory."""
    count = math.prod(shape)
    pages = mmap.mmap(-1, max(count * dtype.itemsize, 1))
    return np.frombuffer(pages, dtype, count).reshape(shape)


class Lowering:
    """A graph on its way: where its arrays lie for now, and the calls recorded so far."""

    def __init__(self, graph: Graph, store: WeightStore, exact: bool) -> None:
        self.graph = graph
        self.store = store
        self.exact = exact
        self.recording = _native.Recording()
        self.instructions: list[Instruction] = []
        self.externals = [*graph.inputs.values(), graph.output.buffer]
        self.memory: dict[Buffer, Array] = {}  # placeholders, never touched: the system gives none
        self.constants: dict[Any, Array] = {}
        self.blank: Array = np.empty(0, np.float32)
        self.shapes_only: list[Array] = []  # arrays that a kernel gets but does not read
        self.uses = graph.uses()
        self.rows: dict[Buffer, int] = {}  # of index inputs: how many rows their table has

    # ---- arrays

    def array(self, value: Any) -> Any:
        """The placeholder or constant behind a view; None stays None."""
        if value is None:
            return None
        buffer = value.buffer
        if buffer.array is not None:
            key = (buffer, "copy")
            if key not in self.constants:
                self.constants[key] = self.store.copied(buffer)
            return self.constants[key].reshape(value.shape)
        return value.of(self._place_for(buffer))

    def if_used(self, view: View) -> Any:
        """The placeholder of a result that a kernel may leave out; None where nobody reads it."""
        return self.array(view) if view.buffer in self.uses else None

    def packed(self, view: View, algorithm: int) -> Array:
        key = (view.buffer, algorithm)
        if key not in self.constants:
            self.constants[key] = self.store.packed(view.buffer, algorithm)
        return self.constants[key]

    def shape_of(self, view: View, shape: Shape) -> Array:
        """An array for a weight that a kernel gets packed: only its shape counts, so all of them
        lie in one piece of memory."""
        size = math.prod(shape)
        if self.blank.size < size or self.blank.dtype != view.dtype:
            self.blank = untouched((size,), view.dtype)
        self.shapes_only.append(self.blank[:size].reshape(shape))
        return self.shapes_only[-1]

    def scratch(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return self._place_for(Buffer(shape, dtype))

    def _place_for(self, buffer: Buffer) -> Array:
        if buffer not in self.memory:
            self.memory[buffer] = untouched(buffer.shape, buffer.dtype)
        return self.memory[buffer]

    def reuse(self, node: Node, view: View) -> None:
        """Let the result lie where an argument ends its life: elementwise kernels allow that."""
        source, target = view.buffer, node.outs[0].buffer
        free = source.is_result and target is not self.graph.output.buffer and view.is_whole
        same = node.outs[0].is_whole and view.shape == node.outs[0].shape
        if free and same and self.uses[source][-1][0] is node and target not in self.memory:
            self.memory[target] = self._place_for(source).reshape(target.shape)

    # ---- calls

    def lower(self, node: Node) -> None:
        if any(0 in out.shape for out in node.outs):
            raise PlanError(f"{node.op} has an empty result {node.outs[0].shape}")
        how = HOW.get(node.op)
        if how is None:
            raise PlanError(f"{node.op} cannot be part of a plan; allowed: {', '.join(HOW)}")
        how(self, node)

    def call(
        self, node: Node, kernel: Callable[..., None], *args: Any, flops: int = 0, name: str = ""
    ) -> None:
        """Record one call; `name`: of the algorithm."""
        before = len(self.recording)
        self.recording.start()
        try:
            kernel(*args)
        finally:
            self.recording.stop()
        if len(self.recording) != before + 1:
            raise PlanError(f"{node.op} made {len(self.recording) - before} calls, not one")
        unread = {id(array) for array in self.shapes_only}
        arrays = [a for a in args if isinstance(a, np.ndarray) and id(a) not in unread]
        touched = sum(a.nbytes for a in arrays)
        shape, fused = node.outs[0].shape, tuple(node.fused)
        self.instructions.append(Instruction(node.op, shape, name, flops, touched, fused))

    # ---- the native plan

    def program(self) -> Program:
        places = _Places(self.memory, self.externals)
        lives = places.lifetimes(self.recording.pointers())
        offsets, arena_bytes = place(list(lives.values()))
        starts = dict(zip(lives, offsets, strict=True))
        ignored = {_address(array) for array in self.shapes_only}
        relocations = [
            places.relocation(i, k, pointer, starts, ignored)
            for i, pointers in enumerate(self.recording.pointers())
            for k, pointer in enumerate(pointers)
        ]
        native = _native.Plan(
            self.recording,
            [r for r in relocations if r is not None],
            arena_bytes,
            [self._place_for(buffer) for buffer in self.externals],
            [self.rows.get(buffer, 0) for buffer in self.externals],
            list(self.constants.values()),
        )
        return Program(
            native,
            tuple(self.instructions),
            arena_bytes,
            sum(life.size for life in lives.values()),
            tuple(self.constants.values()),
            tuple((lives[start], starts[start]) for start in lives),
        )


class _Places:
    """Which buffer a recorded pointer leads into. Arena buffers are known by their address."""

    def __init__(self, memory: dict[Buffer, Array], externals: list[Buffer]) -> None:
        external = {buffer: i for i, buffer in enumerate(externals)}
        spans = {
            _address(array): (array.nbytes, external.get(buffer, _ARENA))
            for buffer, array in memory.items()
        }
        self.begins = sorted(spans)
        self.spans = [spans[begin] for begin in self.begins]

    def find(self, pointer: int) -> tuple[int, int] | None:
        """(address of the buffer, space), or None for memory that stays where it is."""
        i = bisect_right(self.begins, pointer) - 1
        if i < 0 or pointer >= self.begins[i] + self.spans[i][0]:
            return None
        return self.begins[i], self.spans[i][1]

    def lifetimes(self, calls: list[list[int]]) -> dict[int, Lifetime]:
        """By address, of every buffer in the arena: from the first call that touches it to the
        last."""
        touched: dict[int, list[int]] = {}
        for i, pointers in enumerate(calls):
            for pointer in pointers:
                found = self.find(pointer)
                if found is not None and found[1] == _ARENA:
                    touched.setdefault(found[0], []).append(i)
        sizes = dict(zip(self.begins, (size for size, _ in self.spans), strict=True))
        return {begin: Lifetime(sizes[begin], at[0], at[-1]) for begin, at in touched.items()}

    def relocation(
        self, call: int, index: int, pointer: int, starts: dict[int, int], ignored: set[int]
    ) -> tuple[int, int, int, int] | None:
        if pointer in ignored:
            return call, index, _NULL, 0
        found = self.find(pointer)
        if found is None:
            return None
        begin, space = found
        offset = pointer - begin + (starts[begin] if space == _ARENA else 0)
        return call, index, space, offset


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
