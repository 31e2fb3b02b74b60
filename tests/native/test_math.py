"""exp, log, tanh, ... against extended precision: the errors that simd/math.h states."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pydiff import _native

WIDE = np.longdouble
DTYPES = (np.float32, np.float64)
needs_wide = pytest.mark.skipif(
    np.finfo(WIDE).eps > 2.0**-60, reason="long double is no wider than double here"
)


def _erf(x: np.ndarray) -> np.ndarray:
    """erf for |x| <= 3 by its all-positive series, 2 x e^(-x^2)/sqrt(pi) sum (2x^2)^n/(2n+1)!!."""
    term = total = np.ones_like(x)
    for n in range(1, 120):
        term = term * 2 * x * x / (2 * n + 1)
        total = total + term
    pi = WIDE("3.14159265358979323846264338327950288")
    return 2 * x * np.exp(-x * x) / np.sqrt(pi) * total


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return (1 + _erf(x / np.sqrt(WIDE(2)))) / 2


REFERENCES = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * _normal_cdf(x),
}
# Worst error seen over all sets, rounded up, in units in the last place.
ULPS = {"exp": 1, "log": 1, "sqrt": 0.5, "tanh": 2.5, "sigmoid": 2.6, "silu": 2.8, "gelu": 4}


def _points(name: str, dtype: type, rng: np.random.Generator) -> np.ndarray:
    limit = np.log(np.finfo(dtype).max) - 1
    spread = rng.normal(size=20_000) * 10.0 ** rng.uniform(-6, 0.5, 20_000)
    if name in ("log", "sqrt"):
        x = np.concatenate([np.exp(rng.uniform(-80, 80, 20_000)), rng.uniform(0.5, 2, 20_000)])
    elif name == "exp":
        x = np.concatenate([rng.uniform(-limit, limit, 20_000), spread])
    elif name == "gelu":  # below 0 the condition grows like x^2, see the next test
        x = np.concatenate([rng.uniform(-1, 4, 20_000), rng.normal(size=20_000) * 1e-3])
    else:
        x = np.concatenate([rng.uniform(-15, 15, 20_000), spread])
    return x.astype(dtype)


def _ulps(y: np.ndarray, exact: np.ndarray) -> float:
    spacing = np.spacing(np.abs(exact).astype(y.dtype)).astype(WIDE)
    return float(np.max(np.abs(y.astype(WIDE) - exact) / spacing))


def _call(name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    getattr(_native, name)(x, y)
    return y


@needs_wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REFERENCES)
def test_error_in_ulp(name: str, dtype: type, isa: str, rng: np.random.Generator):
    x = _points(name, dtype, rng)
    assert _ulps(_call(name, x), REFERENCES[name](x.astype(WIDE))) <= ULPS[name]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_keeps_relative_precision_in_its_left_tail(dtype: type, isa: str):
    x = np.linspace(-12, -1, 4001).astype(dtype)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])
    x, exact = x[-exact > np.finfo(dtype).tiny], exact[-exact > np.finfo(dtype).tiny]
    error = np.abs(_call("gelu", x) / exact - 1)
    assert np.all(error <= 3 * np.finfo(dtype).eps * (1 + np.square(x, dtype=float)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sigmoid", "relu"])
def test_special_values(name: str, dtype: type, isa: str):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4, 1.0, -1.0], dtype)
    expected = {
        "exp": [np.nan, np.inf, 0, 1, 1, np.inf, 0, np.e, 1 / np.e],
        "log": [np.nan, np.inf, np.nan, -np.inf, -np.inf, math.log(1e4), np.nan, 0, np.nan],
        "sqrt": [np.nan, np.inf, np.nan, 0, 0, 100, np.nan, 1, np.nan],
        "tanh": [np.nan, 1, -1, 0, 0, 1, -1, math.tanh(1), -math.tanh(1)],
        "sigmoid": [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1 / (1 + 1 / np.e), 1 / (1 + np.e)],
        "relu": [np.nan, np.inf, 0, 0, 0, 1e4, 0, 1, 0],
    }[name]
    np.testing.assert_allclose(_call(name, x), expected, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals(dtype: type, isa: str):
    info = np.finfo(dtype)
    tiny = np.array([info.smallest_subnormal, info.smallest_normal / 2, info.smallest_normal])
    np.testing.assert_allclose(_call("log", tiny), np.log(tiny.astype(WIDE)).astype(dtype), 1e-6)
    x = np.linspace(np.log(info.smallest_normal) - 5, np.log(info.smallest_normal), 99, dtype=dtype)
    exact = np.exp(x.astype(WIDE)).astype(dtype)
    assert np.all(np.abs(_call("exp", x) - exact) <= info.smallest_subnormal)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_of_huge_arguments(name: str, dtype: type, isa: str):
    x = np.array([1e30, -1e30, 100, -100], dtype)
    dy, dx = np.ones_like(x), np.empty_like(x)
    np.testing.assert_allclose(_call(name, x), [1e30, 0, 100, 0], rtol=1e-6, atol=1e-30)
    getattr(_native, f"{name}_backward")(dy, x, dx)
    np.testing.assert_allclose(dx, [1, 0, 1, 0], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", ["max", "softmax"])
@pytest.mark.parametrize("n", [1, 3, 7, 16, 33, 100])
def test_nan_anywhere_reaches_the_result(kernel: str, n: int, dtype: type, isa: str):
    for position in range(n):
        x = np.zeros((1, n), dtype)
        x[0, position] = np.nan
        y = np.empty((1, n if kernel == "softmax" else 1), dtype)
        _native.softmax(x, y) if kernel == "softmax" else _native.max(x, y, 1, n, 1)
        assert np.isnan(y).all()
