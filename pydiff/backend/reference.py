"""The contract in plain NumPy: complete, obvious, never optimised. The oracle of every kernel.

Arguments are checked by `spec`; shapes are given there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import cast as cast
from .features import fourier as fourier
from .features import sinusoids as sinusoids
from .philox import normal as normal
from .philox import uniform as uniform
from .reference_products import conv2d as conv2d
from .reference_products import conv2d_backward_data as conv2d_backward_data
from .reference_products import conv2d_backward_weight as conv2d_backward_weight
from .reference_products import matmul as matmul
from .updates import adamw as adamw
from .updates import ema as ema
from .updates import linear_combination as linear_combination
from .updates import sum_of_squares as sum_of_squares

Array = NDArray[Any]
Axes = tuple[int, ...]
Pair = tuple[int, int]

_quiet = np.errstate(all="ignore")  # infinities and NaN are results here, not surprises
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


# ---------------------------------------------------------------- elementwise
@_quiet
def exp(x: Array) -> Array:
    return np.asarray(np.exp(x))


@_quiet
def log(x: Array) -> Array:
    return np.asarray(np.log(x))


@_quiet
def sqrt(x: Array) -> Array:
    return np.asarray(np.sqrt(x))


@_quiet
def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def tanh(x: Array) -> Array:
    return np.asarray(np.tanh(x))


def relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0))


@_quiet
def silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


@_quiet
def gelu(x: Array) -> Array:
    return np.asarray(x * _normal_cdf(x))


@_quiet
def gelu_tanh(x: Array) -> Array:
    return np.asarray(x * sigmoid(_gelu_inner(x)))


@_quiet
def add(a: Array, b: Array) -> Array:
    return np.asarray(a + b)


@_quiet
def accumulate(a: Array, b: Array) -> None:
    a += b


@_quiet
def subtract(a: Array, b: Array) -> Array:
    return np.asarray(a - b)


@_quiet
def multiply(a: Array, b: Array) -> Array:
    return np.asarray(a * b)


@_quiet
def divide(a: Array, b: Array) -> Array:
    return np.asarray(a / b)


@_quiet
def sigmoid_backward(dy: Array, y: Array) -> Array:
    return np.asarray(dy * y * (1 - y))


@_quiet
def tanh_backward(dy: Array, y: Array) -> Array:
    return np.asarray(dy * (1 - y * y))


def relu_backward(dy: Array, x: Array) -> Array:
    return np.where(x > 0, dy, np.zeros_like(dy))


@_quiet
def silu_backward(dy: Array, x: Array) -> Array:
    s = sigmoid(x)
    return np.asarray(dy * s * (1 + x * (1 - s)))


@_quiet
def gelu_backward(dy: Array, x: Array) -> Array:
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return np.asarray(dy * (_normal_cdf(x) + x * density))


@_quiet
def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    s = sigmoid(_gelu_inner(x))
    inner_dx = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return np.asarray(dy * s * (1 + x * (1 - s) * inner_dx))


def _normal_cdf(x: Array) -> Array:
    # erfc keeps its relative precision far below 0, where 1 + erf cancels.
    return np.asarray(0.5 * _erfc(-x.astype(np.float64) / math.sqrt(2))).astype(x.dtype)


def _gelu_inner(x: Array) -> Array:
    # (1 + tanh(z)) / 2 = sigmoid(2 z), which does not cancel.
    return math.sqrt(8 / math.pi) * (x + 0.044715 * x * x * x)


# ---------------------------------------------------------------- reductions
@_quiet
def sum(x: Array, axes: Axes, scale: float = 1.0) -> Array:
    return np.asarray(np.sum(x, axis=axes, keepdims=True) * x.dtype.type(scale))


def max(x: Array, axes: Axes) -> Array:
    return np.asarray(np.max(x, axis=axes, keepdims=True))


@_quiet
def max_backward(dy: Array, x: Array, y: Array, axes: Axes) -> Array:
    hit = (x == y).astype(x.dtype)
    return np.asarray(dy * hit / np.sum(hit, axis=axes, keepdims=True))


@_quiet
def squared_error(a: Array, b: Array, scale: float) -> Array:
    return np.asarray(np.sum((a - b) ** 2) * a.dtype.type(scale))


@_quiet
def softmax(x: Array) -> Array:
    if not x.size:
        return x.copy()
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


@_quiet
def softmax_backward(dy: Array, y: Array) -> Array:
    return y * (dy - np.sum(dy * y, axis=-1, keepdims=True))


# ---------------------------------------------------------------- normalisation
@_quiet
def group_norm(
    x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float, act: str
) -> tuple[Array, Array, Array]:
    mean, rstd = _statistics(_grouped(x, groups), (1, 3), eps)
    y = _group_norm_linear(x, groups, weight, bias, mean, rstd)
    return (silu(y) if act == "silu" else y), mean, rstd


@_quiet
def group_norm_backward(
    dy: Array,
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    rstd: Array,
    act: str,
) -> tuple[Array, Array | None, Array | None]:
    if act == "silu":
        dy = silu_backward(dy, _group_norm_linear(x, groups, weight, bias, mean, rstd))
    xhat = (_grouped(x, groups) - mean[:, None, :, None]) * rstd[:, None, :, None]
    dxhat = _grouped(dy if weight is None else dy * weight, groups)
    dx = _norm_dx(dxhat, xhat, rstd[:, None, :, None], (1, 3)).reshape(x.shape)
    if weight is None:
        return dx, None, None
    others = tuple(range(x.ndim - 1))
    return dx, np.sum(dy * xhat.reshape(x.shape), axis=others), np.sum(dy, axis=others)


@_quiet
def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    mean, rstd = _statistics(x, (-1,), eps)
    y = (x - mean[..., None]) * rstd[..., None]
    return (y if weight is None else y * weight + bias), mean, rstd


@_quiet
def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array | None, Array | None]:
    xhat = (x - mean[..., None]) * rstd[..., None]
    dx = _norm_dx(dy if weight is None else dy * weight, xhat, rstd[..., None], (-1,))
    if weight is None:
        return dx, None, None
    others = tuple(range(x.ndim - 1))
    return dx, np.sum(dy * xhat, axis=others), np.sum(dy, axis=others)


def _grouped(x: Array, groups: int) -> Array:
    """(N, ..., C) as (N, positions, groups, C / groups)."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups)


