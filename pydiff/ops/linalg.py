"""Matrix products."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..errors import ShapeError
from .support import as_tensor, unbroadcast


def matmul(a: Any, b: Any) -> Tensor:
    """a (..., m, k) times b (..., k, n) -> (..., m, n); the leading axes broadcast."""
    a, b = as_tensor("matmul", a), as_tensor("matmul", b)
    saved = (a if b.requires_grad else None, b if a.requires_grad else None)
    return record("matmul", backend.matmul(a.data, b.data), (a, b), saved)


@rule("matmul", "a, b", saves="a, b")
def matmul_backward(ctx: Node, dy: Array) -> tuple[Array | None, Array | None]:
    a, b = ctx.saved
    da = db = None
    if ctx.needs[0]:
        da = unbroadcast(backend.matmul(dy, b, transpose_b=True), ctx.shapes[0])
    if ctx.needs[1]:
        db = unbroadcast(backend.matmul(a, dy, transpose_a=True), ctx.shapes[1])
    return da, db


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x weight + bias: x (..., in), weight (in, out), bias (out,) -> (..., out)."""
    x, weight = as_tensor("linear", x), as_tensor("linear", weight)
    bias = None if bias is None else as_tensor("linear", bias)
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear: x has shape {x.shape} and weight {weight.shape}; x (..., in) and weight "
            "(in, out) are needed"
        )
    rows = _rows(x.data)
    y = backend.matmul(rows, weight.data, None if bias is None else bias.data)
    saved = (x if weight.requires_grad else None, weight if x.requires_grad else None)
    return record("linear", y.reshape(*x.shape[:-1], y.shape[-1]), (x, weight, bias), saved)


@rule("linear", "x, weight, bias", saves="x, weight")
def linear_backward(ctx: Node, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
    x, weight = ctx.saved
    dy = _rows(dy)
    dx = dweight = dbias = None
    if ctx.needs[0]:
        dx = backend.matmul(dy, weight, transpose_b=True).reshape(ctx.shapes[0])
    if ctx.needs[1]:
        dweight = backend.matmul(_rows(x), dy, transpose_a=True)
    if ctx.needs[2]:
        dbias = backend.sum(dy, 0).reshape(dy.shape[1:])
    return dx, dweight, dbias


def _rows(x: Array) -> Array:
    """(..., n) as a matrix (rows, n)."""
    return x.reshape(-1 if x.shape[-1] else 0, x.shape[-1])
