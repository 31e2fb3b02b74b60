"""Updates of parameters, in place, all of them in one call; and of a sampler's state.

Arguments are sequences of arrays of one dtype; the arrays at one place have one shape. Those that
change are C-contiguous and writable. Each array belongs to one place only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DtypeError, ShapeError
from ..registry import active
from .checks import (
    Array,
    are_alike,
    are_usual,
    array,
    arrays,
    in_range,
    integer,
    same_dtype,
    same_shape,
)

Arrays = Sequence[Array]


def adamw(
    p: Arrays,
    g: Arrays,
    m: Arrays,
    v: Arrays,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    scale: float = 1.0,
    e: Arrays | None = None,
    decay: float = 0.0,
) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019, algorithm 2) on p, m and v, in place.

    p parameters, g gradients, m and v first and second moments; `step` counts from 1. Weight decay
    is decoupled: p -= lr weight_decay p. Gradients count as scale g. Where e is given, e = decay e
    + (1 - decay) p follows.
    """
    given = {"p": p, "g": g, "m": m, "v": v} | ({} if e is None else {"e": e})
    _, gradients, *_ = _updated("adamw", {"g"}, **given)
    active().adamw(
        p,
        gradients,
        m,
        v,
        in_range("adamw", "lr", lr, 0.0),
        in_range("adamw", "beta1", beta1, 0.0, 1.0),
        in_range("adamw", "beta2", beta2, 0.0, 1.0),
        in_range("adamw", "eps", eps, 0.0),
        in_range("adamw", "weight_decay", weight_decay, 0.0),
        integer("adamw", "step", step, 1, 2**63 - 1),
        in_range("adamw", "scale", scale, 0.0),
        e,
        in_range("adamw", "decay", decay, 0.0, 1.0),
    )


def ema(e: Arrays, p: Arrays, decay: float) -> None:
    """e = decay e + (1 - decay) p, in place on e; 0 <= decay < 1."""
    _, parameters = _updated("ema", {"p"}, e=e, p=p)
    active().ema(e, parameters, in_range("ema", "decay", decay, 0.0, 1.0))


def sum_of_squares(x: Arrays) -> Array:
    """The sum of the squares of all elements of all arrays, in float64: y ()."""
    if not (type(x) is list and are_usual(*x)):
        (x,) = _updated("sum_of_squares", {"x"}, x=x)
    return active().sum_of_squares(x)


def linear_combination(c: Array | list[float], x: Arrays) -> Array:
    """sum_i c_i x_i, summed in float64 and rounded once to the dtype of the x.

    x: one or more arrays of one shape (N, ...) and dtype. c: a list of numbers; or a float64 array
    (terms, N) with a coefficient per image, or (terms, 1).
    """
    if not x:
        raise ShapeError("linear_combination: x is empty; give at least one array")
    if not are_alike(*x):
        named = {f"x[{i}]": xi for i, xi in enumerate(x)}
        x = arrays("linear_combination", **named)
        same_shape("linear_combination", **named)
    if isinstance(c, list):
        if len(c) != len(x):
            raise ShapeError(f"linear_combination: {len(c)} numbers c for {len(x)} arrays x")
        return active().linear_combination(c, x)
    c = array("linear_combination", "c", c)
    allowed = ((len(x), 1), (len(x), *x[0].shape[:1]))
    if c.dtype != np.float64 or c.shape not in allowed:
        raise ShapeError(
            f"linear_combination: c is {c.dtype} {c.shape}; it must be float64, "
            f"{allowed[0]} or {allowed[1]}"
        )
    return active().linear_combination(c, x)


def _updated(op: str, only_read: set[str], **named: Arrays) -> list[Arrays]:
    """Each of `named`, those in `only_read` as contiguous arrays; all others change in place."""
    lists = list(named.values())
    for name, given in named.items():
        if not isinstance(given, (list, tuple)):
            raise DtypeError(f"{op}: {name} is a {type(given).__name__}; give a list of arrays")
        if len(given) != len(lists[0]):
            first = next(iter(named))
            raise ShapeError(
                f"{op}: {first} and {name} have {len(lists[0])} and {len(given)} arrays"
            )
    if _all_usual(lists):
        return lists
    rows = [
        _checked(op, only_read, dict(zip(named, row, strict=True)))
        for row in zip(*lists, strict=True)
    ]
    same_dtype(op, {f"{name}[{i}]": x for i, row in enumerate(rows) for name, x in row.items()})
    return [[row[name] for row in rows] for name in named]


def _all_usual(lists: list[Arrays]) -> bool:
    """Are all arrays fit for a kernel as they are? Lean: there are hundreds in every step."""
    dtype = getattr(lists[0][0], "dtype", None) if lists[0] else np.dtype(np.float32)
    if dtype is not np.dtype(np.float32) and dtype is not np.dtype(np.float64):
        return False
    for row in zip(*lists, strict=True):
        shape = getattr(row[0], "shape", None)
        for x in row:
            if type(x) is not np.ndarray or x.dtype is not dtype or x.shape != shape:
                return False
            if not x.flags.carray:  # C-contiguous, aligned, writable
                return False
    return True


def _checked(op: str, only_read: set[str], row: dict[str, Array]) -> dict[str, Any]:
    checked = {name: array(op, name, x) for name, x in row.items()}
    same_dtype(op, checked)
    same_shape(op, **checked)
    for name in row.keys() - only_read:
        if row[name] is not checked[name] or not row[name].flags.writeable:
            raise ShapeError(
                f"{op}: {name} is changed in place, so it must be C-contiguous, aligned, "
                "native-endian and writable; give a copy made by numpy.array"
            )
    return checked
