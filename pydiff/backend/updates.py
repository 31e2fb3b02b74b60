"""Updates of parameters and of a sampler's state in plain NumPy: part of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_quiet = np.errstate(all="ignore")


@_quiet
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
    for pi, gi, mi, vi in zip(p, g, m, v, strict=True):
        h = scale * gi
        mi[...] = beta1 * mi + (1 - beta1) * h
        vi[...] = beta2 * vi + (1 - beta2) * h * h
        m_hat = mi / (1 - beta1**step)
        v_hat = vi / (1 - beta2**step)
        pi[...] = pi - lr * weight_decay * pi - lr * m_hat / (np.sqrt(v_hat) + eps)
    if e is not None:
        ema(e, p, decay)


@_quiet
def ema(e: Sequence[Array], p: Sequence[Array], decay: float) -> None:
    for ei, pi in zip(e, p, strict=True):
        ei[...] = decay * ei + (1 - decay) * pi


@_quiet
def sum_of_squares(x: Sequence[Array]) -> Array:
    return np.asarray(np.sum([np.sum(np.square(xi, dtype=np.float64)) for xi in x]))


@_quiet
def linear_combination(c: Array | list[float], x: Sequence[Array]) -> Array:
    factors: Any = c
    if not isinstance(c, list):
        factors = c.reshape(c.shape + (1,) * (x[0].ndim - 1)) if c.shape[1] > 1 else c[:, 0]
    total = sum(ci * xi.astype(np.float64) for ci, xi in zip(factors, x, strict=True))
    return np.asarray(total, x[0].dtype)
