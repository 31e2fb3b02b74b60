"""The Fréchet distance of Gaussians in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import measures, random
from pydiff.errors import ShapeError

GENERATOR = np.random.default_rng(0)


def covariance(d: int) -> np.ndarray:
    a = GENERATOR.standard_normal((d, d))
    return a @ a.T


def test_commuting_covariances() -> None:
    """There it is |m|^2 + |C_x^(1/2) - C_y^(1/2)|^2."""
    axes = np.linalg.qr(GENERATOR.standard_normal((5, 5)))[0]
    s, r = GENERATOR.random(5), GENERATOR.random(5)
    c_x, c_y = (axes * s**2) @ axes.T, (axes * r**2) @ axes.T
    value = measures.frechet_of_moments(np.zeros(5), c_x, np.ones(5), c_y)
    assert value == pytest.approx(5 + ((s - r) ** 2).sum(), rel=1e-9)


def test_general_covariances_against_the_square_root_of_the_product() -> None:
    c_x, c_y = covariance(4), covariance(4)
    roots = np.sqrt(np.linalg.eigvals(c_x @ c_y).astype(complex)).sum().real
    expected = np.trace(c_x) + np.trace(c_y) - 2 * roots
    value = measures.frechet_of_moments(np.zeros(4), c_x, np.zeros(4), c_y)
    assert value == pytest.approx(expected, rel=1e-9)


def test_sets_of_images_and_features() -> None:
    x = random.normal(0, (500, 2, 3, 1))
    y = 2.0 * random.normal(1, (700, 2, 3, 1)) + 0.5
    assert measures.frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert measures.frechet_distance(x, y) == pytest.approx(6 * 0.25 + 6 * 1.0, rel=0.1)

    def mean(images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2))

    assert measures.frechet_distance(x, y, mean) == (
        pytest.approx(measures.frechet_distance(mean(x), mean(y)))
    )


def test_singular_covariances() -> None:
    x = np.outer(np.arange(5.0), [1.0, 2.0, 0.0])
    assert measures.frechet_distance(x, x + 1.0) == pytest.approx(3.0, abs=1e-6)


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match=r"\(D, D\)"):
        measures.frechet_of_moments(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
    with pytest.raises(ShapeError, match="N >= 2"):
        measures.frechet_distance(np.zeros((1, 2)), np.zeros((3, 2)))
