"""Energy distance and MMD against closed forms; both are unbiased."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from pydiff import measures, random
from pydiff.errors import ConfigError, ShapeError
from pydiff.measures import points


def draws(seed: int, n: int, mean: float = 0.0, std: float = 1.0, d: int = 3) -> np.ndarray:
    return mean + std * random.normal(seed, (n, d), dtype=np.float64)


def mean_normal(m: float, s: float) -> float:
    """E|N(m, s^2)|."""
    phi = math.exp(-0.5 * (m / s) ** 2) / math.sqrt(2 * math.pi)
    return 2 * s * phi + m * math.erf(m / s / math.sqrt(2))


def test_energy_of_two_normals() -> None:
    """X - Y is N(1, 1 + 4), X - X' is N(0, 2), Y - Y' is N(0, 8)."""
    expected = 2 * mean_normal(1, 5**0.5) - mean_normal(0, 2**0.5) - mean_normal(0, 8**0.5)
    x, y = (np.array([NormalDist(m, s).inv_cdf((i + 0.5) / n) for i in range(n)])
            for m, s, n in ((0.0, 1.0, 1500), (1.0, 2.0, 1200)))  # fmt: skip
    assert measures.energy_distance(x, y) == pytest.approx(expected, rel=0.01)


def test_mmd_of_two_normals() -> None:
    """E exp(-|U|^2 / 2 h^2), U ~ N(m, v I_D): (h^2 / (h^2 + v))^(D/2) exp(-|m|^2 / 2 (h^2 + v))."""

    def mean_kernel(m: float, v: float, h: float = 1.5, d: int = 3) -> float:
        return (h**2 / (h**2 + v)) ** (d / 2) * math.exp(-d * m * m / (2 * (h**2 + v)))

    expected = mean_kernel(0, 2) + mean_kernel(0, 8) - 2 * mean_kernel(0.5, 5)
    x, y = draws(0, 3000), draws(1, 2500, 0.5, 2.0)
    assert measures.mmd(x, y, 1.5) == pytest.approx(expected, rel=0.05)
    two = (measures.mmd(x, y, 1.5) + measures.mmd(x, y, 0.5)) / 2
    assert measures.mmd(x, y, [1.5, 0.5]) == pytest.approx(two, rel=1e-9)


@pytest.mark.parametrize("measure", [measures.energy_distance, measures.mmd])
def test_equal_distributions_average_to_zero(measure) -> None:
    values = [measure(draws(2 * i, 60), draws(2 * i + 1, 60)) for i in range(100)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 10
    assert min(values) < 0.0 < max(values)
    far = measure(draws(0, 60), draws(1, 60, 2.0))
    assert far > 10 * np.std(values)


def test_blocks_change_nothing(monkeypatch) -> None:
    x, y = draws(0, 90), draws(1, 70, 0.3)
    whole = measures.energy_distance(x, y), measures.mmd(x, y)
    monkeypatch.setattr(points, "_BLOCK", 256)
    np.testing.assert_allclose((measures.energy_distance(x, y), measures.mmd(x, y)), whole, 1e-12)


def test_far_from_the_origin_no_digits_are_lost() -> None:
    x, y = draws(0, 100), draws(1, 100, 0.3)
    moved = measures.energy_distance(x + 1e6, y + 1e6)
    assert moved == pytest.approx(measures.energy_distance(x, y), rel=1e-6)


def test_bad_input() -> None:
    x = draws(0, 5)
    for bad in (0.0, -1.0, [], [1.0, np.nan], [[1.0]]):
        with pytest.raises(ConfigError, match="bandwidths"):
            measures.mmd(x, x, bad)
    with pytest.raises(ConfigError, match="pass bandwidths"):
        measures.mmd(np.zeros((5, 2)), np.zeros((5, 2)))
    with pytest.raises(ShapeError, match="N >= 2"):
        measures.mmd(x[:1], x)
