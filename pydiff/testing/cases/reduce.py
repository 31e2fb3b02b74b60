"""Sums, maxima, squared error and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ... import backend, ops
from ..case import Args, Case, Draw, Rng, exact, linear, normwise, relative
from .shapes import LARGE, shape


def some_axes(rng: Rng, ndim: int) -> tuple[int, ...] | int | None:
    """Several axes, one counted from the end, or all."""
    chosen = tuple(int(i) for i in range(ndim) if rng.random() < 0.5)
    return chosen or (None if not ndim or rng.random() < 0.5 else -1)


def reduction(kind: str = "normal") -> Callable[[Rng], Args]:
    def draw(rng: Rng) -> Args:
        dims = shape(rng)
        return {"x": Draw(*dims, kind=kind), "axis": some_axes(rng, len(dims))}

    return draw


def reduced_length(args: Args) -> int:
    return max(1, args["x"].size)


def with_maximum(args: Args) -> Args:
    with backend.use("reference"):
        y = backend.max(args["x"], args["axis"])
    return {"y": y, "dy": np.asarray(y / 3)}


AXES_EDGES = (
    {"x": Draw(1), "axis": 0},
    {"x": Draw(3, 4), "axis": ()},
    {"x": LARGE, "axis": None},
    {"x": LARGE, "axis": 0},
    {"x": LARGE, "axis": (0, 2)},
    {"x": LARGE, "axis": -1},
    {"x": Draw(2, 3, 2, 3, 2, 3, 2, 2), "axis": (1, 3, 6)},
)
AXES_BENCH = (
    {"x": Draw(16, 1024, 128), "axis": (0, 1)},
    {"x": Draw(16, 1024, 128), "axis": (1,)},
    {"x": Draw(16, 1024, 128), "axis": (2,)},
)
ROW_SHAPES = (Draw(0, 3), Draw(3, 0), Draw(1), LARGE, Draw(3, 20001))


def kept_or_not(rng: Rng) -> Args:
    return reduction()(rng) | {"keepdims": bool(rng.random() < 0.5)}


def equal_pair(rng: Rng) -> Args:
    dims = shape(rng)
    return {"a": Draw(*dims), "b": Draw(*dims)}


def softmax_pair(*dims: int) -> Args:
    return {"dy": Draw(*dims), "y": Draw(*dims, kind="rows")}


REDUCE = (
    Case("mean", kept_or_not, gradients=("x",)),
    Case("mse_loss", equal_pair, gradients=("a", "b")),
    Case(
        "sum",
        lambda rng: reduction()(rng) | {"scale": float(rng.uniform(0.1, 2))},
        linear(reduced_length),
        gradients=("x",),
        op=lambda x, axis, scale: ops.sum(x, axis),
        edges=(*AXES_EDGES, {"x": Draw(3, 0), "axis": 1}, {"x": Draw(0, 3), "axis": 1}),
        bench=AXES_BENCH,
    ),
    Case(
        "max",
        reduction("distinct"),
        exact,
        gradients=("x",),
        edges=(*AXES_EDGES, {"x": Draw(0, 3), "axis": 1}),
        bench=AXES_BENCH,
    ),
    Case(
        "max_backward",
        reduction(),
        relative(2),
        complete=with_maximum,
        edges=(*AXES_EDGES, {"x": Draw(4, 5, kind="zeros"), "axis": 1}),
        bench=AXES_BENCH,
    ),
    Case(
        "squared_error",
        lambda rng: equal_pair(rng) | {"scale": float(rng.uniform(0.1, 2))},
        lambda case, args, outputs, eps: [
            4 * (math.sqrt(args["a"].size) + 2) * eps * y for y in outputs
        ],
        edges=({"a": Draw(0), "b": Draw(0)}, {"a": LARGE, "b": LARGE}),
        bench=({"a": Draw(16, 32, 32, 3), "b": Draw(16, 32, 32, 3)},),
    ),
    Case(
        "softmax",
        lambda rng: {"x": Draw(*shape(rng, 1))},
        normwise(16),
        gradients=("x",),
        edges=tuple({"x": x} for x in ROW_SHAPES),
        bench=({"x": Draw(16, 256, 256)},),
    ),
    Case(
        "softmax_backward",
        lambda rng: softmax_pair(*shape(rng, 1)),
        normwise(32),
        edges=tuple(softmax_pair(*x.shape) for x in ROW_SHAPES if x.shape != (3, 0)),
        bench=(softmax_pair(16, 256, 256),),
    ),
)
