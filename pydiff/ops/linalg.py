"""Matrix products."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..errors import ShapeError
from .support import as_tensor, data_of, optional_tensor, unbroadcast


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


def linear(x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Tensor:
    """x weight + bias + residual: x (..., in), weight (in, out), bias (out,) -> (..., out).

    The residual (..., out) is added in the same pass over memory.
    """
    x, weight = as_tensor("linear", x), as_tensor("linear", weight)
    bias, residual = optional_tensor("linear", bias), optional_tensor("linear", residual)
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear: x has shape {x.shape} and weight {weight.shape}; x (..., in) and weight "
            "(in, out) are needed"
        )
    shape = (*x.shape[:-1], weight.shape[1])
    if residual is not None and residual.shape != shape:
        raise ShapeError(f"linear: residual has shape {residual.shape}, but {shape} is needed")
    other = None if residual is None else _rows(residual.data)
    y = backend.matmul(_rows(x.data), weight.data, data_of(bias), residual=other)
    saved = (x if weight.requires_grad else None, weight if x.requires_grad else None)
    return record("linear", y.reshape(shape), (x, weight, bias, residual), saved)


@rule("linear", "x, weight, bias, residual", saves="x, weight")
def linear_backward(ctx: Node, dresidual: Array) -> tuple[Array | None, ...]:
    x, weight = ctx.saved
    dy = _rows(dresidual)
    dx = dweight = dbias = None
    if ctx.needs[0]:
        dx = backend.matmul(dy, weight, transpose_b=True).reshape(ctx.shapes[0])
    if ctx.needs[1]:
        dweight = backend.matmul(_rows(x), dy, transpose_a=True)
    if ctx.needs[2]:
        dbias = backend.sum(dy, 0).reshape(dy.shape[1:])
    return dx, dweight, dbias, dresidual


def _rows(x: Array) -> Array:
    """(..., n) as a matrix (rows, n)."""
    return x.reshape(-1 if x.shape[-1] else 0, x.shape[-1])
