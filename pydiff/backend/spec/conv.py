"""Two-dimensional convolution (cross-correlation, as in all of deep learning), channels last.

x (N, H, W, Ci), weight (kh, kw, Ci, Co), y (N, Ho, Wo, Co) with Ho = (H + top + bottom - kh) // sh
+ 1 and Wo likewise. `stride` is an int or (sh, sw); `padding` an int, (h, w) or (top, bottom, left,
right), in zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ShapeError
from ..registry import active
from .checks import Array, arrays, expect, integer, integers, optional

Pair = tuple[int, int]
Quad = tuple[int, int, int, int]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    add: Array | None = None,
    residual: Array | None = None,
    scale: float = 1.0,
) -> Array:
    """y = scale * (x * weight + bias + add + residual), (N, Ho, Wo, Co).

    x (N, H, W, Ci), weight (kh, kw, Ci, Co), bias (Co,), add (N, Co): one vector per image,
    residual (N, Ho, Wo, Co).
    """
    x, weight = arrays("conv2d", x=x, weight=weight)
    steps, border = _options("conv2d", stride, padding)
    y_shape = _output_shape("conv2d", x.shape, weight.shape, steps, border)
    bias = optional("conv2d", "bias", bias, x, y_shape[3:])
    add = optional("conv2d", "add", add, x, (y_shape[0], y_shape[3]))
    residual = optional("conv2d", "residual", residual, x, y_shape)
    return active().conv2d(x, weight, bias, steps, border, add, residual, float(scale))


def conv2d_backward_data(
    dy: Array,
    weight: Array,
    x_shape: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Array:
    """Gradient of x: dy (N, Ho, Wo, Co), weight (kh, kw, Ci, Co) -> dx of shape `x_shape`."""
    op = "conv2d_backward_data"
    dy, weight = arrays(op, dy=dy, weight=weight)
    shape = tuple(integers(op, "x_shape", x_shape, (4,), 0))
    steps, border = _options(op, stride, padding)
    expect(op, "dy", dy, _output_shape(op, shape, weight.shape, steps, border))
    return active().conv2d_backward_data(dy, weight, shape, steps, border)


def conv2d_backward_weight(
    x: Array,
    dy: Array,
    weight_shape: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Array:
    """Gradient of the weight: x (N, H, W, Ci), dy (N, Ho, Wo, Co) -> shape `weight_shape`."""
    op = "conv2d_backward_weight"
    x, dy = arrays(op, x=x, dy=dy)
    shape = tuple(integers(op, "weight_shape", weight_shape, (4,), 0))
    steps, border = _options(op, stride, padding)
    expect(op, "dy", dy, _output_shape(op, x.shape, shape, steps, border))
    return active().conv2d_backward_weight(x, dy, shape, steps, border)


def _options(
    op: str, stride: int | Sequence[int], padding: int | Sequence[int]
) -> tuple[Pair, Quad]:
    """Stride as (sh, sw) and padding as (top, bottom, left, right)."""
    if isinstance(stride, Sequence):
        sh, sw = integers(op, "stride", stride, (2,), 1)
    else:
        sh = sw = integer(op, "stride", stride, 1)
    if not isinstance(padding, Sequence):
        p = integer(op, "padding", padding, 0)
        return (sh, sw), (p, p, p, p)
    border = integers(op, "padding", padding, (2, 4), 0)
    if len(border) == 2:
        border = [border[0], border[0], border[1], border[1]]
    return (sh, sw), (border[0], border[1], border[2], border[3])


def _output_shape(
    op: str, x: tuple[int, ...], weight: tuple[int, ...], stride: Pair, padding: Quad
) -> tuple[int, ...]:
    """(N, Ho, Wo, Co); ShapeError where x and weight do not fit."""
    if len(x) != 4 or len(weight) != 4:
        raise ShapeError(
            f"{op}: x has shape {x} and weight {weight}; x (N,H,W,Ci) and weight (kh,kw,Ci,Co) "
            "are needed"
        )
    if x[3] != weight[2]:
        raise ShapeError(
            f"{op}: x {x} has {x[3]} channels, but weight {weight} takes {weight[2]}; "
            "the layouts are x (N,H,W,Ci) and weight (kh,kw,Ci,Co)"
        )
    h, w = x[1] + padding[0] + padding[1], x[2] + padding[2] + padding[3]
    if not (1 <= weight[0] <= h and 1 <= weight[1] <= w):
        raise ShapeError(
            f"{op}: a kernel of {weight[0]}x{weight[1]} does not fit x {x}, which is {h}x{w} with "
            f"its padding {padding}; add padding or take a smaller kernel"
        )
    return (x[0], (h - weight[0]) // stride[0] + 1, (w - weight[1]) // stride[1] + 1, weight[3])
