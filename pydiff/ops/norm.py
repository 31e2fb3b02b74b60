"""Group and layer normalisation, channels last."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from .support import as_tensor, data_of, optional_tensor

Gradients = tuple["Array | None", "Array | None", "Array | None"]


def group_norm(
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, act: str = "none"
) -> Tensor:
    """act((x - mean) / sqrt(var + eps) weight + bias), statistics per sample and group of channels.

    Wu & He 2018; var is the biased variance. x (N, ..., C) with C divisible by `groups`; weight and
    bias (C,), both or neither; act "none" or "silu", computed in the same pass over memory.
    """
    x, weight, bias = _tensors("group_norm", x, weight, bias)
    y, mean, rstd = backend.group_norm(x.data, groups, data_of(weight), data_of(bias), eps, act)
    return record(
        "group_norm", y, (x, weight, bias), (x, weight, bias),
        groups=groups, mean=mean, rstd=rstd, act=act,
    )  # fmt: skip


@rule("group_norm", "x, weight, bias", saves="x, weight, bias")
def group_norm_backward(ctx: Node, dy: Array) -> Gradients:
    x, weight, bias = ctx.saved
    return backend.group_norm_backward(
        dy, x, ctx["groups"], weight, bias, ctx["mean"], ctx["rstd"], ctx["act"]
    )


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(var + eps) weight + bias, statistics over the last axis (Ba et al. 2016).

    x (..., C); weight and bias (C,), both or neither.
    """
    x, weight, bias = _tensors("layer_norm", x, weight, bias)
    y, mean, rstd = backend.layer_norm(x.data, data_of(weight), data_of(bias), eps)
    return record("layer_norm", y, (x, weight, bias), (x, weight), mean=mean, rstd=rstd)


@rule("layer_norm", "x, weight, bias", saves="x, weight")
def layer_norm_backward(ctx: Node, dy: Array) -> Gradients:
    x, weight = ctx.saved
    return backend.layer_norm_backward(dy, x, weight, ctx["mean"], ctx["rstd"])


def _tensors(
    op: str, x: Any, weight: Any, bias: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    return as_tensor(op, x), optional_tensor(op, weight), optional_tensor(op, bias)
