"""`pydiff.compile`: the checked doorway to plans."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import config
from ..backend import registry
from ..errors import ConfigError, PlanError, ShapeError
from .inputs import AnyInputs
from .parameters import Parameters

if TYPE_CHECKING:
    from .plan import Plan


def compile(
    model: Callable[..., Any], x: Any, t: Any, *, conv_algorithm: str | None = None, **inputs: Any
) -> Plan:
    """A plan that computes model(x, t, **inputs) in one native call, for inputs of these shapes.

    model: a `pydiff.nn` network in evaluation mode, or any function whose output is computed from
        its inputs by pydiff.ops (or pydiff.backend) alone.
    x: images (N, H, W, C) float32 or float64; t: one number or (N,); inputs: keyword arguments of
        the model, such as class_labels. Values do not matter, shapes do.
    conv_algorithm: "auto" or "exact" (see `pydiff.config`); by default the setting now in force.

    The plan holds a copy of the weights as they are now, and the model, for `for_batch`. Raises
    PlanError where the native module is missing or another backend is active, for a model that
    draws random numbers, and where the plan would not do what the model does: both are run once
    more on other inputs and compared.
    """
    check_backend()
    algorithm = config.conv_algorithm() if conv_algorithm is None else conv_algorithm
    if algorithm not in config.CONV_ALGORITHMS:
        raise ConfigError(
            f"compile: conv_algorithm = {conv_algorithm!r}; "
            f"allowed: None, {', '.join(config.CONV_ALGORITHMS)}"
        )
    from .build import Source, build_checked  # needs the native module
    from .weights import WeightStore

    rules, arrays = _inputs(model, x, t, inputs)
    source = Source(model, algorithm, Parameters.of(model), WeightStore())
    return build_checked(source, rules, arrays)


def compile_stored(
    model: Callable[..., Any], x: Any, t: Any, read: Callable[[int], Any], **inputs: Any
) -> Plan:
    """`compile` for a network whose parameters are placeholders: `read(i)` gives number i.

    There is nothing to compare the plan with, so only for networks that are tested with plans.
    """
    check_backend()
    from .build import Source, build
    from .weights import WeightStore

    rules, arrays = _inputs(model, x, t, inputs)
    source = Source(model, config.conv_algorithm(), Parameters.of(model), WeightStore(read))
    return build(source, rules, arrays)


def check_backend() -> None:
    """PlanError where plans cannot run."""
    if importlib.util.find_spec("pydiff._native") is None:
        raise PlanError(
            "compile: plans run on the native kernels, which are not built; install pydiff with a "
            "C++ compiler, or call the model itself"
        )
    if registry.name() != "cpu":
        raise PlanError(
            f"compile: plans run on the native kernels, but the active backend is "
            f"{registry.name()!r}; select 'cpu', or call the model itself"
        )


def _inputs(
    model: Callable[..., Any], x: Any, t: Any, inputs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """How the model takes its inputs, and these ones so."""
    rules = getattr(model, "inputs", None)
    given = (rules or AnyInputs(("x", "t", *inputs)))(x, t, **inputs)
    return rules, {name: _array(name, value) for name, value in given.items()}


def _array(name: str, value: Any) -> Any:
    array = value.numpy() if hasattr(value, "numpy") else value
    if not array.size:
        raise ShapeError(f"compile: {name} has shape {array.shape}, which holds nothing")
    return array.copy()
