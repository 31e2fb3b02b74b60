"""Does a plan do what the model does? Both are run on other inputs than the plan was traced on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PlanError
from .graph import Array, Graph, Node, View


def other_inputs(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """Inputs of the same shapes with other values that a model allows where it allowed these.

    Images and vectors are drawn anew, times move towards 0 (0 becomes 1), indices move on by one.
    """
    rng = np.random.default_rng(0)
    rows = {
        node.args["index"].buffer.name: node.args["table"].shape[0]
        for node in graph.nodes
        if node.op == "gather"
    }
    return {name: _other(array, rows.get(name), rng) for name, array in inputs.items()}


def _other(array: Array, rows: int | None, rng: np.random.Generator) -> Array:
    if array.dtype.kind == "i":
        return (array + 1) % rows if rows else array + 1
    if array.ndim > 1:
        return rng.standard_normal(array.shape).astype(array.dtype)
    return np.asarray(np.where(array == 0, 1, 0.6 * array), array.dtype)


def check_same_calls(first: Graph, second: Graph) -> None:
    """PlanError where two traces of one model differ in more than the values of the inputs.

    So a number that was computed from an input outside of the backend, which a plan would freeze,
    is found even where the output hardly depends on it.
    """
    if [node.op for node in first.nodes] != [node.op for node in second.nodes]:
        raise PlanError("the model takes different steps for different inputs; a plan has one way")
    for a, b in zip(first.nodes, second.nodes, strict=True):
        for name, value in a.args.items():
            if not _same(value, b.args[name]):
                raise PlanError(_frozen(a, name))


def _frozen(node: Node, name: str) -> str:
    return (
        f"the argument {name!r} of {node.op} {node.outs[0].shape} depends on the inputs but was "
        "computed outside of pydiff's backend, so a plan would freeze it; compute it with "
        "pydiff.ops or pydiff.backend"
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_same, a, b))
    if not isinstance(a, View):
        return bool(a == b)
    if not isinstance(b, View) or (a.shape, a.strides, a.offset) != (b.shape, b.strides, b.offset):
        return False
    x, y = a.buffer.array, b.buffer.array
    if x is None or y is None:
        return x is y and a.buffer.name == b.buffer.name
    return x is y or np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def check_equal(plan: Array, model: Array, exactly: bool) -> None:
    """PlanError unless a plan's output is the model's up to rounding.

    exactly: convolutions use one algorithm in both. Then only the C library and the order of
    instructions could differ, which they do not; 100 eps leaves room for compilers that do.
    """
    largest = np.max(np.abs(model), initial=0, where=np.isfinite(model))
    error = np.max(np.abs(plan - model), initial=0, where=np.isfinite(model))
    allowed = (100 * np.finfo(model.dtype).eps if exactly else 1e-2) * largest
    if not error <= allowed or not np.array_equal(np.isfinite(plan), np.isfinite(model)):
        raise PlanError(
            f"the plan differs from the model by {error:.3g} where outputs reach {largest:.3g}; "
            "does the model depend on anything but its inputs and parameters?"
        )
