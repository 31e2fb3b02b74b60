"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..errors import ShapeError
from .support import operands


def mse_loss(a: Any, b: Any) -> Tensor:
    """The mean of (a - b)^2 over all elements, a 0-d tensor; a and b have one shape."""
    a, b = operands("mse_loss", a, b)
    if a.shape != b.shape or not a.size:
        raise ShapeError(
            f"mse_loss: a has shape {a.shape} and b {b.shape}; equal shapes, not empty, are needed"
        )
    y = backend.squared_error(a.data, b.data, 1.0 / a.size)
    return record("mse_loss", y, (a, b), (a, b))


@rule("mse_loss", "a, b", saves="a, b")
def mse_loss_backward(ctx: Node, dy: Array) -> tuple[Array | None, Array | None]:
    a, b = ctx.saved
    slope = np.asarray(2.0 / a.size * dy, dy.dtype)
    da = backend.multiply(backend.subtract(a, b), slope) if ctx.needs[0] else None
    db = backend.multiply(backend.subtract(b, a), slope) if ctx.needs[1] else None
    return da, db
