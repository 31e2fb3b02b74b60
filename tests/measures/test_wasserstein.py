"""Distances along lines against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import measures, random
from pydiff.errors import ConfigError, DtypeError, NonFiniteError, ShapeError

X = random.normal(1, (3000, 2), dtype=np.float64)
Y = random.normal(2, (3000, 2), dtype=np.float64)


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_a_shift_costs_itself(p: float) -> None:
    a = X[:, 0]
    assert measures.wasserstein_1d(a, a + 0.75, p) == pytest.approx(0.75, rel=1e-12)
    assert measures.wasserstein_1d(a, a[::-1], p) == 0.0


def test_sets_of_different_sizes() -> None:
    """{0, 1} to {0, 0, 3}: a third stays at 0, a sixth and then a half move 0, 1 and 2."""
    assert measures.wasserstein_1d([0, 1], [3, 0, 0], 1) == pytest.approx(0 + 1 / 6 + 2 / 3)
    assert measures.wasserstein_1d([0, 1], [3, 0, 0]) == pytest.approx((1 / 6 + 4 / 3) ** 0.5)
    a = X[:, 0]
    repeated = np.repeat(a, 3)
    assert measures.wasserstein_1d(a + 0.5, repeated, 2) == pytest.approx(0.5)


def test_scaled_normals() -> None:
    """W_2 of N(0, 1) and N(m, s^2) is sqrt(m^2 + (s - 1)^2)."""
    a = random.normal(3, (200_000,), dtype=np.float64)
    b = 2.0 * random.normal(4, (100_000,), dtype=np.float64) + 1.0
    assert measures.wasserstein_1d(a, b) == pytest.approx(2**0.5, rel=0.01)


def test_a_shift_in_the_plane_is_seen_by_its_projections() -> None:
    """The mean of |theta . v|^2 over directions is |v|^2 / D."""
    shifted = X + np.array([3.0, 4.0])
    sliced = measures.sliced_wasserstein(X, shifted, directions=2000)
    assert sliced == pytest.approx(5.0 / 2**0.5, rel=0.03)
    assert measures.sliced_wasserstein(X, X) == 0.0
    images = X.reshape(-1, 1, 2, 1)
    assert measures.sliced_wasserstein(images, shifted.reshape(images.shape), directions=2000) == (
        sliced
    )


def test_one_seed_one_value() -> None:
    values = [measures.sliced_wasserstein(X, Y, seed=seed) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_sliced_energy_is_the_energy_distance() -> None:
    shifted = Y + np.array([0.5, -0.3])
    a, b = X[:, :1], shifted[:, :1]
    pairs = 2 * np.abs(a - b.T).mean() - np.abs(a - a.T).mean() - np.abs(b - b.T).mean()
    assert measures.sliced_energy(a, b, directions=3) == pytest.approx(pairs, rel=1e-9)
    exact = measures.energy_distance(X, shifted)
    assert measures.sliced_energy(X, shifted, directions=2000) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"x": [[np.nan, 0.0]]}, NonFiniteError, "x holds NaN"),
        ({"x": [[1.0]]}, ShapeError, "y 2"),
        ({"x": np.zeros((0, 2))}, ShapeError, r"\(0, 2\)"),
        ({"x": [["a", "b"]]}, DtypeError, "x has dtype"),
        ({"p": 0.5}, ConfigError, "p = 0.5"),
        ({"p": np.nan}, ConfigError, "p = nan"),
        ({"directions": 0}, ConfigError, "directions = 0"),
        ({"seed": -1}, ConfigError, "seed is -1"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        measures.sliced_wasserstein(**{"x": X, "y": Y, **arguments})


def test_one_dimension_takes_numbers() -> None:
    with pytest.raises(ConfigError, match="sliced_wasserstein"):
        measures.wasserstein_1d(X, Y)
