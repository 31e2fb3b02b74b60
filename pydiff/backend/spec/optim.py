"""Updates of parameters, in place: every array is C-contiguous, writable and of one shape."""

from __future__ import annotations

from ...errors import ShapeError
from ..registry import active
from .checks import Array, arrays, in_range, integer, same_shape


def adamw(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019, algorithm 2) on p, m and v, in place.

    p parameter, g gradient, m and v first and second moment; `step` counts from 1. Weight decay
    is decoupled: p -= lr weight_decay p.
    """
    checked = arrays("adamw", p=p, g=g, m=m, v=v)
    same_shape("adamw", p=p, g=g, m=m, v=v)
    _in_place("adamw", p=(p, checked[0]), m=(m, checked[2]), v=(v, checked[3]))
    active().adamw(
        *checked,
        in_range("adamw", "lr", lr, 0.0),
        in_range("adamw", "beta1", beta1, 0.0, 1.0),
        in_range("adamw", "beta2", beta2, 0.0, 1.0),
        in_range("adamw", "eps", eps, 0.0),
        in_range("adamw", "weight_decay", weight_decay, 0.0),
        integer("adamw", "step", step, 1, 2**63 - 1),
    )


def ema(e: Array, p: Array, decay: float) -> None:
    """e = decay e + (1 - decay) p, in place on e; 0 <= decay < 1."""
    checked = arrays("ema", e=e, p=p)
    same_shape("ema", e=e, p=p)
    _in_place("ema", e=(e, checked[0]))
    active().ema(*checked, in_range("ema", "decay", decay, 0.0, 1.0))


def _in_place(op: str, **named: tuple[Array, Array]) -> None:
    for name, (given, checked) in named.items():
        if given is not checked or not given.flags.writeable:
            raise ShapeError(
                f"{op}: {name} is changed in place, so it must be C-contiguous, aligned, "
                "native-endian and writable; give a copy made by numpy.array"
            )
