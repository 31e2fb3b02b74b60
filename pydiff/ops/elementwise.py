"""Arithmetic with NumPy broadcasting, and functions of one element. Any shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, random
from ..autograd import Node, Tensor, record, rule
from ..autograd.arrays import Array
from ..errors import ConfigError, DtypeError
from .support import as_tensor, operands, unbroadcast

Gradients = tuple["Array | None", ...]

# --- arithmetic -----------------------------------------------------------------------------------


def add(a: Any, b: Any) -> Tensor:
    """a + b."""
    a, b = operands("add", a, b)
    return record("add", backend.add(a.data, b.data), (a, b))


@rule("add", "a, b", strided=True)
def add_backward(ctx: Node, dy: Array) -> Gradients:
    return unbroadcast(dy, ctx.shapes[0]), unbroadcast(dy, ctx.shapes[1])


def subtract(a: Any, b: Any) -> Tensor:
    """a - b."""
    a, b = operands("subtract", a, b)
    return record("subtract", backend.subtract(a.data, b.data), (a, b))


@rule("subtract", "a, b")
def subtract_backward(ctx: Node, dy: Array) -> Gradients:
    db = unbroadcast(dy, ctx.shapes[1])
    return unbroadcast(dy, ctx.shapes[0]), None if db is None else _negative(db)


def multiply(a: Any, b: Any) -> Tensor:
    """a b, element by element."""
    a, b = operands("multiply", a, b)
    saved = (a if b.requires_grad else None, b if a.requires_grad else None)
    return record("multiply", backend.multiply(a.data, b.data), (a, b), saved)


@rule("multiply", "a, b", saves="a, b")
def multiply_backward(ctx: Node, dy: Array) -> Gradients:
    a, b = ctx.saved
    da = unbroadcast(backend.multiply(dy, b), ctx.shapes[0]) if ctx.needs[0] else None
    db = unbroadcast(backend.multiply(dy, a), ctx.shapes[1]) if ctx.needs[1] else None
    return da, db


def divide(a: Any, b: Any) -> Tensor:
    """a / b; infinity or NaN where b is 0."""
    a, b = operands("divide", a, b)
    y = backend.divide(a.data, b.data)
    return record("divide", y, (a, b), (b, y if b.requires_grad else None))


@rule("divide", "a, b", saves="b, the output")
def divide_backward(ctx: Node, dy: Array) -> Gradients:
    b, y = ctx.saved
    da = backend.divide(dy, b)
    db = unbroadcast(_negative(backend.multiply(da, y)), ctx.shapes[1]) if ctx.needs[1] else None
    return unbroadcast(da, ctx.shapes[0]), db


def negative(x: Any) -> Tensor:
    """-x."""
    x = as_tensor("negative", x)
    return record("negative", _negative(x.data), (x,))


@rule("negative", "x")
def negative_backward(ctx: Node, dy: Array) -> Gradients:
    return (_negative(dy),)


def _negative(x: Array) -> Array:
    return backend.multiply(x, np.asarray(-1, x.dtype))


def square(x: Any) -> Tensor:
    """x^2."""
    x = as_tensor("square", x)
    return record("square", backend.multiply(x.data, x.data), (x,), (x,))


@rule("square", "x", saves="x")
def square_backward(ctx: Node, dy: Array) -> Gradients:
    (x,) = ctx.saved
    return (backend.multiply(dy, backend.add(x, x)),)


def power(x: Any, exponent: float) -> Tensor:
    """x^exponent for a Python number; NaN where x < 0 and the exponent is fractional.

    DtypeError for other exponents (write exp(p * log(x)) where the exponent is a tensor).
    """
    if not isinstance(exponent, (int, float, np.number)) or not np.isfinite(exponent):
        raise DtypeError(
            f"power: the exponent is {exponent!r}; a finite Python number is needed "
            "(write exp(p * log(x)) where it is a tensor)"
        )
    x = as_tensor("power", x)
    exponent = float(exponent)
    return record("power", _power(x.data, exponent), (x,), (x,), exponent=exponent)


@rule("power", "x", saves="x")
def power_backward(ctx: Node, dy: Array) -> Gradients:
    (x,) = ctx.saved
    p = ctx["exponent"]
    if p == 0:  # 0 x^-1 would be NaN at 0
        return (np.zeros_like(dy),)
    slope = backend.multiply(_power(x, p - 1), np.asarray(p, x.dtype))
    return (backend.multiply(dy, slope),)


def _power(x: Array, p: float) -> Array:
    """Whole and half exponents by multiplication and square root, which also take x < 0; others by
    exp(p log x)."""
    if p < 0:
        return backend.divide(np.asarray(1, x.dtype), _power(x, -p))
    if not (2 * p).is_integer():
        return backend.exp(backend.multiply(backend.log(x), np.asarray(p, x.dtype)))
    y = np.ones_like(x) if p.is_integer() else backend.sqrt(x)
    whole, base = int(p), x
    while whole:
        if whole & 1:
            y = backend.multiply(y, base)
        whole >>= 1
        base = backend.multiply(base, base) if whole else base
    return y


# --- functions of one argument --------------------------------------------------------------------


def exp(x: Any) -> Tensor:
    """e^x."""
    x = as_tensor("exp", x)
    y = backend.exp(x.data)
    return record("exp", y, (x,), (y,))


@rule("exp", "x", saves="the output")
def exp_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.multiply(dy, ctx.saved[0]),)


def log(x: Any) -> Tensor:
    """Natural logarithm; -infinity at 0 and NaN below."""
    x = as_tensor("log", x)
    return record("log", backend.log(x.data), (x,), (x,))


@rule("log", "x", saves="x")
def log_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.divide(dy, ctx.saved[0]),)


def sqrt(x: Any) -> Tensor:
    """Square root; NaN below 0."""
    x = as_tensor("sqrt", x)
    y = backend.sqrt(x.data)
    return record("sqrt", y, (x,), (y,))


@rule("sqrt", "x", saves="the output")
def sqrt_backward(ctx: Node, dy: Array) -> Gradients:
    (y,) = ctx.saved
    return (backend.divide(dy, backend.add(y, y)),)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e^-x)."""
    x = as_tensor("sigmoid", x)
    y = backend.sigmoid(x.data)
    return record("sigmoid", y, (x,), (y,))


