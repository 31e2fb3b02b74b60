"""Two-dimensional convolution, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from .support import as_tensor


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Tensor:
    """Cross-correlation of x (N, H, W, Ci) with weight (kh, kw, Ci, Co), plus bias (Co,).

    stride: int or (sh, sw). padding: int, (h, w) or (top, bottom, left, right), with zeros.
    Returns (N, Ho, Wo, Co), Ho = (H + top + bottom - kh) // sh + 1 and Wo likewise.
    """
    x, weight = as_tensor("conv2d", x), as_tensor("conv2d", weight)
    bias = None if bias is None else as_tensor("conv2d", bias)
    y = backend.conv2d(x.data, weight.data, None if bias is None else bias.data, stride, padding)
    saved = (x if weight.requires_grad else None, weight if x.requires_grad else None)
    return record("conv2d", y, (x, weight, bias), saved, stride=stride, padding=padding)


@rule("conv2d", "x, weight, bias", saves="x, weight")
def conv2d_backward(ctx: Node, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
    x, weight = ctx.saved
    options = ctx["stride"], ctx["padding"]
    dx = dweight = dbias = None
    if ctx.needs[0]:
        dx = backend.conv2d_backward_data(dy, weight, ctx.shapes[0], *options)
    if ctx.needs[1]:
        dweight = backend.conv2d_backward_weight(x, dy, ctx.shapes[1], *options)
    if ctx.needs[2]:
        dbias = backend.sum(dy, (0, 1, 2)).reshape(dy.shape[3:])
    return dx, dweight, dbias
