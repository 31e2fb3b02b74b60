# cython: language_level=3, annotation_typing=False
"""The tape: which op made a tensor from which others, and the walk back through them.

Plain Python, compiled by Cython with the C types of `tape.pxd`; it runs uncompiled as well. It
knows no formulas: `record` notes an op by its name, `backward` looks the name up in `RULES`.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any

import numpy as np
from numpy import ndarray

from .. import backend
from ..errors import AutogradError, DtypeError, ShapeError
from .arrays import Array, fingerprint, float_array, is_sole
from .rules import RULES, Rule

Shape = tuple[int, ...]


class _Mode(threading.local):
    """Per thread: how many `no_grad` blocks are open."""

    paused = 0


_mode = _Mode()
_accumulate_lock = threading.Lock()
_tensor_type: Any = None


class TensorBase:
    """What the tape must know of a tensor: its array, its gradient, and the node that made it."""

    __slots__ = ("__weakref__", "_data", "_grad", "_leaf", "_version", "node")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._data: Array = data.data if isinstance(data, TensorBase) else float_array(data)
        self._grad: Array | None = None
        self._leaf = bool(requires_grad)
        self._version = 0
        self.node: Node | None = None

    @property
    def data(self) -> Array:
        """The float32 or float64 ndarray. Assigning, also by `t.data += x`, counts as a change."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        array = float_array(value, "Tensor.data")
        if array.shape != self._data.shape or array.dtype != self._data.dtype:
            if self.node is not None:
                raise AutogradError(
                    f"Tensor.data: {array.dtype} {array.shape} cannot replace {self.dtype} "
                    f"{self.shape} in the result of an op; only leaves may change shape or dtype"
                )
            self._grad = None
        self._data = array
        self._version += 1

    @property
    def grad(self) -> Array | None:
        """The accumulated gradient, an ndarray of the tensor's shape and dtype, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is not None:
            _check_gradient("Tensor.grad", value, self._data.shape, self._data.dtype)
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass reaches this tensor. Can be set on leaf tensors only."""
        return self._leaf or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None:
            raise AutogradError(
                "Tensor.requires_grad can be set on leaf tensors only; this one is the result of "
                f"'{self.node.op}' (use .detach())"
            )
        self._leaf = bool(value)

    @property
    def version(self) -> int:
        """How often the data was declared changed: by assigning `data` or by `mark_changed`."""
        return self._version

    def mark_changed(self) -> None:
        """Declare that the array behind `data` was written in place (optimisers do)."""
        self._version += 1

    @property
    def shape(self) -> Shape:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._data.dtype


