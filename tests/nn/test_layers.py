"""Layers compute their formulas and refuse impossible sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pydiff import nn, no_grad
from pydiff.errors import ConfigError

X = np.random.RandomState(0).standard_normal((2, 4, 4, 6))


def test_linear_and_convolution_with_and_without_bias() -> None:
    linear = nn.Linear(6, 3, bias=False).astype(np.float64)
    np.testing.assert_allclose(linear(X).data, X @ linear.weight.data, rtol=1e-12)
    conv = nn.Conv2d(6, 3, 1, bias=False).astype(np.float64)
    np.testing.assert_allclose(conv(X).data, X @ conv.weight.data[0, 0], rtol=1e-12)
    assert list(conv.state_dict()) == ["weight"]


def test_layer_norm_and_group_norm() -> None:
    norm = nn.LayerNorm(6).astype(np.float64)
    wanted = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(X).data, wanted, rtol=1e-10, atol=1e-12)
    grouped = X.reshape(2, 16, 2, 3)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    wanted = ((grouped - mean) / np.sqrt(var + 1e-3)).reshape(X.shape)
    for act in ("none", "silu", "relu"):
        y = nn.GroupNorm(2, 6, eps=1e-3, act=act).astype(np.float64)(X).data
        after = {"none": wanted, "silu": wanted / (1 + np.exp(-wanted)), "relu": wanted.clip(0)}
        np.testing.assert_allclose(y, after[act], rtol=1e-10, atol=1e-12)


def test_mish_is_exact_and_never_overflows() -> None:
    x = np.array([-800.0, -30.0, -1.0, 0.0, 0.5, 20.0, 800.0])
    wanted = [v * math.tanh(v if v > 700 else math.log1p(math.exp(v))) for v in x]
    np.testing.assert_allclose(nn.Activation("mish")(x).data, wanted, rtol=1e-14, atol=1e-300)
    single = nn.Activation("mish")(x.astype(np.float32)).data
    np.testing.assert_allclose(single, wanted, rtol=1e-6, atol=1e-30)


def test_embedding_takes_any_shape_of_indices() -> None:
    table = nn.Embedding(5, 3)
    index = np.array([[0, 4], [2, 2]])
    np.testing.assert_array_equal(table(index).data, table.weight.data[index])


def test_dropout_masks_differ_between_layers_and_keep_the_mean() -> None:
    model = nn.ModuleList([nn.Dropout(0.25), nn.Dropout(0.25)])
    nn.seed_dropout(model, seed=2**64 - 1, step=3)
    x = np.ones((4, 5000), np.float32)
    first, second = (layer(x).data for layer in model)
    assert not np.array_equal(first, second)
    assert set(np.unique(first)) == {0, np.float32(4 / 3)}
    assert abs(first.mean() - 1) < 0.02
    nn.seed_dropout(model, seed=2**64 - 1, step=3, first_image=1)
    np.testing.assert_array_equal(model[0](x[1:]).data, first[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.GroupNorm(4, 6), "4 groups do not divide 6 channels"),
        (lambda: nn.GroupNorm(0, 6), "0 groups"),
        (lambda: nn.Attention(4, head_dim=5, groups=2), "head_dim 5 is more than 4 channels"),
        (lambda: nn.Dropout(1.0), "allowed: 0 <= p < 1"),
        (lambda: nn.Dropout(float("nan")), "allowed: 0 <= p < 1"),
        (lambda: nn.Activation("selu"), "allowed: silu, swish, mish, gelu, relu"),
    ],
)
def test_impossible_layers_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_threads_share_one_network() -> None:
    net = nn.Attention(6, head_dim=3, groups=2).astype(np.float64).eval()

    def run(_: int) -> np.ndarray:
        with no_grad():
            return net(X).data

    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(run, range(32)):
            np.testing.assert_array_equal(y, run(0))
