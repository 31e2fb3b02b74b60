"""Integrals of exponential integrators against quadrature, and exactness on what they solve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff.diffusion import schedules
from pydiff.samplers.exponential import interval, moments, weights
from pydiff.samplers.levels import level


@pytest.mark.parametrize("z", [-60.0, -3.0, -1.0001, -1.0, -1e-3, 0.0, 1e-9, 0.7, 1.0, 4.0, 30.0])
def test_moments(z: float) -> None:
    nodes, factors = np.polynomial.legendre.leggauss(80)
    s = 0.5 * (nodes + 1.0)
    for count in (1, 3, 9):
        exact = [float((0.5 * factors * np.exp(z * (1.0 - s)) * s**k).sum()) for k in range(count)]
        np.testing.assert_allclose(moments(z, count), exact, rtol=1e-10)


def test_weights_integrate_the_polynomial_through_the_nodes() -> None:
    nodes = [0.0, 1.0, -0.7, -1.9, -2.2]
    for count in range(1, 6):
        w = weights(nodes[:count], [1.0 / (k + 1) for k in range(count)])
        for k in range(count):
            assert sum(a * r**k for a, r in zip(w, nodes, strict=False)) == pytest.approx(
                1.0 / (k + 1), rel=1e-10
            )


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_constant_model_is_solved_exactly(data: bool, eta: float) -> None:
    """With one x_0 and the noise of x, the mean and the variance at the end are those of q."""
    chain = schedules.linear()
    start, end = level(chain, 700), level(chain, 300)
    part = interval(start, end, data, eta)
    x0, eps = 0.4, -1.3
    x = start.alpha * x0 + start.sigma * eps
    moved = part.keep * x + part.constant * (x0 if data else eps)
    if eta == 0.0:
        assert moved == pytest.approx(end.alpha * x0 + end.sigma * eps, rel=1e-12)
        assert part.std == 0.0
    if data:
        variance = part.keep**2 * start.sigma**2 + part.std**2
        assert variance == pytest.approx(end.sigma**2, rel=1e-12)
        signal = part.keep * start.alpha + part.constant
        assert signal == pytest.approx(end.alpha, rel=1e-12)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("data", [True, False])
def test_both_ends(data: bool, eta: float) -> None:
    flow = schedules.flow()
    noise, middle, clean = (level(flow, t) for t in (1.0, 0.5, 0.0))
    first, last = interval(noise, middle, data, eta), interval(middle, clean, data, eta)
    assert first.h == last.h == math.inf and first.data and last.data and not first.bounded
    kept = middle.sigma / noise.sigma if eta == 0.0 else 0.0
    assert (first.keep, first.constant) == (pytest.approx(kept), pytest.approx(middle.alpha))
    assert first.std == pytest.approx(middle.sigma if eta else 0.0)
    assert (last.keep, last.constant, last.std) == (0.0, 1.0, 0.0)
