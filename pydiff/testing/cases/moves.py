"""Resampling, moving data, optimiser updates and random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ..case import (
    DTYPE,
    Args,
    Array,
    Case,
    Draw,
    Rng,
    exact,
    linear,
    normwise,
    relative,
    rounded_once,
)
from .shapes import EMPTY, LARGE, shape, size


def images(rng: Rng) -> Args:
    dims = (size(rng, 3), size(rng, 7), size(rng, 7), size(rng))
    return {"x": Draw(*dims), "factor": int(rng.integers(1, 4)), "scale": 0.7}


def windows(rng: Rng) -> Args:
    args = images(rng)
    n, h, w, c = args["x"].shape
    return args | {"x": Draw(n, h * args["factor"], w * args["factor"], c)}


def without_scale(args: Args) -> Args:
    return {name: value for name, value in args.items() if name != "scale"}


def concatenation(rng: Rng) -> Args:
    dims = list(shape(rng, 1))
    axis = int(rng.integers(len(dims)))
    parts = [Draw(*dims[:axis], size(rng, 9), *dims[axis + 1 :]) for _ in range(rng.integers(1, 4))]
    return {"arrays": parts, "axis": axis - len(dims) if rng.random() < 0.5 else axis}


def two_parts(rng: Rng) -> Args:
    args = concatenation(rng)
    return {"a": args["arrays"][0], "b": args["arrays"][-1], "axis": args["axis"]}


def padding(rng: Rng) -> Args:
    dims = shape(rng)
    widths = [tuple(int(n) for n in rng.integers(0, 3, 2)) for _ in dims]
    return {"x": Draw(*dims), "widths": widths, "value": float(rng.choice([0.0, -1.5]))}


def table(rng: Rng) -> Args:
    rows = size(rng)
    return {
        "table": Draw(rows, *shape(rng, 0, 2)),
        "index": rng.integers(0, rows, shape(rng, 0, 3)),
    }


def scattered(rng: Rng) -> Args:
    rows = size(rng)
    index = rng.integers(0, rows, shape(rng, 0, 3))
    return {"dy": Draw(*index.shape, *shape(rng, 0, 2)), "index": index, "rows": rows}


def reshaped(rng: Rng) -> Args:
    dims = shape(rng)
    return {"x": Draw(*dims), "shape": (-1, *dims[:1]) if dims else (1, 1)}


def transposed(rng: Rng) -> Args:
    dims = shape(rng)
    return {"x": Draw(*dims), "axes": tuple(int(i) for i in rng.permutation(len(dims)))}


def broadcasted(rng: Rng) -> Args:
    full = shape(rng)
    dims = tuple(n if rng.random() < 0.5 else 1 for n in full)[int(rng.integers(0, 2)) :]
    return {"x": Draw(*dims), "shape": full}


def sliced(rng: Rng) -> Args:
    step = int(rng.choice([-2, -1, 1, 2]))
    index: Any = (slice(None, None, step), None, ..., int(rng.integers(-3, 3)))
    return {"x": Draw(size(rng, 7), *shape(rng, 0, 2), 3), "index": index}


def parameters(*shapes: tuple[int, ...], step: int = 3, average: bool = True) -> Args:
    args: Args = {name: [Draw(*shape) for shape in shapes] for name in "pgme"}
    args["v"] = [Draw(*shape, kind="positive") for shape in shapes]
    options = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    args |= options | {"step": step, "scale": 0.7, "decay": 0.9}
    return args if average else args | {"e": None}


def averaged(*shapes: tuple[int, ...]) -> Args:
    e, p = ([Draw(*shape) for shape in shapes] for _ in "ep")
    return {"e": e, "p": p, "decay": 0.99}


def squared(*shapes: tuple[int, ...]) -> Args:
    return {"x": [Draw(*shape) for shape in shapes]}


def combined(*dims: int, terms: int = 2, images: int = 1) -> Args:
    c = np.random.default_rng(terms).standard_normal((terms, images))
    return {
        "c": c[:, 0].tolist() if images == 1 and terms % 2 else c,
        "x": [Draw(*dims) for _ in range(terms)],
    }


def combinations(rng: Rng) -> Args:
    dims = shape(rng, 1)
    return combined(*dims, terms=int(rng.integers(1, 5)), images=int(rng.choice([1, dims[0]])))


def some_shapes(rng: Rng) -> list[tuple[int, ...]]:
    return [shape(rng) for _ in range(rng.integers(1, 5))]


def in_double(case: Case, args: Args, outputs: list[Array], eps: float) -> list[Array]:
    """A sum of float64 terms that are all positive: `linear`'s bound."""
    factor = 4 * (math.sqrt(sum(x.size for x in args["x"])) + 1) * np.finfo(np.float64).eps
    return [factor * np.abs(y) for y in outputs]


MANY = [(n,) for n in (1, 16384, 0, 16385, 3, 40_000, 0)]  # around the tasks of 16384 elements


def counters(rng: Rng) -> Args:
    seed, image, step = int(rng.integers(2**63)), int(rng.integers(2**31)), int(rng.integers(2**31))
    return numbers(seed, image, step, int(rng.integers(8)), size(rng, 5), int(rng.integers(70)))


def numbers(seed: int, first_image: int, step: int, stream: int, images: int, n: int) -> Args:
    return {
        "seed": seed,
        "first_image": first_image,
        "step": step,
        "stream": stream,
        "images": images,
        "n": n,
        "dtype": DTYPE,
    }