@rule("sigmoid", "x", saves="the output")
def sigmoid_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.sigmoid_backward(dy, ctx.saved[0]),)


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    x = as_tensor("tanh", x)
    y = backend.tanh(x.data)
    return record("tanh", y, (x,), (y,))


@rule("tanh", "x", saves="the output")
def tanh_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.tanh_backward(dy, ctx.saved[0]),)


def relu(x: Any) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    x = as_tensor("relu", x)
    return record("relu", backend.relu(x.data), (x,), (x,))


@rule("relu", "x", saves="x")
def relu_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.relu_backward(dy, ctx.saved[0]),)


def silu(x: Any) -> Tensor:
    """x sigmoid(x), also named swish (Ramachandran et al. 2017)."""
    x = as_tensor("silu", x)
    return record("silu", backend.silu(x.data), (x,), (x,))


@rule("silu", "x", saves="x")
def silu_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.silu_backward(dy, ctx.saved[0]),)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x Phi(x) (Hendrycks & Gimpel 2016); approximate="tanh" takes their tanh formula.

    ConfigError for another `approximate`.
    """
    x = as_tensor("gelu", x)
    if approximate == "none":
        return record("gelu", backend.gelu(x.data), (x,), (x,))
    if approximate == "tanh":
        return record("gelu_tanh", backend.gelu_tanh(x.data), (x,), (x,))
    raise ConfigError(f"gelu: approximate is {approximate!r}; allowed: 'none', 'tanh'")


@rule("gelu", "x", saves="x")
def gelu_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.gelu_backward(dy, ctx.saved[0]),)


@rule("gelu_tanh", "x", saves="x")
def gelu_tanh_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.gelu_tanh_backward(dy, ctx.saved[0]),)


# --- other ----------------------------------------------------------------------------------------


def astype(x: Any, dtype: Any) -> Tensor:
    """x converted to float32 or float64 (DtypeError for others); x itself if it has that dtype."""
    x = as_tensor("astype", x)
    wanted = np.dtype(dtype)
    if wanted not in (np.float32, np.float64):
        raise DtypeError(f"astype: dtype is {wanted}; allowed: float32, float64")
    if wanted == x.dtype:
        return x
    return record("astype", x.data.astype(wanted), (x,), dtype=x.dtype)


@rule("astype", "x")
def astype_backward(ctx: Node, dy: Array) -> Gradients:
    return (dy.astype(ctx["dtype"]),)


def dropout(x: Any, p: float, seed: int, step: int, first_image: int = 0) -> Tensor:
    """x (N, ...) with each element set to 0 with probability p, the others divided by 1 - p.

    Srivastava et al. 2014. What is dropped is a function of (seed, first_image + i, step, element)
    of stream "dropout" alone; two layers must not share a seed. 0 <= p <= 1, else ConfigError.
    """
    x = as_tensor("dropout", x)
    if not 0 <= p <= 1:
        raise ConfigError(f"dropout: p is {p}; allowed: 0 <= p <= 1")
    if p == 0:
        return x
    u = random.uniform(seed, x.shape, step=step, stream="dropout", first_image=first_image)
    mask = (u >= p).astype(x.dtype) * x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return record("dropout", backend.multiply(x.data, mask), (x,), mask=mask)


@rule("dropout", "x")
def dropout_backward(ctx: Node, dy: Array) -> Gradients:
    return (backend.multiply(dy, ctx["mask"]),)
