"""How each function of the backend becomes calls of native kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _native
from ..backend.axes import kept, runs_of, split
from .fuse import is_linear
from .graph import Array, Buffer, Node, Shape, View

if TYPE_CHECKING:
    from .lower import Lowering

_ACTIVATIONS = {"none": 0, "silu": 1}
_ALGORITHMS = {0: "direct", 2: "F(2x2)", 4: "F(4x4)"}


def _unary(low: Lowering, node: Node) -> None:
    low.reuse(node, node.args["x"])
    _rowwise(low, node)


def _rowwise(low: Lowering, node: Node) -> None:
    low.call(node, getattr(_native, node.op), low.array(node.args["x"]), low.array(node.outs[0]))


def _binary(low: Lowering, node: Node) -> None:
    a, b = node.args["a"], node.args["b"]
    for view in (a, b):
        low.reuse(node, view)
    low.call(node, getattr(_native, node.op), low.array(a), low.array(b), low.array(node.outs[0]))


def _conv2d(low: Lowering, node: Node) -> None:
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


def _matmul(low: Lowering, node: Node) -> None:
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


def _linear(low: Lowering, node: Node) -> tuple[Any, ...]:
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


def _flat_batch(low: Lowering, node: Node, view: View, batch: Shape) -> Array:
    """(..., m, n) as (1, m, n) where one matrix serves all, else (prod(batch), m, n)."""
    x, matrix = low.array(view), view.shape[-2:]
    if view.size == math.prod(matrix):
        return np.asarray(x.reshape(1, *matrix))
    if view.shape[:-2] != batch:
        full = low.scratch(batch + matrix, view.dtype)
        low.call(node, _native.strided_copy, np.broadcast_to(x, batch + matrix), full)
        x = full
    return np.asarray(x.reshape(-1, *matrix))


def _group_norm(low: Lowering, node: Node) -> None:
    args, (y, *statistics) = node.args, node.outs
    arrays = [low.array(args[name]) for name in ("x", "weight", "bias")]
    outs = [low.array(y), *map(low.if_used, statistics)]
    options = args["groups"], args["eps"], _ACTIVATIONS[args["act"]]
    low.call(node, _native.group_norm, *arrays, *outs, *options)


def _layer_norm(low: Lowering, node: Node) -> None:
    args, (y, *statistics) = node.args, node.outs
    arrays = [low.array(args[name]) for name in ("x", "weight", "bias")]
    outs = [low.array(y), *map(low.if_used, statistics)]
    low.call(node, _native.layer_norm, *arrays, *outs, args["eps"])


def _attention(low: Lowering, node: Node) -> None:
    args, (o, lse) = node.args, node.outs
    arrays = [low.array(args[name]) for name in "qkv"]
    outs = low.array(o), low.if_used(lse)
    flops = 4 * args["q"].size * args["k"].shape[1]
    low.call(node, _native.attention, *arrays, *outs, args["heads"], args["scale"], flops=flops)


def _resample(low: Lowering, node: Node) -> None:
    x, y = low.array(node.args["x"]), low.array(node.outs[0])
    low.call(node, getattr(_native, node.op), x, y, node.args["factor"], node.args["scale"])


def _copy(low: Lowering, node: Node) -> None:
    low.call(node, _native.strided_copy, low.array(node.args["x"]), low.array(node.outs[0]))


def _pad(low: Lowering, node: Node) -> None:
    y = low.array(node.outs[0])
    value = Buffer((1,), y.dtype, array=np.full(1, node.args["value"], y.dtype))
    fill = np.broadcast_to(low.array(View.whole(value)).reshape((1,) * y.ndim), y.shape)
    low.call(node, _native.strided_copy, fill, y)
    sides = zip(node.args["x"].shape, node.args["widths"], strict=True)
    inside = (..., *(slice(before, before + n) for n, (before, _) in sides))
    low.call(node, _native.strided_copy, low.array(node.args["x"]), y[inside])


def _gather(low: Lowering, node: Node) -> None:
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


def _reduce(low: Lowering, node: Node) -> None:
    x, runs = node.args["x"], runs_of(node.args["axes"]) or [(0, 0)]
    array, shape = low.array(x), x.shape
    for i, run in enumerate(runs):
        last = i + 1 == len(runs)
        sizes, shape = split(shape, run), kept(shape, run)
        y = low.array(node.outs[0]) if last else low.scratch(shape, x.dtype)
        scale = [] if node.op == "max" else [node.args["scale"] if last else 1.0]
        low.call(node, getattr(_native, node.op), array, y, *sizes, *scale)
        array = y


def _squared_error(low: Lowering, node: Node) -> None:
    a, b = low.array(node.args["a"]), low.array(node.args["b"])
    low.call(node, _native.squared_error, a, b, low.array(node.outs[0]), node.args["scale"])


def _sinusoids(low: Lowering, node: Node) -> None:
    t, frequency = low.array(node.args["t"]), low.array(node.args["frequency"])
    y = low.array(node.outs[0])
    low.call(node, _native.sinusoids, t, frequency, y, node.args["cosine_first"])


def _fourier(low: Lowering, node: Node) -> None:
    t, weight = low.array(node.args["t"]), low.array(node.args["weight"])
    low.call(node, _native.fourier, t, weight, low.array(node.outs[0]))


_UNARY = ["exp", "log", "sqrt", "sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh"]
HOW: dict[str, Callable[[Lowering, Node], None]] = {
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
