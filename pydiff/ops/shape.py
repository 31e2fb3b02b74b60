"""Other shapes for the same elements, and moving elements: views share memory where NumPy's do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..checks import is_integer
from ..errors import DtypeError, ShapeError
from .support import as_tensor, normalized_axes, unbroadcast


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The same elements in C order in another shape, one size may be -1; a view where possible."""
    x = as_tensor("reshape", x)
    try:
        y = x.data.reshape(shape)
    except (ValueError, TypeError):
        raise ShapeError(
            f"reshape: x has shape {x.shape} ({x.size} elements), which does not fit {shape}"
        ) from None
    return record("reshape", y, (x,))


@rule("reshape", "x", strided=True)
def reshape_backward(ctx: Node, dy: Array) -> tuple[Array]:
    return (dy.reshape(ctx.shapes[0]),)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """A view whose axis i is axis `axes[i]` of x; the axes reversed by default."""
    x = as_tensor("transpose", x)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axes)
    if normalized_axes("transpose", order, x.ndim) != tuple(range(x.ndim)):
        raise ShapeError(f"transpose: axes {order} are no permutation of the axes of x {x.shape}")
    order = tuple(int(i) % x.ndim for i in order)
    return record("transpose", x.data.transpose(order), (x,), order=order)


@rule("transpose", "x", strided=True)
def transpose_backward(ctx: Node, dy: Array) -> tuple[Array]:
    return (dy.transpose(np.argsort(ctx["order"])),)


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """A read-only view of x stretched to `shape` by NumPy's rules."""
    x = as_tensor("broadcast_to", x)
    try:
        y = np.broadcast_to(x.data, tuple(shape))
    except ValueError:
        raise ShapeError(
            f"broadcast_to: x has shape {x.shape}, which does not broadcast to {tuple(shape)}"
        ) from None
    return record("broadcast_to", y, (x,))


@rule("broadcast_to", "x", strided=True)
def broadcast_to_backward(ctx: Node, dy: Array) -> tuple[Array | None]:
    return (unbroadcast(dy, ctx.shapes[0]),)


def concat(tensors: Sequence[Any], axis: int = -1) -> Tensor:
    """The tensors one after the other along `axis`; all other sizes are equal."""
    parts = tuple(as_tensor("concat", x) for x in tensors)
    y = backend.concat([x.data for x in parts], axis)
    at = axis % y.ndim
    return record("concat", y, parts, axis=at, sizes=[x.shape[at] for x in parts])


@rule("concat", "tensor 0, tensor 1, tensor 2, tensor 3", strided=True)
def concat_backward(ctx: Node, dy: Array) -> list[Array]:
    before = (slice(None),) * ctx["axis"]
    ends = accumulate(ctx["sizes"], initial=0)
    parts = [(*before, slice(first, end)) for first, end in pairwise(ends)]
    return [dy[part] for part in parts]


def getitem(x: Any, index: Any) -> Tensor:
    """A view x[index] for integers, slices, Ellipsis and None; use `gather` for integer arrays."""
    x = as_tensor("getitem", x)
    index = index if isinstance(index, tuple) else (index,)
    for part in index:
        if not (part is None or part is Ellipsis or isinstance(part, slice) or is_integer(part)):
            raise DtypeError(
                f"getitem: index {part!r} is a {type(part).__name__}; allowed: integers, slices, "
                "Ellipsis, None (use pydiff.ops.gather for integer arrays)"
            )
    try:
        y = x.data[index]
    except IndexError as error:
        raise IndexError(f"getitem: x has shape {x.shape}, index {index}: {error}") from None
    return record("getitem", y, (x,), index=index)


@rule("getitem", "x", strided=True)
def getitem_backward(ctx: Node, dy: Array) -> tuple[Array]:
    dx = np.zeros(ctx.shapes[0], dy.dtype)
    dx[ctx["index"]] = dy
    return (dx,)


def pad(x: Any, widths: Sequence[Sequence[int]], value: float = 0.0) -> Tensor:
    """x with `value` around it; `widths` gives (before, after) for each axis."""
    x = as_tensor("pad", x)
    y = backend.pad(x.data, widths, value)
    return record("pad", y, (x,), starts=[before for before, _ in widths])


@rule("pad", "x", strided=True)
def pad_backward(ctx: Node, dy: Array) -> tuple[Array]:
    starts, (shape,) = ctx["starts"], ctx.shapes
    inside: Any = (..., *(slice(a, a + n) for a, n in zip(starts, shape, strict=True)))
    return (dy[inside],)  # with the Ellipsis an array even where there is no axis


def gather(table: Any, index: Any) -> Tensor:
    """Rows of a table: table (rows, ...), integer index of any shape -> index.shape + (...).

    An index outside 0 to rows - 1 is a ShapeError, one of floats a DtypeError.
    """
    table = as_tensor("gather", table)
    y = backend.gather(table.data, index)
    return record("gather", y, (table,), index=np.array(index, np.int64))


@rule("gather", "table")
def gather_backward(ctx: Node, dy: Array) -> tuple[Array]:
    return (backend.scatter_add(dy, ctx["index"], ctx.shapes[0][0]),)
