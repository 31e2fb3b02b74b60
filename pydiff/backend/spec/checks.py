"""The checks that all functions share. Training passes here ~1000 times per step: keep lean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DtypeError, ShapeError
from ..registry import active

Array = NDArray[Any]

MAX_DIMS = 8  # kMaxDims of csrc/core/args.h
MAX_SIZE = 2**31  # of one option such as a stride or a padding

_F32 = np.dtype(np.float32)
_F64 = np.dtype(np.float64)


def portable_are_usual(*arrays: Any) -> bool:
    """Are all C-contiguous, aligned ndarrays of one dtype, float32 or float64?"""
    for x in arrays:
        if type(x) is not np.ndarray or x.dtype is not arrays[0].dtype or x.ndim > MAX_DIMS:
            return False
        if not (x.flags.c_contiguous and x.flags.aligned):
            return False
    return not arrays or arrays[0].dtype is _F32 or arrays[0].dtype is _F64


def portable_are_alike(*arrays: Any) -> bool:
    """Are all `are_usual`, and of one shape?"""
    return portable_are_usual(*arrays) and len({x.shape for x in arrays}) < 2


try:  # the same in a tenth of the time, where it is built
    from ..._native import are_alike as are_alike
    from ..._native import are_usual as are_usual
except ImportError:
    are_alike, are_usual = portable_are_alike, portable_are_usual


def array(op: str, name: str, x: Array) -> Array:
    """`x` as a C-contiguous, aligned, native-endian float32 or float64 array; else DtypeError."""
    if are_usual(x):
        return x
    x = strided(op, name, x)
    return x if x.flags.c_contiguous else active().contiguous(x)


def strided(op: str, name: str, x: Array) -> Array:
    """`x` as an aligned, native-endian float32 or float64 array of any strides."""
    usual = type(x) is np.ndarray and (x.dtype is _F32 or x.dtype is _F64)
    if usual and x.flags.aligned and x.ndim <= MAX_DIMS:
        return x
    if not isinstance(x, (np.ndarray, np.floating)) or isinstance(x, np.ma.MaskedArray):
        raise DtypeError(
            f"{op}: {name} is a {type(x).__name__}; give a float32 or float64 NumPy array"
        )
    if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
        raise DtypeError(
            f"{op}: {name} has dtype {x.dtype}; allowed: float32, float64 "
            f"(convert with {name}.astype('float32'))"
        )
    if x.ndim > MAX_DIMS:
        raise ShapeError(f"{op}: {name} has {x.ndim} dimensions; at most {MAX_DIMS} are allowed")
    return np.require(np.asarray(x), _F32 if x.dtype.itemsize == 4 else _F64, ("A",))


def arrays(op: str, **named: Array) -> list[Array]:
    """Each of `named` as `array` gives it; all of one dtype, else DtypeError."""
    out = list(named.values())
    if are_usual(*out):
        return out
    out = [array(op, name, x) for name, x in named.items()]
    same_dtype(op, dict(zip(named, out, strict=True)))
    return out


def same_dtype(op: str, named: dict[str, Array]) -> None:
    """DtypeError unless all of `named` have one dtype."""
    if len({x.dtype for x in named.values()}) > 1:
        found = ", ".join(f"{name} {x.dtype}" for name, x in named.items())
        raise DtypeError(f"{op}: the dtypes differ ({found}); convert all to one with .astype")


def optional(op: str, name: str, x: Array | None, like: Array, shape: tuple[int, ...]) -> Any:
    """None, or `x` with the dtype of `like` and exactly `shape`."""
    if x is None:
        return None
    x = array(op, name, x)
    if x.dtype is not like.dtype:
        same_dtype(op, {"x": like, name: x})
    expect(op, name, x, shape)
    return x


def expect(op: str, name: str, x: Array, shape: tuple[int, ...]) -> None:
    """ShapeError unless `x` has exactly `shape`."""
    if x.shape != shape:
        raise ShapeError(f"{op}: {name} has shape {x.shape}, but {shape} is needed")


def same_shape(op: str, **named: Array) -> None:
    """ShapeError unless all of `named` have one shape."""
    shapes = [x.shape for x in named.values()]
    if shapes.count(shapes[0]) != len(shapes):
        found = ", ".join(f"{name} {x.shape}" for name, x in named.items())
        raise ShapeError(f"{op}: the shapes differ ({found}); all must be equal")


def expect_ndim(op: str, name: str, x: Array, layout: str) -> None:
    """ShapeError unless `x` has the dimensions named in `layout`, such as "N,H,W,C"."""
    if x.ndim != layout.count(",") + 1:
        raise ShapeError(
            f"{op}: {name} has {x.ndim} dimensions {x.shape}; give an array ({layout})"
        )


@lru_cache(4096)
def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that shapes `a` and `b` broadcast to; None where they do not."""
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def at_least(op: str, name: str, x: Array, ndim: int) -> None:
    """ShapeError unless `x` has `ndim` dimensions or more."""
    if x.ndim < ndim:
        raise ShapeError(f"{op}: {name} has shape {x.shape}; at least {ndim} dimensions are needed")


def integer(op: str, name: str, value: Any, low: int, high: int = MAX_SIZE) -> int:
    """`value` as an int in [low, high]; ShapeError otherwise."""
    if type(value) is int and low <= value <= high:
        return value
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
            raise ShapeError(f"{op}: {name} is {value!r}; an integer is needed")
        value = int(value)
    if not low <= value <= high:
        raise ShapeError(f"{op}: {name} is {value}; allowed: {low} to {high}")
    return value


def integers(op: str, name: str, value: Any, lengths: tuple[int, ...], low: int) -> list[int]:
    """A sequence of `lengths[...]` integers, each at least `low`; ShapeError otherwise."""
    if not isinstance(value, Sequence) or len(value) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise ShapeError(f"{op}: {name} is {value!r}; give one integer or a tuple of {wanted}")
    return [integer(op, name, item, low) for item in value]


def in_range(op: str, name: str, value: float, low: float, high: float = np.inf) -> float:
    """`value` as a float with low <= value < high (so never NaN or infinity); else ShapeError."""
    value = float(value)
    if not low <= value < high:
        raise ShapeError(f"{op}: {name} is {value}; allowed: {low} <= {name} < {high}")
    return value


def axes(op: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Sorted, non-negative, distinct axes; None means all. ShapeError for one that is not there."""
    if axis is None:
        return tuple(range(ndim))
    wanted = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    for a in wanted:
        if not -ndim <= a < ndim:
            raise ShapeError(f"{op}: axis {a} is out of range for an array of {ndim} dimensions")
    found = tuple(sorted(int(a) % ndim for a in wanted))
    if len(set(found)) != len(found):
        raise ShapeError(f"{op}: an axis is given twice in {axis}")
    return found
