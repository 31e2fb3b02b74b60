"""The MLP: shapes, gradients, classes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pydiff import nn, random
from pydiff.errors import ConfigError, DtypeError, ShapeError
from pydiff.testing import gradcheck

X, T = random.normal(0, (6, 2)), np.arange(6)


def test_each_point_is_on_its_own() -> None:
    model = nn.MLP(width=16, depth=2)
    y = model(X, T).data
    assert y.shape == (6, 2) and y.dtype == np.float32
    np.testing.assert_allclose(model(X[3:4], 3).data, y[3:4], rtol=1e-5, atol=1e-6)
    assert not np.allclose(model(X, 5).data, y)


def test_gradients() -> None:
    model = nn.MLP(width=6, depth=2, frequency=8.0, num_class_embeds=3).astype(np.float64)
    labels = np.array([0, 2, 1, 1, 0, 2])
    x, t = X.astype(np.float64), np.linspace(-2, 2, 6)
    assert gradcheck(lambda x: model(x, t, labels), [x], parameters=dict(model.named_parameters()))


def test_frequencies_span_ten_thousand() -> None:
    frequencies = nn.MLP(width=8, frequency=8.0)._frequencies
    assert frequencies[0] == 8.0 and frequencies[-1] == pytest.approx(8e-4)


def test_one_seed_one_network() -> None:
    weights = [nn.MLP(width=8, seed=seed).state_dict() for seed in (0, 0, 1)]
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name])
    assert any((weights[0][name] != weights[2][name]).any() for name in weights[0])


@pytest.mark.parametrize(
    ("x", "t", "labels", "error", "named"),
    [
        (np.zeros((6, 3)), 0, None, ShapeError, r"\(N, 2\)"),
        (np.zeros(2), 0, None, ShapeError, r"\(N, 2\)"),
        (np.zeros((6, 2), int), 0, None, DtypeError, "int64"),
        (X, [0, 1], None, ShapeError, "t has shape"),
        (X, 0, 1, ConfigError, "class_labels"),
    ],
)
def test_bad_input(x: Any, t: Any, labels: Any, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        nn.MLP(width=8)(x, t, labels)


@pytest.mark.parametrize(
    "config", [{"width": 0}, {"depth": 1.5}, {"features": True}, {"frequency": 0.0}]
)
def test_bad_configs(config: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(config))):
        nn.MLP(**config)
