"""Matrix products and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ..case import Args, Case, Draw, Rng, convolved, linear
from .shapes import broadcast, shape, size


def matmul(rng: Rng) -> Args:
    batch_a, batch_b = broadcast(rng)
    m, n, k = size(rng), size(rng), size(rng)
    args = product(batch_a[-2:], batch_b[-2:], m, n, k, *(rng.random(2) < 0.5))
    return args | {"bias": Draw(n) if rng.random() < 0.5 else None}


def finished(args: Args) -> Args:
    """The product with everything that can follow it in the same pass."""
    m, n = args["a"].shape[-2], args["b"].shape[-1]
    batch = np.broadcast_shapes(args["a"].shape[:-2], args["b"].shape[:-2])
    return args | {"residual": Draw(*batch, m, n), "scale": 0.5, "act": "silu"}


def product(
    batch_a: tuple[int, ...],
    batch_b: tuple[int, ...],
    m: int,
    n: int,
    k: int,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Args:
    return {
        "a": Draw(*batch_a, *((k, m) if transpose_a else (m, k))),
        "b": Draw(*batch_b, *((n, k) if transpose_b else (k, n))),
        "transpose_a": bool(transpose_a),
        "transpose_b": bool(transpose_b),
    }


def transposed_product(
    a: Any, b: Any, transpose_a: bool, transpose_b: bool, bias: Any = None
) -> Any:
    """The op for the arguments of the backend's matmul."""
    y = ops.matmul(swapped(a) if transpose_a else a, swapped(b) if transpose_b else b)
    return y if bias is None else ops.add(y, bias)


def swapped(x: Any) -> Any:
    return ops.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def linear_layer(rng: Rng) -> Args:
    n, k = size(rng), size(rng)
    rows = shape(rng, 1, 3)
    return {
        "x": Draw(*rows, k),
        "weight": Draw(k, n),
        "bias": Draw(n) if rng.random() < 0.5 else None,
        "residual": Draw(*rows, n) if rng.random() < 0.5 else None,
    }


def inner_size(args: Args) -> int:
    return args["a"].shape[-2 if args["transpose_a"] else -1] + 1


def convolution(rng: Rng) -> Args:
    if rng.random() < 0.1:
        return winograd(rng)
    kh, kw = int(rng.choice([1, 2, 3, 3, 5])), int(rng.choice([1, 3, 3, 4]))
    padding = tuple(int(p) for p in rng.integers(0, 3, 4))
    h = max(kh - padding[0] - padding[1], 1) + int(rng.integers(0, 8))
    w = max(kw - padding[2] - padding[3], 1) + int(rng.integers(0, 8))
    stride = tuple(int(s) for s in rng.integers(1, 4, 2))
    bias = bool(rng.random() < 0.5)
    args = conv(size(rng, 3), h, w, size(rng, 9), size(rng), kh, kw, stride, padding, bias)
    n, ho, wo, co = output_shape(args)
    add, residual = rng.random(2) < 0.5
    return args | {
        "add": Draw(n, co) if add else None,
        "residual": Draw(n, ho, wo, co) if residual else None,
    }


def winograd(rng: Rng) -> Args:
    """A convolution that is computed by F(4x4, 3x3)"""
    h, w = 13 + int(rng.integers(0, 5)), 12 + int(rng.integers(0, 5))
    padding = tuple(int(p) for p in rng.integers(0, 3, 4))
    return conv(2, h, w, 8 + size(rng, 5), size(rng), padding=padding)


def conv(
    n: int,
    h: int,
    w: int,
    ci: int,
    co: int,
    kh: int = 3,
    kw: int = 3,
    stride: Any = 1,
    padding: Any = 1,
    bias: bool = True,
) -> Args:
    return {
        "x": Draw(n, h, w, ci),
        "weight": Draw(kh, kw, ci, co),
        "bias": Draw(co) if bias else None,
        "stride": stride,
        "padding": padding,
    }


def conv_gradient(draw: Callable[[Rng], Args], saved: str) -> Callable[[Rng], Args]:
    """Arguments of the gradient that needs `saved` and the shape of the other operand."""
    return lambda rng: without_other(draw(rng), saved)


def without_other(args: Args, saved: str) -> Args:
    other = "weight" if saved == "x" else "x"
    return {
        saved: args[saved],
        f"{other}_shape": args[other].shape,
        "dy": Draw(*output_shape(args)),
        "stride": args["stride"],
        "padding": args["padding"],
    }


