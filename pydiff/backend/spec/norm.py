"""Group and layer normalisation, channels last, and their gradients."""

from __future__ import annotations

import math

import numpy as np

from ...errors import ShapeError
from ..registry import active
from .checks import (
    Array,
    are_usual,
    arrays,
    at_least,
    expect,
    in_range,
    integer,
    optional,
    same_shape,
)

ACTIVATIONS = ("none", "silu")


def group_norm(
    x: Array,
    groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    act: str = "none",
) -> tuple[Array, Array, Array]:
    """act((x - mean) rstd weight + bias) with statistics per sample and group of channels
    (Wu & He 2018); rstd = 1 / sqrt(var + eps), var the biased variance.

    x (N, ..., C), C divisible by `groups`; weight and bias (C,), both or neither; act "none" or
    "silu" -> y like x, mean (N, groups), rstd (N, groups).
    """
    if weight is None or bias is None or not are_usual(x, weight, bias):
        (x,) = arrays("group_norm", x=x)
        weight, bias = _affine("group_norm", x, weight, bias)
    elif weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        _affine("group_norm", x, weight, bias)  # says which
    groups = _check_groups("group_norm", x, groups, act)
    eps = in_range("group_norm", "eps", eps, 0.0)
    return active().group_norm(x, groups, weight, bias, eps, act)


def group_norm_backward(
    dy: Array,
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    act: str = "none",
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of x, weight and bias (None where there is no weight), with the saved statistics.

    dy like x (N, ..., C); mean, rstd (N, groups) as `group_norm` returned them.
    """
    op = "group_norm_backward"
    dy, x, mean, rstd = arrays(op, dy=dy, x=x, mean=mean, rstd=rstd)
    groups = _check_groups(op, x, groups, act)
    same_shape(op, dy=dy, x=x)
    weight, bias = _affine(op, x, weight, bias)
    expect(op, "mean", mean, (x.shape[0], groups))
    expect(op, "rstd", rstd, (x.shape[0], groups))
    return active().group_norm_backward(dy, x, groups, weight, bias, mean, rstd, act)


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """(x - mean) rstd weight + bias with statistics over the last axis (Ba et al. 2016).

    x (..., C); weight and bias (C,), both or neither -> y like x, mean (...), rstd (...).
    """
    (x,) = arrays("layer_norm", x=x)
    at_least("layer_norm", "x", x, 1)
    _not_empty("layer_norm", x, math.prod(x.shape[:-1]))
    weight, bias = _affine("layer_norm", x, weight, bias)
    return active().layer_norm(x, weight, bias, in_range("layer_norm", "eps", eps, 0.0))


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of x, weight and bias (None where there is no weight), with the saved statistics.

    dy like x (..., C); mean, rstd (...) as `layer_norm` returned them.
    """
    op = "layer_norm_backward"
    dy, x, mean, rstd = arrays(op, dy=dy, x=x, mean=mean, rstd=rstd)
    at_least(op, "x", x, 1)
    _not_empty(op, x, math.prod(x.shape[:-1]))
    same_shape(op, dy=dy, x=x)
    weight = optional(op, "weight", weight, x, x.shape[-1:])
    expect(op, "mean", mean, x.shape[:-1])
    expect(op, "rstd", rstd, x.shape[:-1])
    return active().layer_norm_backward(dy, x, weight, mean, rstd)


def _check_groups(op: str, x: Array, groups: int, act: str) -> int:
    at_least(op, "x", x, 2)
    groups = integer(op, "groups", groups, 1)
    if x.shape[-1] % groups:
        raise ShapeError(
            f"{op}: x {x.shape} has {x.shape[-1]} channels, which {groups} groups do not divide"
        )
    _not_empty(op, x, x.shape[0])
    if act not in ACTIVATIONS:
        raise ShapeError(f"{op}: act is {act!r}; allowed: {', '.join(ACTIVATIONS)}")
    return groups


def _not_empty(op: str, x: Array, samples: int) -> None:
    if samples and not x.size:
        raise ShapeError(f"{op}: x has shape {x.shape}; there are no statistics of nothing")


def _affine(
    op: str, x: Array, weight: Array | None, bias: Array | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if (weight is None) != (bias is None):
        raise ShapeError(f"{op}: give both weight and bias, or neither")
    channels = x.shape[-1:]
    weight = optional(op, "weight", weight, x, channels)
    return weight, optional(op, "bias", bias, x, channels)
