"""Sums and maxima over axes, squared error, softmax, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ShapeError
from ..registry import active
from .checks import Array, array, arrays, at_least, axes, expect, same_shape

Axis = int | Sequence[int] | None


def sum(x: Array, axis: Axis = None, scale: float = 1.0) -> Array:
    """scale times the sum over `axis` (an axis, several, or None for all), kept with size 1.

    A scale of 1/n makes it the mean. The sum of nothing is 0.
    """
    x = array("sum", "x", x)
    return active().sum(x, axes("sum", axis, x.ndim), float(scale))


def max(x: Array, axis: Axis = None) -> Array:
    """Largest element over `axis`, kept with size 1; NaN if there is one. No axis may be empty."""
    x = array("max", "x", x)
    over = axes("max", axis, x.ndim)
    _not_empty("max", x, over)
    return active().max(x, over)


def max_backward(dy: Array, x: Array, y: Array, axis: Axis = None) -> Array:
    """dy at the elements of x that equal the maximum y, shared equally between ties.

    x any shape; dy and y as `max(x, axis)` returns them.
    """
    dy, x, y = arrays("max_backward", dy=dy, x=x, y=y)
    over = axes("max_backward", axis, x.ndim)
    _not_empty("max_backward", x, over)
    kept = tuple(1 if i in over else n for i, n in enumerate(x.shape))
    expect("max_backward", "dy", dy, kept)
    expect("max_backward", "y", y, kept)
    return active().max_backward(dy, x, y, over)


def squared_error(a: Array, b: Array, scale: float = 1.0) -> Array:
    """scale times the sum of (a - b)^2 as a 0-d array; equal shapes."""
    a, b = arrays("squared_error", a=a, b=b)
    same_shape("squared_error", a=a, b=b)
    return active().squared_error(a, b, float(scale))


def softmax(x: Array) -> Array:
    """e^x over its sum along the last axis, computed without overflow."""
    x = array("softmax", "x", x)
    at_least("softmax", "x", x, 1)
    return active().softmax(x)


def softmax_backward(dy: Array, y: Array) -> Array:
    """y (dy - sum(dy y)) along the last axis, from the output y of softmax; equal shapes."""
    dy, y = arrays("softmax_backward", dy=dy, y=y)
    same_shape("softmax_backward", dy=dy, y=y)
    at_least("softmax_backward", "y", y, 1)
    return active().softmax_backward(dy, y)


def _not_empty(op: str, x: Array, over: tuple[int, ...]) -> None:
    if 0 in x.shape and any(x.shape[i] == 0 for i in over):
        raise ShapeError(f"{op}: x has shape {x.shape}; there is no maximum over an empty axis")
