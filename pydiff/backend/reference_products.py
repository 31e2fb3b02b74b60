"""Matrix products and convolutions of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Quad = tuple[int, int, int, int]

_quiet = np.errstate(all="ignore")  # infinities and NaN are results here, not surprises


@_quiet
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
    c = (a.swapaxes(-1, -2) if transpose_a else a) @ (b.swapaxes(-1, -2) if transpose_b else b)
    c = _finished(c, (bias, residual), scale)
    return c / (1 + np.exp(-c)) if act == "silu" else c


def _finished(y: Array, terms: tuple[Array | None, ...], scale: float) -> Array:
    """scale * (y + the terms that are given)"""
    for term in terms:
        y = y if term is None else y + term
    return y if scale == 1 else y * y.dtype.type(scale)


@_quiet
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Quad,
    add: Array | None = None,
    residual: Array | None = None,
    scale: float = 1.0,
) -> Array:
    kh, kw, _, co = weight.shape
    padded = _padded(x, padding)
    ho = (padded.shape[1] - kh) // stride[0] + 1
    wo = (padded.shape[2] - kw) // stride[1] + 1
    y = np.zeros((x.shape[0], ho, wo, co), x.dtype)
    for i, j in np.ndindex(kh, kw):
        y += _tap(padded, i, j, stride, ho, wo) @ weight[i, j]
    image = None if add is None else add[:, None, None, :]
    return _finished(y, (bias, image, residual), scale)


@_quiet
def conv2d_backward_data(
    dy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair, padding: Quad
) -> Array:
    top, _, left, _ = padding
    dpadded = _padded(np.zeros(x_shape, dy.dtype), padding)
    for i, j in np.ndindex(weight.shape[:2]):
        _tap(dpadded, i, j, stride, *dy.shape[1:3])[...] += dy @ weight[i, j].T
    return dpadded[:, top : top + x_shape[1], left : left + x_shape[2]].copy()


@_quiet
def conv2d_backward_weight(
    x: Array, dy: Array, weight_shape: tuple[int, ...], stride: Pair, padding: Quad
) -> Array:
    padded = _padded(x, padding)
    dweight = np.empty(weight_shape, x.dtype)
    for i, j in np.ndindex(weight_shape[:2]):
        pixels = _tap(padded, i, j, stride, *dy.shape[1:3])
        dweight[i, j] = np.tensordot(pixels, dy, axes=([0, 1, 2], [0, 1, 2]))
    return dweight


def _padded(x: Array, padding: Quad) -> Array:
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _tap(padded: Array, i: int, j: int, stride: Pair, ho: int, wo: int) -> Array:
    """View (N, ho, wo, C): the pixels that kernel position (i, j) meets."""
    sh, sw = stride
    return padded[:, i : i + sh * (ho - 1) + 1 : sh, j : j + sw * (wo - 1) + 1 : sw]
