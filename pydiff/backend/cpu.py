"""The contract on the native kernels: allocate the outputs, call. Inputs were checked by `spec`."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _native, config
from .axes import kept as _kept
from .axes import runs_of as _runs
from .axes import split as _split
from .cpu_numbers import cast as cast
from .cpu_numbers import fourier as fourier
from .cpu_numbers import normal as normal
from .cpu_numbers import sinusoids as sinusoids
from .cpu_numbers import uniform as uniform

Array = NDArray[Any]
Axes = tuple[int, ...]

config.on_num_threads(_native.set_num_threads)
config.on_empty_cache(_native.empty_cache)


@functools.lru_cache(4096)
def _broadcast(a: Axes, b: Axes) -> Axes:
    return np.broadcast_shapes(a, b)


# ---------------------------------------------------------------- elementwise


def _unary(kernel: Callable[[Array, Array], None]) -> Callable[[Array], Array]:
    def call(x: Array) -> Array:
        y = _native.empty_like(x)
        kernel(x, y)
        return y

    return call


def _binary(kernel: Callable[[Array, Array, Array], None]) -> Callable[[Array, Array], Array]:
    def call(a: Array, b: Array) -> Array:
        shape = a.shape if a.shape == b.shape else _broadcast(a.shape, b.shape)
        y = _native.empty(shape, a.dtype)
        kernel(a, b, y)
        return y

    return call


def _gradient(kernel: Callable[[Array, Array, Array], None]) -> Callable[[Array, Array], Array]:
    def call(dy: Array, saved: Array) -> Array:
        dx = _native.empty_like(dy)
        kernel(dy, saved, dx)
        return dx

    return call


exp = _unary(_native.exp)
log = _unary(_native.log)
sqrt = _unary(_native.sqrt)
sigmoid = _unary(_native.sigmoid)
tanh = _unary(_native.tanh)
relu = _unary(_native.relu)
silu = _unary(_native.silu)
gelu = _unary(_native.gelu)
gelu_tanh = _unary(_native.gelu_tanh)

add = _binary(_native.add)
subtract = _binary(_native.subtract)
multiply = _binary(_native.multiply)
divide = _binary(_native.divide)


def accumulate(a: Array, b: Array) -> None:
    _native.add(a, b if b.flags.c_contiguous or _has_whole_rows(b) else contiguous(b), a)


def _has_whole_rows(x: Array) -> bool:
    """Does the last axis that has several elements step from one to the next?"""
    steps = [step for n, step in zip(x.shape, x.strides, strict=True) if n > 1]
    return not steps or steps[-1] == x.itemsize


sigmoid_backward = _gradient(_native.sigmoid_backward)
tanh_backward = _gradient(_native.tanh_backward)
relu_backward = _gradient(_native.relu_backward)
silu_backward = _gradient(_native.silu_backward)
gelu_backward = _gradient(_native.gelu_backward)
gelu_tanh_backward = _gradient(_native.gelu_tanh_backward)

softmax = _unary(_native.softmax)
softmax_backward = _gradient(_native.softmax_backward)

# ---------------------------------------------------------------- reductions


def sum(x: Array, axes: Axes, scale: float = 1.0) -> Array:
    runs = _runs(axes)
    for i, run in enumerate(runs or [(0, 0)]):
        y = _native.empty(_kept(x.shape, run), x.dtype)
        _native.sum(x, y, *_split(x.shape, run), scale if i + 1 >= len(runs) else 1.0)
        x = y
    return x


def max(x: Array, axes: Axes) -> Array:
    for run in _runs(axes) or [(0, 0)]:
        y = _native.empty(_kept(x.shape, run), x.dtype)
        _native.max(x, y, *_split(x.shape, run))
        x = y
    return x


def max_backward(dy: Array, x: Array, y: Array, axes: Axes) -> Array:
    runs = _runs(axes) or [(0, 0)]
    if len(runs) == 1:
        dx = _native.empty_like(x)
        _native.max_backward(dy, x, y, dx, *_split(x.shape, runs[0]))
        return dx
    order = tuple(a for a in range(x.ndim) if a not in axes) + axes  # reduced axes last
    moved = contiguous(x.transpose(order))
    part = _native.empty_like(moved)
    n = math.prod(x.shape[a] for a in axes)
    _native.max_backward(dy, moved, y, part, y.size, n, 1)
    dx = _native.empty_like(x)
    _native.strided_copy(part, dx.transpose(order))
    return dx


def squared_error(a: Array, b: Array, scale: float) -> Array:
    y = _native.empty((), a.dtype)
    _native.squared_error(a, b, y, scale)
    return y


# ---------------------------------------------------------------- products


def _flat_batch(x: Array, batch: Axes) -> Array:
    """x (..., m, n) as (1, m, n) where one matrix serves all, else (prod(batch), m, n)."""
    matrix = x.shape[-2:]
    if x.size == math.prod(matrix):
        return x.reshape(1, *matrix)
    if x.shape[:-2] != batch:
        x = contiguous(np.broadcast_to(x, batch + matrix))
    return x.reshape(-1, *matrix)


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
    m, n = a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1]
    batch = _broadcast(a.shape[:-2], b.shape[:-2])
    c = _native.empty((*batch, m, n), a.dtype)
    count = math.prod(batch)
    if b.ndim == 2 and not transpose_a:  # a linear layer: one tall product
        shape = (1, count * m, n)
        left, right = a.reshape(1, count * m, a.shape[-1]), b.reshape(1, *b.shape)
    else:
        shape = (count, m, n)
        left, right = _flat_batch(a, batch), _flat_batch(b, batch)
    if c.size:
        other = None if residual is None else residual.reshape(shape)
        flat = c.reshape(shape)
        code = _ACTIVATIONS[act]
        _native.matmul(left, right, bias, flat, transpose_a, transpose_b, None, other, scale, code)
    return c


def _algorithm() -> int:
    """What `_native.conv2d*` take: 0 for direct convolution, -1 for a choice by shape."""
    return 0 if config.conv_algorithm() == "exact" else -1


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Axes,
    padding: tuple[int, int, int, int],
    add: Array | None = None,
    residual: Array | None = None,
    scale: float = 1.0,
) -> Array:
    n, h, w, _ = x.shape
    kh, kw, _, co = weight.shape
    top, bottom, left, right = padding
    ho, wo = (h + top + bottom - kh) // stride[0] + 1, (w + left + right - kw) // stride[1] + 1
    y = _native.empty((n, ho, wo, co), x.dtype)
    fused = None, add, residual, scale
    _native.conv2d(x, weight, bias, y, stride[0], stride[1], top, left, _algorithm(), *fused)
    return y


def conv2d_backward_data(
    dy: Array, weight: Array, x_shape: Axes, stride: Axes, padding: tuple[int, int, int, int]
) -> Array:
    dx = _native.empty(x_shape, dy.dtype)
    _native.conv2d_backward_data(
        dy, weight, dx, stride[0], stride[1], padding[0], padding[2], _algorithm()
    )
    return dx


def conv2d_backward_weight(
    x: Array, dy: Array, weight_shape: Axes, stride: Axes, padding: tuple[int, int, int, int]
) -> Array:
    dweight = _native.empty(weight_shape, dy.dtype)
    _native.conv2d_backward_weight(
        x, dy, dweight, stride[0], stride[1], padding[0], padding[2], _algorithm()
    )
    return dweight


# ---------------------------------------------------------------- normalisation

_ACTIVATIONS = {"none": 0, "silu": 1}


def group_norm(
    x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float, act: str
) -> tuple[Array, Array, Array]:
    y, shape, dtype = _native.empty_like(x), (x.shape[0], groups), x.dtype
    mean, rstd = _native.empty(shape, dtype), _native.empty(shape, dtype)
    _native.group_norm(x, weight, bias, y, mean, rstd, groups, eps, _ACTIVATIONS[act])
    return y, mean, rstd


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
    dx = _native.empty_like(x)
    dweight = None if weight is None else _native.empty_like(weight)
    dbias = None if weight is None else _native.empty_like(weight)
    _native.group_norm_backward(
        dy, x, weight, bias, mean, rstd, dx, dweight, dbias, groups, _ACTIVATIONS[act]
    )
    return dx, dweight, dbias


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    y = _native.empty_like(x)
    mean, rstd = _native.empty(x.shape[:-1], x.dtype), _native.empty(x.shape[:-1], x.dtype)
    _native.layer_norm(x, weight, bias, y, mean, rstd, eps)
    return y, mean, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array | None, Array | None]:
    dx = _native.empty_like(x)
    dweight = None if weight is None else _native.empty_like(weight)
    dbias = None if weight is None else _native.empty_like(weight)
    _native.layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias)
    return dx, dweight, dbias


# ---------------------------------------------------------------- attention


def attention(q: Array, k: Array, v: Array, heads: int, scale: float) -> tuple[Array, Array]:
    o = _native.empty_like(q)
    lse = _native.empty((q.shape[0], heads, q.shape[1]), q.dtype)
    _native.attention(q, k, v, o, lse, heads, scale)
    return o, lse


def attention_backward(
    dy: Array, q: Array, k: Array, v: Array, o: Array, lse: Array, heads: int, scale: float
) -> tuple[Array, Array, Array]:
    dq, dk, dv = _native.empty_like(q), _native.empty_like(k), _native.empty_like(v)
    _native.attention_backward(dy, q, k, v, o, lse, dq, dk, dv, heads, scale)
    return dq, dk, dv


# ---------------------------------------------------------------- moving data


def upsample_nearest(x: Array, factor: int, scale: float = 1.0) -> Array:
    n, h, w, c = x.shape
    y = _native.empty((n, h * factor, w * factor, c), x.dtype)
    _native.upsample_nearest(x, y, factor, scale)
    return y


def sum_pool(x: Array, factor: int, scale: float = 1.0) -> Array:
    n, h, w, c = x.shape
    y = _native.empty((n, h // factor, w // factor, c), x.dtype)
    _native.sum_pool(x, y, factor, scale)
    return y


def contiguous(x: Array) -> Array:
    y = _native.empty(x.shape, x.dtype)
    _native.strided_copy(x, y)
    return y


def concat(arrays: Sequence[Array], axis: int) -> Array:
    sizes = [a.shape[axis] for a in arrays]
    before, after = arrays[0].shape[:axis], arrays[0].shape[axis + 1 :]
    y = _native.empty((*before, builtins.sum(sizes), *after), arrays[0].dtype)
    end = 0
    for a, size in zip(arrays, sizes, strict=True):
        first, end = end, end + size
        _native.strided_copy(a, y[(slice(None),) * axis + (slice(first, end),)])
    return y


def pad(x: Array, widths: Sequence[tuple[int, int]], value: float) -> Array:
    sides = list(zip(x.shape, widths, strict=True))
    y = _native.empty(tuple([before + n + after for n, (before, after) in sides]), x.dtype)
    y.fill(value)
    # With the Ellipsis an array even where 0-d.
    inside: tuple[Any, ...] = (..., *(slice(before, before + n) for n, (before, _) in sides))
    _native.strided_copy(x, y[inside])
    return y


def gather(table: Array, index: Array) -> Array:
    y = _native.empty(index.shape + table.shape[1:], table.dtype)
    c = math.prod(table.shape[1:])
    _native.gather(table.reshape(table.shape[0], c), index, y.reshape(index.size, c))
    return y


def scatter_add(dy: Array, index: Array, rows: int) -> Array:
    tail = dy.shape[index.ndim :]
    c = math.prod(tail)
    y = _native.empty((rows, *tail), dy.dtype)
    _native.scatter_add(dy.reshape(index.size, c), index, y.reshape(rows, c))
    return y


# ---------------------------------------------------------------- optimisers


def adamw(
    p: Sequence[Array],
    g: Sequence[Array],
    m: Sequence[Array],
    v: Sequence[Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    scale: float = 1.0,
    e: Sequence[Array] | None = None,
    decay: float = 0.0,
) -> None:
    _native.adamw(p, g, m, v, e, lr, beta1, beta2, eps, weight_decay, step, scale, decay)


def ema(e: Sequence[Array], p: Sequence[Array], decay: float) -> None:
    _native.ema(e, p, decay)


def sum_of_squares(x: Sequence[Array]) -> Array:
    return np.array(_native.sum_of_squares(x))


def linear_combination(c: Array | list[float], x: Sequence[Array]) -> Array:
    y = _native.empty_like(x[0])
    _native.linear_combination(x, c, y)
    return y