class Node:
    """One recorded op. Rules see it as `ctx`: `saved`, `needs`, `shapes` and `ctx["attribute"]`."""

    __slots__ = ("attrs", "checks", "dtype", "op", "parents", "shape", "sources")

    def __init__(
        self,
        op: str,
        data: Array,
        parents: tuple[Node | TensorBase | None, ...],
        saved: tuple[Any, ...],
        attrs: dict[str, Any],
    ) -> None:
        self.op = op
        self.shape = data.shape
        self.dtype = data.dtype
        self.parents = parents
        self.sources = saved
        self.checks = tuple([_check(x) for x in saved])
        self.attrs = attrs

    def free(self) -> None:
        """Let go of everything that only the backward pass needs."""
        self.parents = self.sources = self.checks = self.attrs = None  # type: ignore[assignment]

    @property
    def saved(self) -> tuple[Any, ...]:
        """The arrays that the rule reads, or None; checked to be those of the forward pass."""
        return tuple([_array(x) for x in self.sources])

    @property
    def needs(self) -> tuple[bool, ...]:
        """Per argument: is its gradient wanted?"""
        return tuple([parent is not None for parent in self.parents])

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Per argument: its shape where its gradient is wanted, else None."""
        return tuple([None if parent is None else parent.shape for parent in self.parents])

    def __getitem__(self, name: str) -> Any:
        return self.attrs[name]


def set_tensor_type(tensor_type: type) -> None:
    """The class that `record` makes; a subclass of TensorBase without an own `__slots__`."""
    global _tensor_type
    _tensor_type = tensor_type


def record(
    op: str, data: Any, inputs: tuple[Any, ...], saved: tuple[Any, ...] = (), **attrs: Any
) -> Any:
    """The array `data`, computed by `op` from `inputs`, as a tensor that knows where it came from.

    inputs: tensors, arrays or None, in the order of the rule's arguments.
    saved: tensors, arrays or None that the rule reads; changing one before the backward pass is
        detected. What no user can reach (statistics, options) goes into `attrs` instead.
    Nothing is kept where no input requires a gradient or inside `no_grad`.
    """
    return _record(op, data, inputs, saved, attrs)


def _record(
    op: str, data: Any, inputs: tuple[Any, ...], saved: tuple[Any, ...], attrs: dict[str, Any]
) -> TensorBase:
    tensor = _tensor_type.__new__(_tensor_type)
    tensor._data = data if type(data) is ndarray else np.asarray(data)
    tensor._grad = None
    tensor._leaf = False
    tensor._version = 0
    tensor.node = None
    if not _mode.paused:
        parents = tuple([_parent(x) for x in inputs])
        for parent in parents:
            if parent is not None:
                tensor.node = Node(op, tensor._data, parents, saved, attrs)
                break
    return tensor


def _parent(x: Any) -> Node | TensorBase | None:
    """Where the gradient of `x` goes: to the node that made it, to a leaf, or nowhere."""
    if not isinstance(x, TensorBase):
        return None
    base = x
    if base.node is not None:
        return base.node
    return base if base._leaf else None


def _array(x: Any) -> Any:
    if not isinstance(x, TensorBase):
        return x
    base = x
    return base._data


def _check(x: Any) -> int | None:
    """What must be the same when the backward pass reads a saved array."""
    if not isinstance(x, TensorBase):
        return None if x is None else fingerprint(x, 0)
    base = x
    return fingerprint(base._data, base._version)


def backward(root: TensorBase, gradient: Any = None, only: TensorBase | None = None) -> None:
    """Add d root / d leaf, weighted by `gradient`, to `.grad` of every leaf; free the graph.

    gradient: array of the root's shape and dtype; may be omitted for tensors of one element.
    only: the one leaf that shall get a gradient; nothing is computed for others.
    On an error no `.grad` has changed. Raises AutogradError, ShapeError or DtypeError.
    """
    start = _parent(root)
    if start is None:
        raise AutogradError(
            "backward: this tensor does not require a gradient; give requires_grad=True to what "
            "should get one, and compute outside no_grad"
        )
    start_gradient = _start_gradient(root, gradient)
    if only is not None:
        _restrict(start, only)
    gradients = {start: start_gradient}
    for node in _order(start):
        pulled = _pull(node, gradients.pop(node))
        for i, parent in enumerate(node.parents):
            if parent is not None:
                if parent in gradients:
                    gradients[parent] = _sum(gradients, parent, pulled, i)
                else:
                    gradients[parent] = pulled[i]
        node.free()
    _accumulate(gradients, start_gradient)


def _start_gradient(root: TensorBase, gradient: Any) -> Array:
    data = root._data
    if gradient is None:
        if data.size != 1:
            raise AutogradError(
                f"backward: a tensor of shape {data.shape} needs a gradient of that shape; only "
                "tensors of one element may omit it"
            )
        return np.ones_like(data)
    if isinstance(gradient, TensorBase):
        gradient = gradient.data
    if isinstance(gradient, (int, float)):
        gradient = np.asarray(gradient, data.dtype)
    _check_gradient("backward: gradient", gradient, data.shape, data.dtype)
    return gradient


def _order(start: Node | TensorBase) -> list[Node]:
    """All nodes that lead to `start`, each after every node that uses it (Kahn's algorithm)."""
    if not isinstance(start, Node):
        return []
    uses = {start: 1}
    stack = [start]
    while stack:
        node = stack.pop()
        if node.parents is None:
            raise AutogradError(
                f"backward: the graph behind '{node.op}' was freed by an earlier backward(); run "
                "the forward pass again (double backward is not supported)"
            )
        for parent in node.parents:
            if isinstance(parent, Node):
                seen = uses.get(parent, 0)
                uses[parent] = seen + 1
                if seen == 0:
                    stack.append(parent)
    order = []
    stack.append(start)
    while stack:
        node = stack.pop()
        order.append(node)
        for parent in node.parents:
            if isinstance(parent, Node):
                left = uses[parent] - 1
                uses[parent] = left
                if left == 0:
                    stack.append(parent)
    return order


def _restrict(start: Node | TensorBase, leaf: TensorBase) -> None:
    """Cut every path that does not end at `leaf`, so that rules leave out those gradients."""
    reaching: set[Any] = {leaf}
    for node in reversed(_order(start)):  # each after those that it was made from
        if not reaching.isdisjoint(node.parents):
            reaching.add(node)
        node.parents = tuple([parent if parent in reaching else None for parent in node.parents])
    if start not in reaching:
        raise AutogradError("backward: this tensor does not depend on the one given as `only`")


def _sum(gradients: dict[Any, Array], parent: Any, pulled: tuple[Any, ...], i: int) -> Array:
    """gradients[parent] + pulled[i], in one of the two where that is a fresh array."""
    if is_sole(gradients, parent):
        backend.accumulate(gradients[parent], pulled[i])
        return gradients[parent]
    if is_sole(pulled, i):
        backend.accumulate(pulled[i], gradients[parent])
        return pulled[i]
    return backend.add(gradients[parent], pulled[i])


def _pull(node: Node, dy: Array) -> tuple[Any, ...]:
    """The gradients of a node's arguments from that of its output, checked."""
    rule = RULES.get(node.op)
    if rule is None:
        wanted = [str(i) for i, needed in enumerate(node.needs) if needed]
        raise AutogradError(
            f"{node.op}: no gradient rule for this op, but a gradient is wanted for argument "
            f"{', '.join(wanted)}; enter one with @rule({node.op!r}, ...)"
        )
    _check_saved(node, rule)
    if not (rule.strided or dy.flags.c_contiguous):
        dy = backend.contiguous(dy)  # once, where each kernel would make a copy of its own
    gradients = tuple(rule.pull(node, dy))
    if len(gradients) != len(node.parents):
        raise AutogradError(
            f"{node.op}: its gradient rule returned {len(gradients)} gradients for "
            f"{len(node.parents)} arguments"
        )
    for i, parent in enumerate(node.parents):
        if parent is not None:
            _check_pulled(node, rule, i, parent, gradients[i])
    return gradients


def _check_pulled(node: Node, rule: Rule, i: int, parent: Any, dx: Any) -> None:
    if type(dx) is ndarray and dx.shape == parent.shape and dx.dtype is parent.dtype:
        return
    name = _name(rule.arguments, i)
    if dx is None:
        raise AutogradError(f"{node.op}: its rule gave no gradient for argument '{name}'")
    what = f"{node.op}: gradient of argument '{name}'"
    _check_gradient(what, dx, parent.shape, parent.dtype)


def _check_saved(node: Node, rule: Rule) -> None:
    for i, source in enumerate(node.sources):
        if _check(source) != node.checks[i]:
            raise AutogradError(
                f"{node.op}: '{_name(rule.saves, i)}' was changed in place after the forward pass "
                "read it, so its gradient would be wrong; work on a copy, or call backward() first"
            )


def _check_gradient(what: str, gradient: Any, shape: Shape, dtype: Any) -> None:
    if not isinstance(gradient, np.ndarray):
        raise DtypeError(f"{what} is a {type(gradient).__name__}; an ndarray is needed")
    if gradient.shape != shape:
        raise ShapeError(f"{what} has shape {gradient.shape}, but {shape} is needed")
    if gradient.dtype != dtype:
        raise DtypeError(f"{what} has dtype {gradient.dtype}, but {dtype} is needed")


def _accumulate(gradients: dict[Any, Array], start_gradient: Array) -> None:
    """Add to each leaf's `.grad`; rules pass arrays through, so each leaf gets one of its own."""
    taken = {id(start_gradient)}
    with _accumulate_lock:
        for leaf, gradient in gradients.items():
            if leaf._grad is not None:
                leaf._grad = backend.add(leaf._grad, gradient)
            elif gradient.base is not None or id(gradient) in taken:
                leaf._grad = gradient.copy()
            else:
                leaf._grad = gradient
            taken.add(id(gradient))


def _name(names: tuple[str, ...], i: int) -> str:
    return names[i] if i < len(names) else str(i)


def is_grad_enabled() -> bool:
    """Whether this thread records ops, that is, runs outside every `no_grad`."""
    return not _mode.paused


class no_grad(ContextDecorator):
    """Nothing is recorded inside: `with no_grad():`, or `@no_grad()` on a function. Per thread."""

    def __enter__(self) -> no_grad:
        _mode.paused += 1
        return self

    def __exit__(self, *exc: object) -> None:
        _mode.paused -= 1
