"""Constants of plans: copies of parameters, packed as the kernels read them, shared by plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _native
from .graph import Array, Buffer


class WeightStore:
    """What plans of one model made of its parameters, by the key of the parameter.

    read: gives parameter number i, where the model holds placeholders: one array at a time is in
        memory beside its packed form.
    """

    def __init__(self, read: Callable[[int], Array] | None = None) -> None:
        self.read = read
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
            packed = _aligned(size, weight.dtype)
            _native.conv2d_pack(weight, packed, algorithm)
            return packed

        return self._once(buffer, algorithm, pack)

    def _once(self, buffer: Buffer, kind: Any, make: Callable[[Array], Array]) -> Array:
        if buffer.key is None:  # no parameter, so nothing that another plan would find
            return make(self._value(buffer))
        with self._lock:
            key = (buffer.key, kind)
            if key not in self._made:
                self._made[key] = make(self._value(buffer))
            return self._made[key]

    def _value(self, buffer: Buffer) -> Array:
        if buffer.parts:
            return np.concatenate([self._value(part) for part in buffer.parts], axis=-1)
        assert buffer.array is not None
        if self.read is None or buffer.key is None:
            return buffer.array
        return self.read(buffer.key[0]).reshape(buffer.shape)


def _aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """Memory that begins with a cache line. Not from the pool, whose sizes are rounded: packed
    weights stay as long as their plan, so a tenth more of them would be lost."""
    line = 64 // dtype.itemsize
    memory = np.empty(size + line, dtype)
    first = -(memory.ctypes.data // dtype.itemsize) % line
    return memory[first : first + size]


def _filled(array: Array) -> Array:
    copy = _native.empty(array.shape, array.dtype)
    copy[...] = array
    return copy
