"""How much work a kernel of the case table does, from its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Args = dict[str, Any]


def _products(args: Args) -> float:
    """One multiply-add per output and inner element."""
    inner = args["a"].shape[-2 if args["transpose_a"] else -1]
    rows = args["a"].shape[-1 if args["transpose_a"] else -2]
    columns = args["b"].shape[-2 if args["transpose_b"] else -1]
    batch = np.broadcast_shapes(args["a"].shape[:-2], args["b"].shape[:-2])
    return 2.0 * math.prod(batch) * rows * columns * inner


def _convolution(args: Args, outputs: list[np.ndarray]) -> float:
    """The same for y, dx and dw: every output pixel and channel meets every tap and channel."""
    weight = args["weight"].shape if "weight" in args else args["weight_shape"]
    pixels = args.get("dy", outputs[0]).size
    return 2.0 * pixels * math.prod(weight[:3])


def _attention(args: Args, products: int) -> float:
    """Two products of Tq x Tk x C forward; backward recomputes one and makes four more."""
    n, tokens, channels = args["q"].shape
    return 2.0 * products * n * tokens * args["k"].shape[1] * channels


_FLOP: dict[str, Callable[[Args, list[np.ndarray]], float]] = {
    "matmul": lambda args, outputs: _products(args),
    "conv2d": _convolution,
    "conv2d_backward_data": _convolution,
    "conv2d_backward_weight": _convolution,
    "attention": lambda args, outputs: _attention(args, 2),
    "attention_backward": lambda args, outputs: _attention(args, 5),
}


def work(name: str, args: Args, outputs: list[np.ndarray]) -> tuple[str, float]:
    """("flop", of the direct algorithm) for products, else ("bytes", of all inputs and outputs)."""
    if name in _FLOP:
        return "flop", _FLOP[name](args, outputs)
    values = [v for value in args.values() for v in (value if isinstance(value, list) else [value])]
    arrays = [value for value in (*values, *outputs) if isinstance(value, np.ndarray)]
    return "bytes", float(sum(array.nbytes for array in arrays))
