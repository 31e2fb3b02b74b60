"""Noise levels between two ends: functions (low, high, steps) -> decreasing float64 levels.

A level is sigma / alpha, the "sigma" of EDM and k-diffusion; 0 < low <= high < inf, both included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..checks import check_number, check_positive
from ..errors import ConfigError

Levels = Callable[[float, float, int], np.ndarray]


def karras(low: float, high: float, steps: int, rho: float = 7.0) -> np.ndarray:
    """Even in level^(1/rho) (Karras et al. 2022, arXiv 2206.00364, eq. 5)."""
    check_positive("rho", rho)
    top, bottom = high ** (1.0 / rho), low ** (1.0 / rho)
    return _exact_ends((top + np.linspace(0.0, 1.0, steps) * (bottom - top)) ** rho, low, high)


def exponential(low: float, high: float, steps: int) -> np.ndarray:
    """Even in the logarithm, that is in log-SNR (Lu et al. 2022, arXiv 2206.00927, section 3.4)."""
    levels = np.exp(np.linspace(math.log(high), math.log(low), steps))
    return _exact_ends(levels, low, high)


def beta(low: float, high: float, steps: int, alpha: float = 0.6, beta: float = 0.6) -> np.ndarray:
    """Quantiles of Beta(alpha, beta), dense at both ends for parameters below 1 (Lee et al. 2024,
    "Beta Sampling is All You Need", arXiv 2407.12173)."""
    quantiles = beta_quantile(1.0 - np.linspace(0.0, 1.0, steps), alpha, beta)
    return low + quantiles * (high - low)


def interpolated(levels: Sequence[float], steps: int) -> np.ndarray:
    """A list of levels stretched to `steps`, on lines in the logarithm (Sabour et al. 2024, "Align
    Your Steps", arXiv 2404.14507)."""
    try:
        given = np.asarray(levels, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"levels must be numbers: {error}") from None
    if given.ndim != 1 or len(given) < 2 or not (np.diff(given) < 0).all() or given[-1] <= 0.0:
        raise ConfigError(f"levels = {levels!r:.80}; they must be positive and decrease")
    places = np.linspace(0.0, len(given) - 1.0, steps)
    return np.exp(np.interp(places, np.arange(len(given)), np.log(given)))


def beta_quantile(p: np.ndarray, a: float, b: float) -> np.ndarray:
    """x with I_x(a, b) = p, for p in [0, 1] and a, b in [1e-3, 1e3].

    The inverse of the regularised incomplete beta function, by bisection to float64: nothing here
    is called within a run.
    """
    check_number("alpha", a, 1e-3, 1e3)
    check_number("beta", b, 1e-3, 1e3)
    p = np.asarray(p, np.float64)
    # In the angle, x = sin^2: so quantiles near 1 keep their digits as those near 0 do.
    low, high = np.zeros_like(p), np.full_like(p, 0.5 * math.pi)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = _incomplete_beta(np.sin(middle) ** 2, np.cos(middle) ** 2, a, b) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(p >= 1.0, 1.0, np.where(p <= 0.0, 0.0, np.sin(0.5 * (low + high)) ** 2))


def _incomplete_beta(x: np.ndarray, rest: np.ndarray, a: float, b: float) -> np.ndarray:
    """I_x(a, b), rest = 1 - x (Abramowitz & Stegun 26.5.8, on the side where it converges fast)."""
    swap = x > (a + 1.0) / (a + b + 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # where the other side is taken
        logs = a * np.log(x) + b * np.log(rest)
        front = np.exp(logs + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
        direct = front * _continued_fraction(x, a, b) / a
        other = 1.0 - front * _continued_fraction(rest, b, a) / b
    return np.where(swap, other, direct)


def _continued_fraction(x: np.ndarray, a: float, b: float, terms: int = 60) -> np.ndarray:
    """1 / (1 + d_1 / (1 + d_2 / ...)), from its end: 60 terms reach float64 where x is below
    (a + 1) / (a + b + 2)."""
    value = np.ones_like(x)
    for m in range(terms, 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        value = 1.0 + odd / (1.0 + even / value)
    return 1.0 / value


def _exact_ends(levels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Powers and logarithms go back and forth with rounding; the first and last are known."""
    if len(levels) > 1:
        levels[-1] = low
    levels[0] = high
    return levels
