"""Images at other resolutions, channels last."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from .support import as_tensor


def upsample_nearest(x: Any, factor: int = 2) -> Tensor:
    """Every pixel repeated: x (N, H, W, C) -> (N, H factor, W factor, C)."""
    x = as_tensor("upsample_nearest", x)
    y = backend.upsample_nearest(x.data, factor)
    return record("upsample_nearest", y, (x,), factor=factor)


@rule("upsample_nearest", "x")
def upsample_nearest_backward(ctx: Node, dy: Array) -> tuple[Array]:
    return (backend.sum_pool(dy, ctx["factor"]),)


def avg_pool2d(x: Any, factor: int = 2) -> Tensor:
    """The mean of each factor x factor window: x (N, H, W, C) -> (N, H/factor, W/factor, C).

    H and W must be divisible by `factor`.
    """
    x = as_tensor("avg_pool2d", x)
    y = backend.sum_pool(x.data, factor, 1.0 / factor**2 if factor else 1.0)
    return record("avg_pool2d", y, (x,), factor=factor)


@rule("avg_pool2d", "x")
def avg_pool2d_backward(ctx: Node, dy: Array) -> tuple[Array]:
    factor = ctx["factor"]
    return (backend.upsample_nearest(dy, factor, 1.0 / factor**2),)
