"""Exponential integrators: the linear part of the flow solved exactly, the model interpolated.

With lambda = log(alpha / sigma), ' the end of a step, h = lambda' - lambda, and eta the noise of
the reverse SDE (0: the probability-flow ODE; tau^2 of SA-Solver), the exact solutions are

    x' = e^(-eta h) (sigma'/sigma) x + (1 + eta) alpha' int e^((1 + eta) (l - lambda')) x_0(l) dl
    x' = (alpha'/alpha) x - (1 + eta) alpha' int e^(-l) eps(l) dl

over l from lambda to lambda', plus Gaussian noise (Lu et al. 2022, arXiv 2211.01095, eq. 8 and
section 5; 2206.00927, proposition 3.1; Xue et al. 2023, arXiv 2309.05019, proposition 4.1). A
method puts a polynomial through known values in place of x_0(l) or eps(l); in units of the step,
s = (l - lambda) / h, the integrals of s^k are k! phi_(k+1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .levels import Level

# Beyond this lambda' - lambda nothing of x is left: e^-50 is 2e-22.
_FAR = 50.0


class Interval(NamedTuple):
    """One step: x' = keep x + (integral of the model) + std z.

    h: lambda' - lambda, inf where x or x' is all noise or all signal. data: whether the integral
    is that of x_0 (else of eps). constant: the integral of 1; rate: that of 1 without the weight.
    exponent: the weight is e^(exponent (1 - s)).
    """

    h: float
    data: bool
    keep: float
    constant: float
    rate: float
    exponent: float
    std: float

    @property
    def bounded(self) -> bool:
        """Whether 0 < h < inf: only then do values at other levels tell anything."""
        return 0.0 < self.h < math.inf

    def integrals(self, count: int) -> list[float]:
        """Those of s^k, k < count; more than one only where bounded."""
        if count == 1:
            return [self.constant]
        return [self.constant, *(self.rate * m for m in moments(self.exponent, count)[1:])]


def interval(start: Level, end: Level, data: bool = True, eta: float = 0.0) -> Interval:
    """The step from `start` to `end`; where eps cannot lead from one to the other, x_0 does."""
    h = end.half_log_snr - start.half_log_snr
    if h > _FAR:
        h = math.inf
    drawn = eta * h if eta else 0.0
    if data or h == math.inf:
        exponent = -h - drawn
        kept = end.sigma / start.sigma * math.exp(-drawn)
        std = end.sigma * math.sqrt(-math.expm1(-2.0 * drawn))
        gain = -end.alpha * math.expm1(exponent)
        if eta == 0.0:  # also right where the start has signal and h is cut off
            gain = end.alpha - kept * start.alpha
        return Interval(h, True, kept, gain, -end.alpha * exponent, exponent, std)
    kept, more = end.alpha / start.alpha, 1.0 + eta
    gain = -more * end.sigma * math.expm1(h)
    std = end.sigma * math.sqrt(eta * math.expm1(2.0 * h))
    return Interval(h, False, kept, gain, -more * end.sigma * h, h, std)


def moments(z: float, count: int) -> list[float]:
    """The integrals of e^(z (1 - s)) s^k over [0, 1], k < count: k! phi_(k+1)(z)."""
    values = [1.0] * count
    if abs(z) > (0.1 if count <= 3 else 1.0):  # each turn costs a factor of k / z in accuracy
        value = math.expm1(z) / z
        for k in range(count):
            values[k] = value
            value = ((k + 1) * value - 1.0) / z
        return values
    # that recurrence cancels for small z: the series of the last one, and the recurrence backwards
    value = 1.0
    for j in range(18 if count > 3 else 9, 0, -1):
        value = 1.0 + value * z / (count + j)
    value /= count
    for k in range(count - 1, -1, -1):
        values[k] = value
        value = (z * value + 1.0) / k if k else value
    return values


def weights(nodes: Sequence[float], integrals: Sequence[float]) -> list[float]:
    """w with sum_j w_j nodes_j^k = integrals_k: the integral of the polynomial through the nodes.

    Bjorck & Pereyra 1970, Solution of Vandermonde Systems of Equations, primal algorithm. Nodes
    are distinct, as many as integrals.
    """
    w, count = list(integrals), len(nodes)
    if count == 2:  # what steps mostly ask
        second = (w[1] - nodes[0] * w[0]) / (nodes[1] - nodes[0])
        return [w[0] - second, second]
    for k in range(count - 1):
        for i in range(count - 1, k, -1):
            w[i] -= nodes[k] * w[i - 1]
    for k in range(count - 2, -1, -1):
        for i in range(k + 1, count):
            w[i] /= nodes[i] - nodes[i - k - 1]
        for i in range(k, count - 1):
            w[i] -= w[i + 1]
    return w
