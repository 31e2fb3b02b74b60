"""Arithmetic and elementwise functions: values, dtypes, dropout's contract, and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import Tensor
from pydiff.errors import ConfigError, DtypeError, ShapeError

X = np.array([-2.0, -0.5, 0.0, 0.25, 3.0])
POSITIVE = np.array([0.1, 1.0, 7.5])


@pytest.mark.parametrize(
    ("ours", "theirs", "x"),
    [
        (ops.exp, np.exp, X),
        (ops.log, np.log, POSITIVE),
        (ops.sqrt, np.sqrt, POSITIVE),
        (ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), X),
        (ops.tanh, np.tanh, X),
        (ops.relu, lambda x: np.maximum(x, 0), X),
        (ops.silu, lambda x: x / (1 + np.exp(-x)), X),
        (ops.gelu, lambda x: [v / 2 * (1 + math.erf(v / 2**0.5)) for v in x], X),
        (ops.square, np.square, X),
        (ops.negative, np.negative, X),
    ],
)
def test_functions_equal_numpy(ours, theirs, x) -> None:
    np.testing.assert_allclose(ours(x).data, theirs(x), rtol=1e-14, atol=1e-15)
    assert ours(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("p", [-3, -2.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 7, 0.3, math.pi])
def test_power(p) -> None:
    np.testing.assert_allclose(ops.power(POSITIVE, p).data, POSITIVE**p, rtol=1e-13)
    if float(p).is_integer() and p >= 0:
        np.testing.assert_allclose(ops.power(X, p).data, X**p, rtol=1e-13)


def test_power_has_finite_slopes_at_zero() -> None:
    for p, slope in [(0, 0.0), (1, 1.0), (2, 0.0)]:
        x = Tensor(np.zeros(1), requires_grad=True)
        ops.power(x, p).backward()
        assert x.grad == slope


@pytest.mark.parametrize("p", ["2", None, np.ones(2), math.nan, math.inf])
def test_power_takes_finite_numbers_only(p) -> None:
    with pytest.raises(DtypeError, match="power: the exponent"):
        ops.power(X, p)


def test_gelu_names_its_choices() -> None:
    x = Tensor(X)
    assert not np.array_equal(ops.gelu(x, "tanh").data, ops.gelu(x).data)
    with pytest.raises(ConfigError, match="'none', 'tanh'"):
        ops.gelu(x, "fast")


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ShapeError, match=r"add.*\(2, 3\).*\(4,\)"):
        ops.add(np.ones((2, 3)), np.ones(4))


def test_astype_converts_forth_and_the_gradient_back() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = ops.astype(x, np.float32)
    assert y.dtype == np.float32 and ops.astype(x, "float64") is x
    y.backward(np.array([0.5, 0.25], np.float32))
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad, [0.5, 0.25])
    with pytest.raises(DtypeError, match="float16"):
        x.astype(np.float16)


def test_dropout_keeps_the_mean_and_masks_the_gradient() -> None:
    x = Tensor(np.ones((50, 400)), requires_grad=True)
    y = ops.dropout(x, 0.25, seed=3, step=7)
    assert set(np.unique(y.data)) == {0.0, 1 / 0.75}
    # Five standard deviations of the share of 20,000 elements.
    assert (y.data == 0).mean() == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 20_000))
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(x.grad, y.data)


def test_dropout_depends_on_seed_step_and_image_only() -> None:
    x = np.ones((4, 30))
    y = ops.dropout(x, 0.5, seed=1, step=2).data
    np.testing.assert_array_equal(ops.dropout(x, 0.5, seed=1, step=2).data, y)
    np.testing.assert_array_equal(ops.dropout(x[2:], 0.5, 1, 2, first_image=2).data, y[2:])
    single = ops.dropout(x.astype(np.float32), 0.5, seed=1, step=2).data
    np.testing.assert_array_equal(single, y)
    for other in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}):
        assert not np.array_equal(ops.dropout(x, 0.5, **other).data, y)


def test_dropout_at_the_ends_and_beyond() -> None:
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    assert ops.dropout(x, 0, seed=0, step=0) is x
    np.testing.assert_array_equal(ops.dropout(x, 1, seed=0, step=0).data, np.zeros((2, 3)))
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match="dropout: p is"):
            ops.dropout(x, p, seed=0, step=0)
