"""Sums, means and maxima over axes, and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..errors import ShapeError
from .shape import transpose
from .support import Axis, as_tensor, count, kept_shape, normalized_axes, reduced_shape


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis`: an axis, several, or None for all. The sum of nothing is 0."""
    x = as_tensor("sum", x)
    return _sum(x, normalized_axes("sum", axis, x.ndim), keepdims, 1.0)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis`: an axis, several, or None for all. ShapeError if there is nothing in it."""
    x = as_tensor("mean", x)
    axes = normalized_axes("mean", axis, x.ndim)
    n = count(x.shape, axes)
    if n == 0:
        raise ShapeError(f"mean: x has shape {x.shape}; axes {axes} of size 0 have no mean")
    return _sum(x, axes, keepdims, 1.0 / n)


def _sum(x: Tensor, axes: tuple[int, ...], keepdims: bool, scale: float) -> Tensor:
    y = backend.sum(x.data, axes, scale).reshape(reduced_shape(x.shape, axes, keepdims))
    return record("sum", y, (x,), axes=axes, scale=scale)


@rule("sum", "x")
def sum_backward(ctx: Node, dy: Array) -> tuple[Array]:
    (shape,) = ctx.shapes
    dy = backend.multiply(dy, np.asarray(ctx["scale"], dy.dtype))
    return (np.broadcast_to(dy.reshape(kept_shape(shape, ctx["axes"])), shape),)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element over `axis`; NaN if there is one. Ties share the gradient equally."""
    x = as_tensor("max", x)
    axes = normalized_axes("max", axis, x.ndim)
    y = backend.max(x.data, axes)
    shape = reduced_shape(x.shape, axes, keepdims)
    return record("max", y.reshape(shape), (x,), (x, y), axes=axes)


@rule("max", "x", saves="x, the output")
def max_backward(ctx: Node, dy: Array) -> tuple[Array]:
    x, y = ctx.saved
    return (backend.max_backward(dy.reshape(y.shape), x, y, ctx["axes"]),)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """e^x over its sum along `axis`, computed without overflow."""
    x = as_tensor("softmax", x)
    (at,) = normalized_axes("softmax", (axis,), x.ndim)
    if at == x.ndim - 1:
        y = backend.softmax(x.data)
        return record("softmax", y, (x,), (y,))
    swapped = [*range(x.ndim)]
    swapped[at], swapped[-1] = swapped[-1], at
    return transpose(softmax(transpose(x, swapped)), swapped)


@rule("softmax", "x", saves="the output")
def softmax_backward(ctx: Node, dy: Array) -> tuple[Array]:
    return (backend.softmax_backward(dy, ctx.saved[0]),)
