"""Nearest upsampling, pooling, and moving data: concat, pad, contiguous, gather, scatter_add."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DtypeError, ShapeError
from ..registry import active
from .checks import Array, array, axes, expect, expect_ndim, integer, integers, same_dtype, strided


def upsample_nearest(x: Array, factor: int = 2, scale: float = 1.0) -> Array:
    """scale times x with every pixel repeated: x (N, H, W, C) -> (N, H factor, W factor, C)."""
    x = array("upsample_nearest", "x", x)
    expect_ndim("upsample_nearest", "x", x, "N,H,W,C")
    factor = integer("upsample_nearest", "factor", factor, 1, 4096)
    return active().upsample_nearest(x, factor, float(scale))


def sum_pool(x: Array, factor: int = 2, scale: float = 1.0) -> Array:
    """scale times the sum of each factor x factor window: x (N, H, W, C) -> (N, H/f, W/f, C).

    H and W must be divisible by `factor`; a scale of 1/factor^2 makes it average pooling.
    """
    x = array("sum_pool", "x", x)
    expect_ndim("sum_pool", "x", x, "N,H,W,C")
    factor = integer("sum_pool", "factor", factor, 1, 4096)
    if x.shape[1] % factor or x.shape[2] % factor:
        raise ShapeError(
            f"sum_pool: x has shape {x.shape}; height and width must be divisible by {factor}"
        )
    return active().sum_pool(x, factor, float(scale))


def concat(arrays: Sequence[Array], axis: int = -1) -> Array:
    """The arrays one after the other along `axis`; all other sizes are equal."""
    if not arrays:
        raise ShapeError("concat: there is no array to concatenate")
    parts = [strided("concat", f"array {i}", x) for i, x in enumerate(arrays)]
    same_dtype("concat", {f"array {i}": x for i, x in enumerate(parts)})
    (at,) = axes("concat", int(axis), parts[0].ndim)
    rest = parts[0].shape[:at], parts[0].shape[at + 1 :]
    if any((x.shape[:at], x.shape[at + 1 :]) != rest for x in parts):
        raise ShapeError(
            f"concat: the shapes {', '.join(str(x.shape) for x in parts)} differ outside axis {at}"
        )
    return active().concat(parts, at)


def pad(x: Array, widths: Sequence[Sequence[int]], value: float = 0.0) -> Array:
    """x with `value` around it; `widths` gives (before, after) for each axis."""
    x = strided("pad", "x", x)
    if len(widths) != x.ndim:
        raise ShapeError(f"pad: widths {widths} has not one pair for each axis of x {x.shape}")
    pairs = tuple(tuple(integers("pad", "widths", pair, (2,), 0)) for pair in widths)
    return active().pad(x, pairs, float(value))


def contiguous(x: Array) -> Array:
    """A C-contiguous copy of an array of any strides."""
    return active().contiguous(strided("contiguous", "x", x))


def gather(table: Array, index: Array) -> Array:
    """Rows of a table: table (rows, ...), integer index of any shape -> index.shape + (...).

    An index outside 0 to rows - 1 is a ShapeError.
    """
    table = array("gather", "table", table)
    if not table.ndim:
        raise ShapeError("gather: table is a single number; give an array (rows, ...)")
    return active().gather(table, _checked_index("gather", index, table.shape[0]))


def scatter_add(dy: Array, index: Array, rows: int) -> Array:
    """The gradient of gather: y[index] += dy, in the order of index.

    dy index.shape + (...), integer index in 0 to rows - 1 -> (rows, ...).
    """
    dy = array("scatter_add", "dy", dy)
    rows = integer("scatter_add", "rows", rows, 0)
    index = _checked_index("scatter_add", index, rows)
    expect("scatter_add", "dy", dy, index.shape + dy.shape[index.ndim :])
    return active().scatter_add(dy, index, rows)


def _checked_index(op: str, index: Array, rows: int) -> Array:
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{op}: index has dtype {index.dtype}; integers are needed")
    if index.size and not 0 <= int(index.min()) <= int(index.max()) < rows:
        raise ShapeError(
            f"{op}: index runs from {index.min()} to {index.max()}; with {rows} rows, "
            f"allowed: 0 to {rows - 1}"
        )
    return np.require(index, np.int64, ("C", "A"))
