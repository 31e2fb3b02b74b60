"""Quantiles of the beta distribution."""

from __future__ import annotations

import math

import numpy as np

_TERMS = 60  # of the continued fraction; its error is below 1e-15 from some 25 on
_HALVINGS = 60


def quantile(p: np.ndarray, a: float, b: float) -> np.ndarray:
    """x with I_x(a, b) = p, for p (n,) in [0, 1], by bisection; to 1e-16."""
    inside = p.clip(1e-9, 1.0 - 1e-9)  # the ends, known, would meet log(0)
    low, high = np.zeros_like(p), np.ones_like(p)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = distribution(middle, a, b) < inside
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(p <= 0.0, 0.0, np.where(p >= 1.0, 1.0, 0.5 * (low + high)))


def distribution(x: np.ndarray, a: float, b: float) -> np.ndarray:
    """I_x(a, b), the regularised incomplete beta function, for 0 < x < 1 (n,)."""
    swapped = x > (a + 1.0) / (a + b + 2.0)  # where the fraction would converge slowly
    direct = _tail(np.where(swapped, 0.5, x), a, b)
    return np.where(swapped, 1.0 - _tail(np.where(swapped, 1.0 - x, 0.5), b, a), direct)


def _tail(x: np.ndarray, a: float, b: float) -> np.ndarray:
    """x^a (1 - x)^b / (a B(a, b)) over the continued fraction (DLMF 8.17.22), from its end."""
    fraction = np.ones_like(x)
    for m in range(_TERMS, 0, -1):
        odd = -(a + m - 1.0) * (a + b + m - 1.0) / ((a + 2 * m - 2.0) * (a + 2 * m - 1.0))
        even = m * (b - m) / ((a + 2 * m - 1.0) * (a + 2 * m))
        fraction = 1.0 + odd * x / (1.0 + even * x / fraction)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return np.exp(a * np.log(x) + b * np.log1p(-x) - log_beta) / (a * fraction)
