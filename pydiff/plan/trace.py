"""Run a model once and write down what it asks of the backend."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .. import _native
from ..autograd import no_grad
from ..backend import registry
from ..errors import PlanError
from .graph import Array, Buffer, Graph, Node, View

_RANDOM = ("uniform", "normal")
_IN_PLACE = ("adamw", "ema")


def trace(
    model: Callable[..., Any], inputs: Mapping[str, Array], keys: Mapping[int, Any], run: bool
) -> tuple[Graph, Array]:
    """The calls of model(x, t, ...) on `inputs`, and its output.

    inputs: arrays by name, "x" and "t" first. keys: address of a parameter's array -> the key of
    the constants that begin there. run: whether the calls are made; else results are memory that
    nobody touches, so that only shapes come out, and parameters may be placeholders.
    Raises PlanError where the output does not come from the inputs.
    """
    recorder = Recorder(inputs, keys, run)
    x, t, *rest = inputs
    with registry.tracing(recorder), no_grad():
        result = model(inputs[x], inputs[t], **{name: inputs[name] for name in rest})
    array = np.asarray(
        getattr(result, "data", result) if not isinstance(result, np.ndarray) else result
    )
    output = recorder.view(array)
    if not depends(output):
        raise PlanError(
            "the model's output comes from no call of pydiff's backend: a plan can only hold what "
            "is computed by pydiff.ops (or pydiff.backend) from the inputs"
        )
    return Graph(recorder.inputs, recorder.nodes, output), array


def depends(value: Any) -> bool:
    """Whether an argument holds anything that the inputs determine."""
    if isinstance(value, list):
        return any(map(depends, value))
    return isinstance(value, View) and value.buffer.array is None


class Recorder:
    """Stands in for the backend: calls it, and writes down the calls that depend on an input.

    An array is known by its memory, so views cost nothing. Memory counts while its array lives: a
    later array at the same address is another one.
    """

    def __init__(self, inputs: Mapping[str, Array], keys: Mapping[int, Any], run: bool) -> None:
        self.backend = registry.implementation()
        self.keys = keys
        self.run = run
        self.nodes: list[Node] = []
        self.inputs: dict[str, Buffer] = {}
        self._live: dict[int, list[tuple[int, Buffer]]] = {}  # id of the owner -> begin, buffer
        self._watchers: dict[int, weakref.ref[Any]] = {}
        self._constants: dict[Any, Buffer] = {}
        for name, array in inputs.items():
            self.inputs[name] = Buffer(array.shape, array.dtype, name)
            self._know(array, self.inputs[name])

    def __getattr__(self, op: str) -> Callable[..., Any]:
        return partial(self._call, op)

    def view(self, array: Array) -> View:
        """What the trace knows of this array: a view of an input or result, or a constant."""
        address = address_of(array)
        for begin, buffer in self._live.get(id(_owner(array)), ()):
            inside = begin <= address < begin + max(buffer.nbytes, 1)
            if inside and buffer.dtype == array.dtype:
                return View(buffer, address - begin, array.shape, array.strides)
        return View.whole(self._constant(array))

    def _call(self, op: str, *args: Any) -> Any:
        if op in _RANDOM:
            raise PlanError(
                f"the model draws random numbers ({op}), which a plan would freeze; "
                "switch it to evaluation first: model.eval()"
            )
        if op in _IN_PLACE:
            raise PlanError(f"the model changes an array in place ({op}), which no plan can hold")
        function = getattr(self.backend, op)
        named = dict(zip(_parameters(function), map(self._argument, args), strict=False))
        dependent = any(map(depends, named.values()))
        with unmade() if dependent and not self.run else nullcontext():
            result = function(*args)
        if dependent:
            results = result if isinstance(result, tuple) else (result,)
            self.nodes.append(Node(op, named, [self._result(array) for array in results]))
        return result

    def _argument(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.view(value)
        if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
            return [self._argument(item) for item in value]
        return value

    def _result(self, array: Array) -> View:
        buffer = Buffer(array.shape, array.dtype)
        self._know(array, buffer)
        return View.whole(buffer)

    def _know(self, array: Array, buffer: Buffer) -> None:
        owner = _owner(array)
        key = id(owner)
        if key not in self._watchers:
            self._watchers[key] = weakref.ref(owner, lambda _: self._forget(key))
        self._live.setdefault(key, []).append((address_of(array), buffer))

    def _forget(self, key: int) -> None:
        del self._watchers[key]
        self._live.pop(key, None)

    def _constant(self, array: Array) -> Buffer:
        """Holds the array, so that no other can come to lie at its address."""
        known = (address_of(array), array.shape, array.strides, array.dtype)
        if known not in self._constants:
            parameter = self.keys.get(known[0])
            key = None if parameter is None else (parameter, *known[1:3])
            self._constants[known] = Buffer(array.shape, array.dtype, array=array, key=key)
        return self._constants[known]


@contextmanager
def unmade() -> Iterator[None]:
    """Kernel calls of this thread are passed over."""
    recording = _native.Recording()
    recording.start()
    try:
        yield
    finally:
        recording.stop()


@lru_cache(256)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _owner(array: Array) -> Array:
    """The array whose memory this is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def address_of(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