def _group_norm_linear(
    x: Array, groups: int, weight: Array | None, bias: Array | None, mean: Array, rstd: Array
) -> Array:
    xhat = (_grouped(x, groups) - mean[:, None, :, None]) * rstd[:, None, :, None]
    y = xhat.reshape(x.shape)
    return y if weight is None else y * weight + bias


def _statistics(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """Mean and 1 / sqrt(variance + eps)."""
    count = math.prod(x.shape[i] for i in axes)
    mean = np.sum(x, axis=axes, keepdims=True) / count
    variance = np.sum((x - mean) ** 2, axis=axes) / count
    return np.asarray(mean.squeeze(axes), x.dtype), np.asarray(1 / np.sqrt(variance + eps), x.dtype)


def _norm_dx(dxhat: Array, xhat: Array, rstd: Array, axes: Axes) -> Array:
    """rstd (dxhat - mean(dxhat) - xhat mean(dxhat xhat)), the means over the normalised axes."""
    count = math.prod(xhat.shape[i] for i in axes)
    mean = np.sum(dxhat, axis=axes, keepdims=True) / count
    slope = np.sum(dxhat * xhat, axis=axes, keepdims=True) / count
    return np.asarray(rstd * (dxhat - mean - xhat * slope), xhat.dtype)


# ---------------------------------------------------------------- attention
@_quiet
def attention(q: Array, k: Array, v: Array, heads: int, scale: float) -> tuple[Array, Array]:
    scores = scale * (_heads(q, heads) @ _heads(k, heads).swapaxes(-1, -2))
    top = np.max(scores, axis=-1, keepdims=True)
    e = np.exp(scores - top)
    total = np.sum(e, axis=-1, keepdims=True)
    return _merged(e / total @ _heads(v, heads)), (top + np.log(total))[..., 0]


@_quiet
def attention_backward(
    dy: Array, q: Array, k: Array, v: Array, o: Array, lse: Array, heads: int, scale: float
) -> tuple[Array, Array, Array]:
    qh, kh, vh, oh, doh = (_heads(x, heads) for x in (q, k, v, o, dy))
    p = np.exp(scale * (qh @ kh.swapaxes(-1, -2)) - lse[..., None])
    dp = doh @ vh.swapaxes(-1, -2)
    ds = scale * p * (dp - np.sum(doh * oh, axis=-1, keepdims=True))
    return (
        _merged(ds @ kh),
        _merged(ds.swapaxes(-1, -2) @ qh),
        _merged(p.swapaxes(-1, -2) @ doh),
    )


def _heads(x: Array, heads: int) -> Array:
    """(N, T, C) -> (N, heads, T, C / heads)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).swapaxes(1, 2)


def _merged(x: Array) -> Array:
    """(N, heads, T, d) -> (N, T, heads d)."""
    n, heads, t, d = x.shape
    return np.ascontiguousarray(x.swapaxes(1, 2)).reshape(n, t, heads * d)


# ---------------------------------------------------------------- resampling and data movement
def upsample_nearest(x: Array, factor: int, scale: float) -> Array:
    return x.repeat(factor, axis=1).repeat(factor, axis=2) * x.dtype.type(scale)


@_quiet
def sum_pool(x: Array, factor: int, scale: float) -> Array:
    n, h, w, c = x.shape
    windows = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return windows.sum(axis=(2, 4)) * x.dtype.type(scale)


def concat(arrays: list[Array], axis: int) -> Array:
    return np.ascontiguousarray(np.concatenate(arrays, axis))


def pad(x: Array, widths: tuple[Pair, ...], value: float) -> Array:
    return np.array(np.pad(x, widths, constant_values=value) if x.ndim else x, order="C")


def contiguous(x: Array) -> Array:
    return np.array(x, order="C")


def gather(table: Array, index: Array) -> Array:
    return np.asarray(table[index])


@_quiet
def scatter_add(dy: Array, index: Array, rows: int) -> Array:
    y = np.zeros((rows, *dy.shape[index.ndim :]), dy.dtype)
    np.add.at(y, index, dy)
    return y