COUNTER_EDGES = (
    numbers(0, 0, 0, 0, 0, 5),
    numbers(0, 0, 0, 0, 3, 0),
    numbers(2**64 - 1, 2**32 - 2, 2**32 - 1, 2**32 - 1, 2, 9),
    numbers(7, 0, 1, 2, 3, 40001),
)
IMAGE_BENCH = ({"x": Draw(16, 16, 16, 256), "factor": 2}, {"x": Draw(1, 16, 16, 256), "factor": 2})
POOL_BENCH = ({"x": Draw(16, 32, 32, 128), "factor": 2},)
JOIN = {"arrays": [Draw(16, 32, 32, 128), Draw(16, 32, 32, 256)], "axis": -1}

MOVES = (
    Case(
        "upsample_nearest",
        images,
        relative(1),
        gradients=("x",),
        op=lambda x, factor, scale: ops.upsample_nearest(x, factor),
        edges=({"x": Draw(0, 3, 3, 2)}, {"x": Draw(2, 3, 0, 2)}, {"x": Draw(3, 9, 20, 67)}),
        bench=IMAGE_BENCH,
    ),
    Case(
        "sum_pool",
        windows,
        linear(lambda args: args.get("factor", 2) ** 2),
        edges=({"x": Draw(0, 4, 4, 2)}, {"x": Draw(2, 4, 0, 2)}, {"x": Draw(3, 18, 40, 67)}),
        bench=POOL_BENCH,
    ),
    Case("avg_pool2d", lambda rng: without_scale(windows(rng)), gradients=("x",)),
    Case(
        "concat",
        concatenation,
        exact,
        edges=({"arrays": [Draw(0, 3), Draw(2, 3)], "axis": 0}, {"arrays": [LARGE, LARGE]}),
        bench=(JOIN,),
    ),
    Case(
        "concat",
        two_parts,
        gradients=("a", "b"),
        op=lambda a, b, axis: ops.concat([a, b], axis),
    ),
    Case(
        "pad",
        padding,
        exact,
        gradients=("x",),
        edges=(
            {"x": Draw(), "widths": ()},
            {"x": Draw(0, 2), "widths": [(1, 2), (0, 0)]},
            {"x": LARGE, "widths": [(1, 0), (0, 2), (3, 1)]},
        ),
        bench=({"x": Draw(16, 32, 32, 128), "widths": [(0, 0), (0, 1), (0, 1), (0, 0)]},),
    ),
    Case(
        "contiguous",
        lambda rng: {"x": Draw(*shape(rng))},
        exact,
        edges=tuple({"x": x} for x in (*EMPTY, LARGE)),
        bench=({"x": Draw(16, 32, 32, 128)},),
    ),
    Case(
        "gather",
        table,
        exact,
        gradients=("table",),
        edges=(
            {"table": Draw(4, 3), "index": np.zeros((0, 2), int)},
            {"table": Draw(4, 0), "index": np.array([[3, 0]])},
            {"table": Draw(300, 131), "index": np.arange(600) % 300},
        ),
        bench=({"table": Draw(1000, 512), "index": np.arange(0, 1000, 7)},),
    ),
    Case(
        "scatter_add",
        scattered,
        linear(lambda args: args["index"].size),
        edges=(
            {"dy": Draw(0, 3), "index": np.zeros(0, int), "rows": 4},
            {"dy": Draw(600, 131), "index": np.arange(600) % 7, "rows": 300},
        ),
        bench=({"dy": Draw(143, 512), "index": np.arange(0, 1000, 7), "rows": 1000},),
    ),
    Case("reshape", reshaped, gradients=("x",)),
    Case("transpose", transposed, gradients=("x",)),
    Case("broadcast_to", broadcasted, gradients=("x",)),
    Case("getitem", sliced, gradients=("x",)),
)

UPDATES = (
    Case(
        "adamw",
        lambda rng: parameters(
            *some_shapes(rng), step=int(rng.integers(1, 1000)), average=bool(rng.integers(2))
        ),
        normwise(16),
        in_place=("p", "m", "v", "e"),
        edges=(parameters(), parameters((0,)), parameters(*MANY, step=1)),
        bench=(parameters((1_000_000,)), parameters(*[(1000,)] * 300)),
    ),
    Case(
        "ema",
        lambda rng: averaged(*some_shapes(rng)),
        normwise(4),
        in_place=("e",),
        edges=(averaged(), averaged((0,)), averaged(*MANY)),
        bench=(averaged((1_000_000,)),),
    ),
    Case(
        "sum_of_squares",
        lambda rng: squared(*some_shapes(rng)),
        in_double,
        edges=(squared(), squared((0,)), squared(*MANY)),
        bench=(squared((1_000_000,)),),
        wide=True,
    ),
    Case(
        "linear_combination",
        combinations,
        rounded_once,
        edges=(combined(), combined(0, 3), combined(2, 40_000, terms=5, images=2), combined(513)),
        bench=(combined(16, 32, 32, 3, terms=3),),
    ),
    Case(
        "uniform",
        counters,
        relative(0.5),
        edges=COUNTER_EDGES,
        bench=(numbers(1, 0, 0, 0, 16, 3072),),
    ),
    Case(
        "normal",
        counters,
        rounded_once,
        edges=COUNTER_EDGES,
        bench=(numbers(1, 0, 0, 0, 16, 3072),),
    ),
)
