"""What may stand behind a tensor: float32 and float64 arrays; and how to notice that one changed."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..errors import DtypeError

Array = NDArray[Any]

EXACT_BYTES = 16 * 1024  # up to here a fingerprint covers every byte
SAMPLES = 512  # above, so many elements at a fixed stride

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def float_array(value: Any, where: str = "Tensor") -> Array:
    """`value` as a float32 or float64 ndarray, without a copy where it is one already.

    Python numbers, lists of them, booleans and integer arrays become float32. Other dtypes
    (float16, complex, object, ...) are a DtypeError that names `where`.
    """
    array = np.asarray(value)
    if array.dtype in FLOATS:
        is_python = not isinstance(value, (np.ndarray, np.generic)) and not hasattr(
            value, "__array__"
        )
        return array.astype(np.float32) if is_python else array.astype(array.dtype.name, copy=False)
    if array.dtype.kind in "biu":
        return array.astype(np.float32)
    raise DtypeError(
        f"{where}: dtype {array.dtype} is not supported; allowed: float32, float64 and integers "
        "(convert with .astype('float32'))"
    )


def fingerprint(array: Array) -> int:
    """A number that changes when the array does: exact up to 16 KiB, a strided sample above.

    `pydiff._native.fingerprint` does the same at memory speed; this one needs nothing compiled.
    """
    if array.nbytes > EXACT_BYTES:
        return crc32(array.flat[:: array.size // SAMPLES])
    return crc32(np.ascontiguousarray(array))


try:
    from .._native import fingerprint  # type: ignore[no-redef]  # noqa: F811
except ImportError:
    pass
