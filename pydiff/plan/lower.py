"""From a graph to a native plan: every call is made once on placeholders and recorded, not run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _native
from ..backend.axes import kept, runs_of, split
from ..errors import PlanError
from .fuse import is_linear
from .graph import Array, Buffer, Graph, Node, Shape, View
from .memory import Lifetime, place
from .program import Instruction, Program
from .weights import WeightStore, aligned

_ACTIVATIONS = {"none": 0, "silu": 1}
_ALGORITHMS = {0: "direct", 2: "F(2x2)", 4: "F(4x4)"}
_ARENA, _NULL = -1, -2  # spaces of native relocations


def lower(graph: Graph, store: WeightStore, exact: bool) -> Program:
    """The native plan of a graph. Raises PlanError for calls that no plan can hold."""
    lowering = _Lowering(graph, store, exact)
    for node in graph.nodes:
        lowering.lower(node)
    return lowering.program()


class _Lowering:
    def __init__(self, graph: Graph, store: WeightStore, exact: bool) -> None:
        self.graph = graph
        self.store = store
        self.exact = exact
        self.recording = _native.Recording()
        self.instructions: list[Instruction] = []
        self.externals = [*graph.inputs.values(), graph.output.buffer]
        self.memory: dict[Buffer, Array] = {}  # placeholders, never touched: the system gives none
        self.constants: dict[Any, Array] = {}
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
        """An array for a weight that a kernel gets packed: only its shape counts."""
        self.shapes_only.append(np.empty(shape, view.dtype))
        return self.shapes_only[-1]

    def scratch(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return self._place_for(Buffer(shape, dtype))

    def _place_for(self, buffer: Buffer) -> Array:
        if buffer not in self.memory:
            self.memory[buffer] = aligned(buffer.shape, buffer.dtype)
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
        how = _HOW.get(node.op)
        if how is None:
            raise PlanError(f"{node.op} cannot be part of a plan; allowed: {', '.join(_HOW)}")
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
            sum(array.nbytes for array in self.constants.values()),
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


# ---------------------------------------------------------------- how each function is called


def _unary(low: _Lowering, node: Node) -> None:
    low.reuse(node, node.args["x"])
    _rowwise(low, node)


def _rowwise(low: _Lowering, node: Node) -> None:
    low.call(node, getattr(_native, node.op), low.array(node.args["x"]), low.array(node.outs[0]))


def _binary(low: _Lowering, node: Node) -> None:
    a, b = node.args["a"], node.args["b"]
    for view in (a, b):
        low.reuse(node, view)
    low.call(node, getattr(_native, node.op), low.array(a), low.array(b), low.array(node.outs[0]))


def _conv2d(low: _Lowering, node: Node) -> None:
    args, y = node.args, node.outs[0]
    weight, (top, _, left, _) = args["weight"], args["padding"]
    kh, kw, ci, co = weight.shape
    (sh, sw), (_, ho, wo, _) = args["stride"], y.shape
    algorithm = 0 if low.exact else _native.conv2d_algorithm(ho, wo, ci, co, kh, kw, sh, sw)
    packed = None
    if weight.buffer.array is not None:
        packed, kernel = low.packed(weight, algorithm), low.shape_of(weight, weight.shape)
    else:
        kernel = low.array(weight)
    low.call(
        node,
        _native.conv2d,
        low.array(args["x"]),
        kernel,
        low.array(args["bias"]),
        low.array(y),
        *(sh, sw, top, left),
        algorithm,
        packed,
        low.array(args["add"]),
        low.array(args["residual"]),
        args["scale"],
        flops=2 * y.size * kh * kw * ci,
        name=_ALGORITHMS[algorithm],
    )


def _matmul(low: _Lowering, node: Node) -> None:
    args, c = node.args, node.outs[0]
    k = args["a"].shape[-2 if args["transpose_a"] else -1]
    if is_linear(node):
        arrays = _linear(low, node)
    else:
        batch = math.prod(c.shape[:-2])
        shape = (batch, *c.shape[-2:])
        arrays = (
            _flat_batch(low, node, args["a"], c.shape[:-2]),
            _flat_batch(low, node, args["b"], c.shape[:-2]),
            low.array(c).reshape(shape),
            None,
            None if args["residual"] is None else low.array(args["residual"]).reshape(shape),
        )
    a, b, out, packed, residual = arrays
    low.call(
        node,
        _native.matmul,
        *(a, b, low.array(args["bias"]), out, args["transpose_a"], args["transpose_b"]),
        *(packed, residual, args["scale"], _ACTIVATIONS[args["act"]]),
        flops=2 * c.size * k,
    )


def _linear(low: _Lowering, node: Node) -> tuple[Any, ...]:
    """a, b, c, packed b and residual of one tall product."""
    args, b = node.args, node.args["b"]
    a, c = _as_rows(args["a"]), _as_rows(node.outs[0])
    residual = None if args["residual"] is None else low.array(_as_rows(args["residual"]))
    if b.buffer.array is None or args["transpose_b"]:
        return low.array(a), low.array(b)[None], low.array(c), None, residual
    weight = low.shape_of(b, (1, *b.shape))
    return low.array(a), weight, low.array(c), low.packed(b, 0), residual


def _as_rows(view: View) -> View:
    """(..., n) as one matrix (1, rows, n)."""
    pitch, n, item = view.rows(), view.shape[-1], view.dtype.itemsize
    assert pitch is not None
    rows = view.size // n
    return View(view.buffer, view.offset, (1, rows, n), (rows * pitch, pitch, item))


def _flat_batch(low: _Lowering, node: Node, view: View, batch: Shape) -> Array:
    """(..., m, n) as (1, m, n) where one matrix serves all, else (prod(batch), m, n)."""
    x, matrix = low.array(view), view.shape[-2:]
    if view.size == math.prod(matrix):
        return np.asarray(x.reshape(1, *matrix))
    if view.shape[:-2] != batch:
        full = low.scratch(batch + matrix, view.dtype)
        low.call(node, _native.strided_copy, np.broadcast_to(x, batch + matrix), full)
        x = full
    return np.asarray(x.reshape(-1, *matrix))


def _group_norm(low: _Lowering, node: Node) -> None:
    args, (y, *statistics) = node.args, node.outs
    arrays = [low.array(args[name]) for name in ("x", "weight", "bias")]
    outs = [low.array(y), *map(low.if_used, statistics)]
    options = args["groups"], args["eps"], _ACTIVATIONS[args["act"]]
    low.call(node, _native.group_norm, *arrays, *outs, *options)


def _layer_norm(low: _Lowering, node: Node) -> None:
    arrays = [low.array(node.args[name]) for name in ("x", "weight", "bias")]
    outs = [low.array(out) for out in node.outs]
    low.call(node, _native.layer_norm, *arrays, *outs, node.args["eps"])


def _attention(low: _Lowering, node: Node) -> None:
    args, (o, lse) = node.args, node.outs
    arrays = [low.array(args[name]) for name in "qkv"]
    outs = low.array(o), low.if_used(lse)
    flops = 4 * args["q"].size * args["k"].shape[1]
    low.call(node, _native.attention, *arrays, *outs, args["heads"], args["scale"], flops=flops)


def _resample(low: _Lowering, node: Node) -> None:
    x, y = low.array(node.args["x"]), low.array(node.outs[0])
    low.call(node, getattr(_native, node.op), x, y, node.args["factor"], node.args["scale"])


def _copy(low: _Lowering, node: Node) -> None:
    low.call(node, _native.strided_copy, low.array(node.args["x"]), low.array(node.outs[0]))


def _pad(low: _Lowering, node: Node) -> None:
    y = low.array(node.outs[0])
    value = Buffer((1,), y.dtype, array=np.full(1, node.args["value"], y.dtype))
    fill = np.broadcast_to(low.array(View.whole(value)).reshape((1,) * y.ndim), y.shape)
    low.call(node, _native.strided_copy, fill, y)
    sides = zip(node.args["x"].shape, node.args["widths"], strict=True)
    inside = (..., *(slice(before, before + n) for n, (before, _) in sides))
    low.call(node, _native.strided_copy, low.array(node.args["x"]), y[inside])


def _gather(low: _Lowering, node: Node) -> None:
    table, index, y = node.args["table"], node.args["index"], node.outs[0]
    rows, width = table.shape[0], math.prod(table.shape[1:])
    if index.buffer.name:
        known = low.rows.get(index.buffer, rows)
        low.rows[index.buffer] = min(known, rows)
    low.call(
        node,
        _native.gather,
        low.array(table).reshape(rows, width),
        low.array(index),
        low.array(y).reshape(index.size, width),
    )


def _reduce(low: _Lowering, node: Node) -> None:
    x, runs = node.args["x"], runs_of(node.args["axes"]) or [(0, 0)]
    array, shape = low.array(x), x.shape
    for i, run in enumerate(runs):
        last = i + 1 == len(runs)
        sizes, shape = split(shape, run), kept(shape, run)
        y = low.array(node.outs[0]) if last else low.scratch(shape, x.dtype)
        scale = [] if node.op == "max" else [node.args["scale"] if last else 1.0]
        low.call(node, getattr(_native, node.op), array, y, *sizes, *scale)
        array = y


def _squared_error(low: _Lowering, node: Node) -> None:
    a, b = low.array(node.args["a"]), low.array(node.args["b"])
    low.call(node, _native.squared_error, a, b, low.array(node.outs[0]), node.args["scale"])


def _sinusoids(low: _Lowering, node: Node) -> None:
    t, frequency = low.array(node.args["t"]), low.array(node.args["frequency"])
    y = low.array(node.outs[0])
    low.call(node, _native.sinusoids, t, frequency, y, node.args["cosine_first"])


def _fourier(low: _Lowering, node: Node) -> None:
    t, weight = low.array(node.args["t"]), low.array(node.args["weight"])
    low.call(node, _native.fourier, t, weight, low.array(node.outs[0]))


_UNARY = ["exp", "log", "sqrt", "sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh"]
_HOW: dict[str, Callable[[_Lowering, Node], None]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), _binary),
    **dict.fromkeys(("softmax", "cast"), _rowwise),
    **dict.fromkeys(("sum", "max"), _reduce),
    **dict.fromkeys(("upsample_nearest", "sum_pool"), _resample),
    "attention": _attention,
    "contiguous": _copy,
    "conv2d": _conv2d,
    "fourier": _fourier,
    "gather": _gather,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "matmul": _matmul,
    "pad": _pad,
    "sinusoids": _sinusoids,
    "squared_error": _squared_error,
}
