"""Neighbourhoods: precision and recall, density and coverage, modes, memorisation."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import measures, random
from pydiff.errors import ConfigError, ShapeError
from pydiff.measures import points


def draws(seed: int, n: int, d: int = 2) -> np.ndarray:
    return random.normal(seed, (n, d), dtype=np.float64)


X, Y = draws(0, 800), draws(1, 700)


def test_equal_distributions_score_high() -> None:
    found = measures.precision_recall(X, Y)
    assert found.precision > 0.9 and found.recall > 0.9
    found = measures.density_coverage(X, Y)
    # each real point is covered unless its k nearest are all real: 1 - 2^-k for equal sizes
    assert found.density == pytest.approx(1.0, abs=0.07)
    assert found.coverage == pytest.approx(1 - (800 / 1500) ** 5, abs=0.02)


def test_a_lost_half_costs_recall_and_far_points_cost_precision() -> None:
    half = Y[Y[:, 0] > 0.0]
    lost = measures.precision_recall(X, half)
    assert lost.precision > 0.9 and lost.recall == pytest.approx(0.5, abs=0.07)
    assert measures.density_coverage(X, half).coverage == pytest.approx(0.5, abs=0.07)
    with_noise = np.concatenate((Y, Y[:350] + 50.0))
    assert measures.precision_recall(X, with_noise).precision == pytest.approx(2 / 3, abs=0.05)
    assert measures.density_coverage(X, with_noise).density == pytest.approx(2 / 3, abs=0.07)


def test_three_points_by_hand() -> None:
    """Balls of radius 1 about 0 and 1, of radius 9 about 10; 1.5 lies in the last two."""
    real, generated = np.array([0.0, 1.0, 10.0]), np.array([1.5, 50.0])
    assert measures.precision_recall(real, generated, k=1).precision == 0.5
    assert measures.density_coverage(real, generated, k=1) == (1.0, 2 / 3)


def test_blocks_change_nothing(monkeypatch) -> None:
    whole = measures.precision_recall(X, Y), measures.nearest_training(Y, X)
    monkeypatch.setattr(points, "_BLOCK", 5000)
    assert measures.precision_recall(X, Y) == whole[0]
    for a, b in zip(measures.nearest_training(Y, X), whole[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_weights_of_modes() -> None:
    means = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, 9.0]])
    samples = np.concatenate((means[0] + X[:300], means[1] + X[:100], [[0.0, 60.0]]))
    found = measures.modes(samples, means, radius=3.5)
    np.testing.assert_allclose(found.weights * 401, [300, 100, 1])
    assert found.covered == 2 and found.quality == pytest.approx(400 / 401, abs=0.01)
    assert measures.modes(samples, means).covered == 3
    for radius in (0.0, -1.0, np.nan, True, "far"):
        with pytest.raises(ConfigError, match="radius"):
            measures.modes(samples, means, radius)


def test_copies_are_found() -> None:
    training, fresh = draws(2, 400, 64), draws(3, 100, 64)
    copied = training[:25] + 0.01 * draws(4, 25, 64)
    found = measures.nearest_training(np.concatenate((fresh, copied)), training)
    assert found.copies() == 0.2
    np.testing.assert_array_equal(found.nearest[100:], np.arange(25))
    expected = np.linalg.norm(copied - training[:25], axis=1)
    np.testing.assert_allclose(found.distance[100:], expected, rtol=1e-9)
    same = measures.nearest_training(training, training)
    assert (same.distance == 0.0).all() and same.copies() == 1.0
    assert (measures.nearest_training(np.ones((3, 2)), np.ones((4, 2)), k=2).ratio == 0.0).all()


@pytest.mark.parametrize("k", [0, 700, 1.5, True])
def test_bad_counts(k) -> None:
    with pytest.raises(ConfigError, match="k = "):
        measures.precision_recall(X, Y, k)
    with pytest.raises(ConfigError, match="k = "):
        measures.nearest_training(X, Y[:600], k)


def test_different_dimensions() -> None:
    with pytest.raises(ShapeError, match="real has 2 numbers per point, generated 3"):
        measures.precision_recall(X, draws(0, 9, 3))
