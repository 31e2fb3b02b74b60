"""Multi-head attention over tokens."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from .support import as_tensor


def attention(q: Any, k: Any, v: Any, heads: int = 1, scale: float | None = None) -> Tensor:
    """softmax(scale q k^T) v per head (Vaswani et al. 2017, section 3.2), without projections.

    q (N, Tq, C), k and v (N, Tk, C) -> (N, Tq, C). Head h holds channels h C/heads to
    (h + 1) C/heads; `scale` is 1 / sqrt(C / heads) by default.
    """
    q, k, v = as_tensor("attention", q), as_tensor("attention", k), as_tensor("attention", v)
    o, lse = backend.attention(q.data, k.data, v.data, heads, scale)
    return record("attention", o, (q, k, v), (q, k, v, o), lse=lse, heads=heads, scale=scale)


@rule("attention", "q, k, v", saves="q, k, v, the output")
def attention_backward(ctx: Node, dy: Array) -> tuple[Array, Array, Array]:
    q, k, v, o = ctx.saved
    return backend.attention_backward(dy, q, k, v, o, ctx["lse"], ctx["heads"], ctx["scale"])
