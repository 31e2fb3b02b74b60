"""Multi-head attention (Vaswani et al. 2017, section 3.2) over tokens, and its gradient."""

from __future__ import annotations

import math

from ...errors import ShapeError
from ..registry import active
from .checks import Array, arrays, expect, expect_ndim, integer


def attention(
    q: Array, k: Array, v: Array, heads: int = 1, scale: float | None = None
) -> tuple[Array, Array]:
    """softmax(scale q k^T) v per head; head h holds channels h C/heads to (h + 1) C/heads.

    q (N, Tq, C), k and v (N, Tk, C), C divisible by `heads`; scale defaults to
    1 / sqrt(C / heads) -> o (N, Tq, C), lse (N, heads, Tq): the log of the sum of exponentials.
    """
    q, k, v = arrays("attention", q=q, k=k, v=v)
    heads = _check_heads("attention", q, k, v, heads)
    return active().attention(q, k, v, heads, _scale(q, heads, scale))


def attention_backward(
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    o: Array,
    lse: Array,
    heads: int = 1,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of q, k and v. dy and o like q; o and lse as `attention` returned them."""
    op = "attention_backward"
    dy, q, k, v, o, lse = arrays(op, dy=dy, q=q, k=k, v=v, o=o, lse=lse)
    heads = _check_heads(op, q, k, v, heads)
    expect(op, "dy", dy, q.shape)
    expect(op, "o", o, q.shape)
    expect(op, "lse", lse, (q.shape[0], heads, q.shape[1]))
    return active().attention_backward(dy, q, k, v, o, lse, heads, _scale(q, heads, scale))


def _check_heads(op: str, q: Array, k: Array, v: Array, heads: int) -> int:
    expect_ndim(op, "q", q, "N,T,C")
    expect_ndim(op, "k", k, "N,T,C")
    if k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[2] != k.shape[2]:
        raise ShapeError(
            f"{op}: q has shape {q.shape}, k {k.shape}, v {v.shape}; q (N,Tq,C), k and v (N,Tk,C) "
            "are needed"
        )
    heads = integer(op, "heads", heads, 1)
    if q.shape[2] % heads or not q.shape[2]:
        raise ShapeError(f"{op}: {heads} heads do not divide the {q.shape[2]} channels of q")
    if not k.shape[1]:
        raise ShapeError(f"{op}: k has shape {k.shape}; there must be a token to attend to")
    return heads


def _scale(q: Array, heads: int, scale: float | None) -> float:
    return 1.0 / math.sqrt(q.shape[2] // heads) if scale is None else float(scale)
