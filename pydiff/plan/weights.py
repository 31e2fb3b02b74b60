"""Constants of plans: copies of parameters, packed as the kernels read them, shared by plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _native
from .graph import Array, Buffer


class WeightStore:
    """What plans of one model made of its parameters, by the key of the parameter."""

    def __init__(self) -> None:
        self._made: dict[Any, Array] = {}
        self._lock = threading.Lock()

    def copied(self, buffer: Buffer) -> Array:
        """A contiguous copy of a constant."""
        return self._once(buffer, "copy", _filled)

    def packed(self, buffer: Buffer, algorithm: int) -> Array:
        """A constant (kh, kw, ci, co), or (k, n) for a product, as conv2d_pack leaves it."""

        def pack(array: Array) -> Array:
            weight = np.ascontiguousarray(array.reshape((1,) * (4 - array.ndim) + array.shape))
            kh, kw, ci, co = weight.shape
            size = _native.conv2d_packed_size(kh, kw, ci, co, algorithm, weight.itemsize)
            packed = _native.empty((size,), weight.dtype)
            _native.conv2d_pack(weight, packed, algorithm)
            return packed

        return self._once(buffer, algorithm, pack)

    def _once(self, buffer: Buffer, kind: Any, make: Callable[[Array], Array]) -> Array:
        assert buffer.array is not None
        if buffer.key is None:  # no parameter, so nothing that another plan would find
            return make(buffer.array)
        with self._lock:
            key = (buffer.key, kind)
            if key not in self._made:
                self._made[key] = make(buffer.array)
            return self._made[key]


def _filled(array: Array) -> Array:
    copy = _native.empty(array.shape, array.dtype)
    copy[...] = array
    return copy
