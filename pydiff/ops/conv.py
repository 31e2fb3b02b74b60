"""Two-dimensional convolution, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from .support import as_tensor, data_of, optional_tensor


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    add: Any = None,
    residual: Any = None,
) -> Tensor:
    """Cross-correlation of x (N, H, W, Ci) with weight (kh, kw, Ci, Co), plus bias (Co,).

    stride: int or (sh, sw). padding: int, (h, w) or (top, bottom, left, right), with zeros.
    add (N, Co), one vector per image, and residual, of the result's shape, are added in the same
    pass over memory.
    Returns (N, Ho, Wo, Co), Ho = (H + top + bottom - kh) // sh + 1 and Wo likewise.
    """
    x, weight = as_tensor("conv2d", x), as_tensor("conv2d", weight)
    bias, add, residual = (optional_tensor("conv2d", z) for z in (bias, add, residual))
    y = backend.conv2d(
        x.data, weight.data, data_of(bias), stride, padding, data_of(add), data_of(residual)
    )
    saved = (x if weight.requires_grad else None, weight if x.requires_grad else None)
    inputs = (x, weight, bias, add, residual)
    return record("conv2d", y, inputs, saved, stride=stride, padding=padding)


@rule("conv2d", "x, weight, bias, add, residual", saves="x, weight")
def conv2d_backward(ctx: Node, dy: Array) -> tuple[Array | None, ...]:
    x, weight = ctx.saved
    options = ctx["stride"], ctx["padding"]
    dx = dweight = dbias = dadd = None
    if ctx.needs[0]:
        dx = backend.conv2d_backward_data(dy, weight, ctx.shapes[0], *options)
    if ctx.needs[1]:
        dweight = backend.conv2d_backward_weight(x, dy, ctx.shapes[1], *options)
    if ctx.needs[3]:
        dadd = backend.sum(dy, (1, 2)).reshape(dy.shape[0], dy.shape[3])
    if ctx.needs[2]:
        dbias = backend.sum(dy, (0, 1, 2)) if dadd is None else backend.sum(dadd, (0,))
        dbias = dbias.reshape(dy.shape[3:])
    return dx, dweight, dbias, dadd, dy