def output_shape(args: Args) -> tuple[int, int, int, int]:
    """(n, ho, wo, co)"""
    x, weight = args["x"].shape, args["weight"].shape
    stride, padding = args["stride"], args["padding"]
    sh, sw = (stride, stride) if isinstance(stride, int) else stride
    border = (padding,) * 4 if isinstance(padding, int) else padding
    top, bottom, left, right = border if len(border) == 4 else np.repeat(border, 2).tolist()
    ho = (x[1] + top + bottom - weight[0]) // sh + 1
    wo = (x[2] + left + right - weight[1]) // sw + 1
    return x[0], ho, wo, weight[3]


CONV_EDGES = (
    conv(1, 1, 1, 1, 1, 1, 1, padding=0),
    conv(0, 4, 4, 3, 5),
    conv(2, 4, 4, 0, 5),
    conv(2, 4, 4, 3, 0),
    conv(1, 1, 5, 3, 2, 3, 3, padding=(1, 1)),
    conv(1, 5, 4, 3, 2, 5, 4, padding=0),
    conv(1, 9, 9, 2, 3, stride=2, padding=(0, 1, 0, 1)),
    conv(2, 7, 6, 5, 33, 7, 1, stride=(2, 5), padding=(4, 3, 0, 2)),
    conv(2, 17, 19, 37, 41),
    conv(1, 12, 12, 70, 130, 1, 1, padding=0),
    conv(2, 7, 6, 17, 5, padding=(2, 1, 0, 2)),  # F(2x2)
    conv(3, 13, 15, 19, 33, padding=(2, 1, 0, 2)),  # F(4x4), few tiles
    conv(7, 14, 13, 9, 70, padding=0),  # F(4x4), blocks of tiles
    conv(19, 16, 16, 8, 8),  # a weight gradient over two blocks
)
CONV_BENCH = (
    conv(1, 32, 32, 128, 128),
    conv(1, 16, 16, 256, 256),
    conv(1, 8, 8, 512, 256),
    conv(16, 32, 32, 128, 128),
    conv(64, 8, 8, 64, 64),
    conv(16, 32, 32, 256, 128, 1, 1, padding=0),
    conv(16, 32, 32, 128, 128, stride=2, padding=(0, 1, 0, 1)),
)

PRODUCTS = (
    Case("linear", linear_layer, gradients=("x", "weight", "bias")),
    Case(
        "matmul",
        matmul,
        linear(inner_size),
        gradients=("a", "b", "bias"),
        op=transposed_product,
        edges=(
            product((), (), 0, 3, 4),
            product((), (), 3, 0, 4),
            product((), (), 3, 4, 0) | {"bias": Draw(4)},
            product((0,), (), 3, 4, 2),
            product((2, 1), (1, 3), 3, 4, 2),
            product((), (), 1, 1, 1037),
            product((), (), 131, 77, 523) | {"bias": Draw(77)},
            product((), (), 131, 77, 523, True, False),
            product((), (), 131, 77, 523, False, True),
            product((), (), 67, 150, 40, True, True),
            finished(product((), (), 131, 77, 523) | {"bias": Draw(77)}),
            finished(product((3,), (), 29, 40, 60)),
        ),
        bench=(
            product((), (), 1024, 512, 128),
            product((), (), 1, 512, 512),
            product((16,), (16,), 256, 256, 64, False, True),
        ),
    ),
    Case(
        "conv2d",
        convolution,
        convolved(lambda args: math.prod(args["weight"].shape[:3]) + 1, (1, 2)),
        gradients=("x", "weight", "bias"),
        edges=CONV_EDGES,
        bench=CONV_BENCH,
    ),
    Case(
        "conv2d_backward_data",
        conv_gradient(convolution, "weight"),
        convolved(lambda args: args["weight"].size // max(1, args["weight"].shape[2]), (1, 2)),
        edges=tuple(without_other(args, "weight") for args in CONV_EDGES),
        bench=tuple(without_other(args, "weight") for args in CONV_BENCH),
    ),
    Case(
        "conv2d_backward_weight",
        conv_gradient(convolution, "x"),
        convolved(lambda args: math.prod(args["dy"].shape[:3]), (0, 1)),
        edges=tuple(without_other(args, "x") for args in CONV_EDGES),
        bench=tuple(without_other(args, "x") for args in CONV_BENCH),
    ),
)
