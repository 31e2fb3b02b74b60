"""Toy sets: standardised, counter-based, and distributed as their densities say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff.data import toy
from pydiff.errors import ConfigError, ShapeError

N = 40_000
EDGE = 4.0  # half of a square that holds all of each set


@pytest.fixture(scope="module", params=list(toy.TOYS))
def drawn(request: Any) -> tuple[str, np.ndarray]:
    return request.param, toy.toy(request.param).sample(N, 0)


def test_shape_and_moments(drawn: Any) -> None:
    name, x = drawn
    assert x.shape == (N, 2) and x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.02)
    if name == "two_pixels":
        assert np.abs(x).max() <= 1.0
    else:
        np.testing.assert_allclose(x.std(axis=0), 1.0, atol=0.02)


def test_a_point_depends_on_seed_and_number_alone(drawn: Any) -> None:
    name, x = drawn
    sample = toy.toy(name).sample
    np.testing.assert_array_equal(sample(50, 0), x[:50])
    assert (sample(50, 1) != x[:50]).any(axis=1).all()


def test_density_integrates_to_one_and_is_that_of_the_samples(drawn: Any) -> None:
    """Chi-square of the counts in 20 x 20 boxes against the integral of the density over each."""
    name, x = drawn
    cells = 200 if name in ("swiss_roll", "moons") else 400  # the others have edges
    width = 2.0 * EDGE / cells
    axis = (np.arange(cells) + 0.5) * width - EDGE
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    mass = (toy.density(name, points) * width**2).reshape(20, cells // 20, 20, cells // 20)
    expected = N * mass.sum(axis=(1, 3))
    assert expected.sum() == pytest.approx(N, rel=0.01)
    box = np.floor((x + EDGE) * (20 / (2 * EDGE))).astype(int)
    counts = np.zeros((20, 20))
    np.add.at(counts, tuple(box.T), 1)
    full = expected > 50
    chi = ((counts - expected)[full] ** 2 / expected[full]).sum() / full.sum()
    # a midpoint sum over a cell that an edge of the density cuts is off by some percent
    assert chi < {"checkerboard": 6.0, "two_pixels": 6.0}.get(name, 1.5)
    assert counts[expected < 1e-3].sum() <= 5


def test_bad_input() -> None:
    for n in (0, -1, 2.5, True, "9"):
        with pytest.raises(ConfigError, match="n = "):
            toy.moons(n)
    with pytest.raises(ConfigError, match="pinwheel"):
        toy.density("pinweel", [[0.0, 0.0]])
    with pytest.raises(ShapeError, match=r"\(N, 2\)"):
        toy.density("moons", [0.0, 0.0])
