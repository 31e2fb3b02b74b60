"""What a plan is made from: buffers, views of them, and the calls of the backend between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(eq=False)
class Buffer:
    """Memory of one array: an input (it has a name), a constant (an array), or a result (neither).

    key: of a constant, what it is among the parameters of the model; None for any other.
    """

    shape: Shape
    dtype: np.dtype[Any]
    name: str = ""
    array: Array | None = None
    key: Any = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_result(self) -> bool:
        return not self.name and self.array is None


@dataclass(frozen=True)
class View:
    """Elements of a buffer, as NumPy describes them: offset and strides count bytes."""

    buffer: Buffer
    offset: int
    shape: Shape
    strides: Shape

    @classmethod
    def whole(cls, buffer: Buffer, shape: Shape | None = None) -> View:
        """All of a buffer, in another shape if one is given."""
        shape = buffer.shape if shape is None else shape
        return cls(buffer, 0, shape, packed_strides(shape, buffer.dtype.itemsize))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.buffer.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        wanted = packed_strides(self.shape, self.dtype.itemsize)
        axes = zip(self.shape, self.strides, wanted, strict=True)
        return all(n == 1 or stride == packed for n, stride, packed in axes)

    @property
    def is_whole(self) -> bool:
        """Whether this is the buffer itself, up to its shape."""
        return self.is_contiguous and self.nbytes == self.buffer.nbytes

    def rows(self) -> int | None:
        """Bytes from row to row, where the last axis is contiguous and all others step as one;
        None where memory is not cut like that."""
        item = self.dtype.itemsize
        if not self.shape or (self.shape[-1] != 1 and self.strides[-1] != item):
            return None
        step, spanned = None, 1
        for n, stride in zip(reversed(self.shape[:-1]), reversed(self.strides[:-1]), strict=True):
            if n == 1:
                continue
            step = stride if step is None else step
            if stride != step * spanned:
                return None
            spanned *= n
        return self.shape[-1] * item if step is None else step

    def of(self, memory: Array) -> Array:
        """This view of the memory that the buffer got, a contiguous array."""
        return np.ndarray(self.shape, self.dtype, memory.data, self.offset, self.strides)


def packed_strides(shape: Shape, itemsize: int) -> Shape:
    """C-order strides in bytes."""
    return tuple(itemsize * math.prod(shape[i + 1 :]) for i in range(len(shape)))


def moved(view: View, width: int, target: Buffer, pitch: int, offset: int) -> View | None:
    """The same elements after rows of `width` bytes moved into rows of `pitch` bytes of `target`.

    None where an axis of the view runs across rows.
    """
    strides = []
    for n, stride in zip(view.shape, view.strides, strict=True):
        if n == 1 or stride % width == 0:
            strides.append(stride // width * pitch)
        elif abs(stride) * (n - 1) < width:
            strides.append(stride)
        else:
            return None
    row, column = divmod(view.offset, width)
    return View(target, row * pitch + offset + column, view.shape, tuple(strides))


@dataclass(eq=False)
class Node:
    """One call of the backend: `args` by parameter name, with views for arrays; `outs` its results.

    fused: the names of the calls that this one has taken in.
    """

    op: str
    args: dict[str, Any]
    outs: list[View]
    fused: list[str] = field(default_factory=list)

    def inputs(self) -> Iterator[tuple[str, View]]:
        """Argument names and views, a list's members one by one."""
        for name, value in self.args.items():
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, View):
                    yield name, item


@dataclass(eq=False)
class Graph:
    """Calls in the order of their execution, from the inputs to one output."""

    inputs: dict[str, Buffer]
    nodes: list[Node]
    output: View

    def producers(self) -> dict[Buffer, Node]:
        """The node that made each buffer; the last one where several wrote to it."""
        return {out.buffer: node for node in self.nodes for out in node.outs}

    def uses(self) -> dict[Buffer, list[tuple[Node | None, str, View]]]:
        """Who reads each buffer, by which argument; the output of the graph has no node."""
        found: dict[Buffer, list[tuple[Node | None, str, View]]] = {}
        for node in self.nodes:
            for name, view in node.inputs():
                found.setdefault(view.buffer, []).append((node, name, view))
        found.setdefault(self.output.buffer, []).append((None, "output", self.output))
        return found

    def replace(self, buffer: Buffer, change: Callable[[View], View]) -> None:
        """Pass every view of `buffer` through `change`, results included."""

        def changed(value: Any) -> Any:
            if isinstance(value, list):
                return [changed(item) for item in value]
            return change(value) if isinstance(value, View) and value.buffer is buffer else value

        for node in self.nodes:
            node.args = {name: changed(value) for name, value in node.args.items()}
            node.outs = changed(node.outs)
        self.output = changed(self.output)
