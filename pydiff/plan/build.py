"""The way from a model to a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import config
from ..errors import PlanError
from .check import check_equal, check_same_calls, other_inputs
from .fuse import optimise
from .graph import Array, Buffer, Graph, Node, View
from .inputs import AnyInputs, Rules, Signature
from .lower import lower
from .parameters import Parameters, parameters_of
from .plan import Plan
from .program import Parts
from .trace import address_of, trace
from .weights import WeightStore

LEAST_SHARE = 8  # images of a thread


@dataclass(frozen=True, eq=False)
class Source:
    """Where plans come from: a model, its parameters when it was first compiled, their copies."""

    model: Callable[..., Any]
    algorithm: str  # of convolutions, "auto" or "exact"
    parameters: Parameters
    store: WeightStore


def build_checked(source: Source, rules: Rules | None, inputs: dict[str, Array]) -> Plan:
    """`build`, then a comparison with the model on other inputs."""
    plan, keys = build(source, rules, inputs), keys_of(source.model)
    graph, _ = trace(source.model, inputs, keys, run=True)
    others = other_inputs(inputs, graph)
    again, expected = trace(source.model, others, keys, run=True)
    check_same_calls(graph, again)
    output = plan(others["x"], others["t"], **_without_images(others))
    check_equal(output, expected, source.algorithm == config.conv_algorithm())
    return plan


def keys_of(model: Callable[..., Any]) -> dict[int, int]:
    """The number of each parameter by the address of its array."""
    return {address_of(p.data): i for i, p in enumerate(parameters_of(model))}


def build(
    source: Source, rules: Rules | None, inputs: dict[str, Array], whole: bool = True
) -> Plan:
    """Trace, optimise, lower; the same for a thread's share of the images unless this is one."""
    graph, example = trace(source.model, inputs, keys_of(source.model), run=False)
    _own_output(graph)
    optimise(graph)
    program = lower(graph, source.store, source.algorithm == "exact")
    shapes = {name: array.shape for name, array in inputs.items()}
    dtypes = {name: array.dtype for name, array in inputs.items()}
    signature = Signature(rules or AnyInputs(tuple(inputs)), shapes, dtypes)
    again_for = partial(_build_for_batch, source, rules, _first_images(inputs))
    parts = _parts(source, rules, inputs) if whole else None
    return Plan(program, signature, again_for, example.shape, example.dtype, parts)


def _parts(source: Source, rules: Rules | None, inputs: dict[str, Array]) -> Parts | None:
    """A share for each thread, where images are independent and all shares are alike.

    What a thread writes stays in its cache, and no thread waits for another after each call. Where
    two cores have no cache in common, 64 images of 16x16 take 10.7 ms and not 13.5; elsewhere it is
    the same. With fewer images than LEAST_SHARE the weights would pass through each thread's
    cache for too little.
    """
    n, count = inputs["x"].shape[0], config.num_threads()
    alike = count > 1 and n % count == 0 and n // count >= LEAST_SHARE
    if not alike or not getattr(source.model, "independent_images", False):
        return None
    first = {k: a[: n // count] if a.shape[:1] == (n,) else a for k, a in inputs.items()}
    part = build(source, rules, first, whole=False)
    steps = [0 if a.shape == inputs[k].shape else a.nbytes for k, a in first.items()]
    steps.append(math.prod(part.output_shape) * part.dtype.itemsize)
    return Parts(part._program, count, steps)


def _own_output(graph: Graph) -> None:
    """The output is memory of its own: a copy where it is part of something else."""
    view = graph.output
    if not (view.buffer.is_result and view.is_whole):
        result = Buffer(view.shape, view.dtype)
        graph.nodes.append(Node("contiguous", {"x": view}, [View.whole(result)]))
        graph.output = View.whole(result)


def _first_images(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of the first image of each input; nothing where one has no axis of images."""
    n = inputs["x"].shape[:1]
    if any(array.shape[:1] != n for array in inputs.values()):
        return {}
    return {name: array[:1].copy() for name, array in inputs.items()}


def _build_for_batch(
    source: Source, rules: Rules | None, first: Mapping[str, Array], n: int
) -> Plan:
    if not source.parameters.are_those_of(source.model):
        raise PlanError("for_batch: the model's weights have changed; use pydiff.compile again")
    if not first:
        raise PlanError("for_batch: not every input has an axis of images")
    return build(
        source, rules, {name: np.repeat(array, n, axis=0) for name, array in first.items()}
    )


def _without_images(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in inputs.items() if name not in ("x", "t")}
