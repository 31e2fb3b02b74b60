"""The arrays that tensors hold, float32 or float64, and how to notice that one changed."""

from __future__ import annotations

from sys import getrefcount
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..errors import DtypeError

Array = NDArray[Any]

EXACT_BYTES = 16 * 1024  # up to here a fingerprint covers every byte
SAMPLES = 128  # above, so many elements at a fixed stride

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def float_array(value: Any, where: str = "Tensor") -> Array:
    """`value` as a float32 or float64 ndarray, without a copy where it is one already.

    Python numbers, lists of them, booleans and integer arrays become float32. Other dtypes
    (float16, complex, object, ...) are a DtypeError that names `where`.
    """
    if type(value) is np.ndarray and value.dtype in FLOATS:
        return value
    array = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray) or array.dtype.kind not in "biuf":
        raise _unsupported(where, value, array)
    if array.dtype.kind != "f" or not hasattr(value, "dtype"):
        return array.astype(np.float32)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype not in FLOATS:
        raise _unsupported(where, value, array)
    return native


def _unsupported(where: str, value: Any, array: Array) -> DtypeError:
    return DtypeError(
        f"{where}: a {type(value).__name__} of dtype {array.dtype} is not supported; allowed: "
        "float32, float64 and integers (convert with .astype('float32'))"
    )


def _references(container: Any, key: Any) -> int:
    return getrefcount(container[key])


_ALONE = _references({0: object()}, 0)  # of what only its container knows


def is_sole(container: Any, key: Any) -> bool:
    """May the array container[key] be written to, because nobody else can see it?"""
    if _references(container, key) != _ALONE:
        return False
    array = container[key]
    return array.base is None and bool(array.flags.carray)


def portable_fingerprint(array: Array, version: int) -> int:
    """A number that changes with the version or the array: exact up to 16 KiB, sampled above."""
    if array.nbytes > EXACT_BYTES:
        return crc32(array.flat[:: array.size // SAMPLES].data, version)
    return crc32(np.ascontiguousarray(array).data, version)


try:  # the same at memory speed, where it is built
    from .._native import fingerprint as fingerprint
except ImportError:
    fingerprint = portable_fingerprint
