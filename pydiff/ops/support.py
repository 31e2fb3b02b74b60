"""What all ops share: how arguments become tensors, and how broadcasting is undone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..autograd import Tensor
from ..autograd.arrays import FLOATS, Array, float_array
from ..errors import DtypeError, ShapeError

Axis = int | Sequence[int] | None


def as_tensor(op: str, x: Any) -> Tensor:
    """`x` itself if it is a tensor, else a tensor on its array; DtypeError names the op."""
    return x if isinstance(x, Tensor) else Tensor(float_array(x, op))


def optional_tensor(op: str, x: Any) -> Tensor | None:
    """`as_tensor`, or None for None."""
    return None if x is None else as_tensor(op, x)


def data_of(x: Tensor | None) -> Array | None:
    """The array of a tensor, or None for None."""
    return None if x is None else x.data


def operands(op: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both arguments as tensors of one dtype.

    Python numbers, 0-d arrays and integer arrays take the dtype of the other argument; two tensors
    or float arrays of different dtypes are a DtypeError.
    """
    if not isinstance(a, Tensor):
        a = _adapted(op, a, b)
    if not isinstance(b, Tensor):
        b = _adapted(op, b, a)
    if a.dtype != b.dtype:
        raise DtypeError(
            f"{op}: the dtypes differ (a {a.dtype}, b {b.dtype}); convert one with .astype"
        )
    return a, b


def _adapted(op: str, x: Any, other: Any) -> Tensor:
    """`x`, which is no tensor, as one; in the dtype of `other` if it has none of its own."""
    dtype = getattr(other, "dtype", None)
    if dtype not in FLOATS:
        return Tensor(float_array(x, op))
    if type(x) is float or type(x) is int:
        return Tensor(np.array(x, dtype))
    array = np.asarray(x)
    if array.dtype.kind in "biu" or (array.ndim == 0 and array.dtype.kind == "f"):
        return Tensor(array.astype(dtype))
    return Tensor(float_array(x, op))


def unbroadcast(gradient: Array, shape: tuple[int, ...] | None) -> Array | None:
    """Sum `gradient` over the axes along which an argument of `shape` was broadcast.

    None (no gradient wanted) stays None.
    """
    if shape is None or gradient.shape == shape:
        return None if shape is None else gradient
    extra = gradient.ndim - len(shape)
    stretched = [
        i + extra for i, n in enumerate(shape) if n == 1 and gradient.shape[i + extra] != 1
    ]
    return backend.sum(gradient, (*range(extra), *stretched)).reshape(shape)


def normalized_axes(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` (one, several, or None for all) as sorted non-negative axes; ShapeError if absent."""
    if axis is None:
        return tuple(range(ndim))
    wanted = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not all(isinstance(a, (int, np.integer)) and -ndim <= a < ndim for a in wanted):
        raise ShapeError(
            f"{op}: axis {axis!r} does not exist in an array of {ndim} dimensions; allowed: None "
            f"or integers from {-ndim} to {ndim - 1}"
        )
    found = sorted({int(a) % ndim for a in wanted})
    if len(found) != len(wanted):
        raise ShapeError(f"{op}: an axis is given twice in {axis}")
    return tuple(found)


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with size 1 along the reduced `axes`."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape of a reduction over `axes`."""
    if keepdims:
        return kept_shape(shape, axes)
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements one result of a reduction over `axes` is made of."""
    return math.prod(shape[i] for i in axes)
