"""Elementwise functions, arithmetic and their gradients."""

from __future__ import annotations

from typing import Any

from ... import ops
from ..case import Args, Bound, Case, Draw, Rng, against, exact, relative
from .shapes import EMPTY, LARGE, broadcast, shape


def unary(name: str, bound: Bound, kind: str = "normal", op: Any = None) -> Case:
    return Case(
        name,
        lambda rng: {"x": Draw(*shape(rng), kind=kind)},
        bound,
        gradients=("x",),
        op=op,
        edges=tuple({"x": Draw(*x.shape, kind=kind)} for x in (*EMPTY, LARGE)),
        bench=({"x": Draw(16, 32, 32, 128, kind=kind)},),
    )


def binary(name: str, kind: str = "normal") -> Case:
    def draw(rng: Rng) -> Args:
        a, b = broadcast(rng)
        return {"a": Draw(*a), "b": Draw(*b, kind=kind)}

    shapes = (
        ((0,), (1,)),
        ((3, 1, 0), (4, 1)),
        (LARGE.shape, LARGE.shape),
        (LARGE.shape, (7, 1)),
        ((1031,), (40, 1)),
        ((1,) * 8, (2,) * 8),
    )
    bench = ((16, 1024, 128), (16, 1024, 128)), ((16, 1024, 128), (16, 1, 128))
    return Case(
        name,
        draw,
        relative(1),
        gradients=("a", "b"),
        edges=tuple({"a": Draw(*a), "b": Draw(*b, kind=kind)} for a, b in shapes),
        bench=tuple({"a": Draw(*a), "b": Draw(*b, kind=kind)} for a, b in bench),
    )


def gradient(name: str, saved: str, kind: str = "normal") -> Case:
    def pair(dims: tuple[int, ...]) -> Args:
        return {"dy": Draw(*dims), saved: Draw(*dims, kind=kind)}

    return Case(
        name,
        lambda rng: pair(shape(rng)),
        against("dy", 8),
        edges=tuple(pair(x.shape) for x in (*EMPTY, LARGE)),
        bench=(pair((16, 32, 32, 128)),),
    )


def summands(dims: tuple[int, ...]) -> Args:
    return {"a": Draw(*dims), "b": Draw(*dims)}


def power(rng: Rng) -> Args:
    exponent = float(rng.choice([-2.5, -1, 0.5, 2, 3]))
    return {"x": Draw(*shape(rng), kind="positive"), "exponent": exponent}


def dropout(rng: Rng) -> Args:
    return {"x": Draw(*shape(rng, 1)), "p": 0.3, "seed": 5, "step": int(rng.integers(9))}


ELEMENTWISE = (
    unary("exp", relative(4)),
    unary("log", relative(4), "positive"),
    unary("sqrt", relative(1), "positive"),
    unary("sigmoid", relative(4)),
    unary("tanh", relative(8)),
    unary("relu", exact, "nonzero"),
    unary("silu", relative(4)),
    unary("gelu", against("x", 4)),
    unary("gelu_tanh", against("x", 4), op=lambda x: ops.gelu(x, approximate="tanh")),
    binary("add"),
    binary("subtract"),
    binary("multiply"),
    binary("divide", "nonzero"),
    Case(
        "accumulate",
        lambda rng: summands(shape(rng)),
        relative(1),
        edges=tuple(summands(x.shape) for x in (*EMPTY, LARGE)),
        bench=(summands((16, 1024, 128)),),
        in_place=("a",),
    ),
    gradient("sigmoid_backward", "y", "unit"),
    gradient("tanh_backward", "y", "unit"),
    gradient("relu_backward", "x", "nonzero"),
    gradient("silu_backward", "x"),
    gradient("gelu_backward", "x"),
    gradient("gelu_tanh_backward", "x"),
    Case("negative", lambda rng: {"x": Draw(*shape(rng))}, gradients=("x",)),
    Case("square", lambda rng: {"x": Draw(*shape(rng))}, gradients=("x",)),
    Case("power", power, gradients=("x",)),
    Case("dropout", dropout, gradients=("x",)),
)
