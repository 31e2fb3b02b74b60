"""Matrix products."""

from __future__ import annotations

from ...errors import ConfigError, ShapeError
from ..registry import active
from .checks import Array, arrays, at_least, broadcast, optional

ACTIVATIONS = ("none", "silu")


def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    residual: Array | None = None,
    scale: float = 1.0,
    act: str = "none",
) -> Array:
    """act(scale * (op(a) op(b) + bias + residual)), where op swaps the last two axes if asked.

    op(a) (..., m, k), op(b) (..., k, n), bias (n,), residual and result (..., m, n); leading axes
    of a and b broadcast. act is "none" or "silu".
    """
    a, b = arrays("matmul", a=a, b=b)
    at_least("matmul", "a", a, 2)
    at_least("matmul", "b", b, 2)
    k = a.shape[-2 if transpose_a else -1]
    k_b, n = b.shape[:-3:-1] if transpose_b else b.shape[-2:]
    if k != k_b:
        raise ShapeError(
            f"matmul: the inner sizes {k} and {k_b} differ: a has shape {a.shape} (transpose_a="
            f"{transpose_a}), b {b.shape} (transpose_b={transpose_b})"
        )
    if a.ndim > 2 and b.ndim > 2 and broadcast(a.shape[:-2], b.shape[:-2]) is None:
        raise ShapeError(
            f"matmul: the leading axes of a {a.shape} and b {b.shape} do not broadcast; "
            "from the right, sizes must be equal or 1"
        )
    bias = optional("matmul", "bias", bias, a, (n,))
    if residual is not None:
        leading = broadcast(a.shape[:-2], b.shape[:-2]) or ()
        m = a.shape[-1 if transpose_a else -2]
        residual = optional("matmul", "residual", residual, a, (*leading, m, n))
    if act not in ACTIVATIONS:
        raise ConfigError(f"matmul: act is {act!r}; allowed: {', '.join(ACTIVATIONS)}")
    return active().matmul(
        a, b, bias, bool(transpose_a), bool(transpose_b), residual, float(scale), act
    )
