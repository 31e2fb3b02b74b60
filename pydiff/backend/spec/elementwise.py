"""Elementwise functions, arithmetic with broadcasting, and their gradients."""

from __future__ import annotations

from ...errors import ShapeError
from ..registry import active
from .checks import Array, array, arrays, broadcast, same_dtype, same_shape, strided


def exp(x: Array) -> Array:
    """e^x."""
    return active().exp(array("exp", "x", x))


def log(x: Array) -> Array:
    """Natural logarithm; -inf at 0 and NaN below."""
    return active().log(array("log", "x", x))


def sqrt(x: Array) -> Array:
    """Square root; NaN below 0."""
    return active().sqrt(array("sqrt", "x", x))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return active().sigmoid(array("sigmoid", "x", x))


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return active().tanh(array("tanh", "x", x))


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    return active().relu(array("relu", "x", x))


def silu(x: Array) -> Array:
    """x sigmoid(x), also named swish (Ramachandran et al. 2017)."""
    return active().silu(array("silu", "x", x))


def gelu(x: Array) -> Array:
    """x Phi(x) with the normal distribution function Phi (Hendrycks & Gimpel 2016)."""
    return active().gelu(array("gelu", "x", x))


def gelu_tanh(x: Array) -> Array:
    """The tanh approximation of gelu: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    return active().gelu_tanh(array("gelu_tanh", "x", x))


def add(a: Array, b: Array) -> Array:
    """a + b with NumPy's broadcasting."""
    return active().add(*_broadcastable("add", a, b))


def subtract(a: Array, b: Array) -> Array:
    """a - b with NumPy's broadcasting."""
    return active().subtract(*_broadcastable("subtract", a, b))


def multiply(a: Array, b: Array) -> Array:
    """a b with NumPy's broadcasting."""
    return active().multiply(*_broadcastable("multiply", a, b))


def divide(a: Array, b: Array) -> Array:
    """a / b with NumPy's broadcasting; division by 0 gives inf or NaN."""
    return active().divide(*_broadcastable("divide", a, b))


def accumulate(a: Array, b: Array) -> None:
    """a += b in place: one shape; a C-contiguous and writable, b of any strides."""
    checked = array("accumulate", "a", a)
    b = strided("accumulate", "b", b)
    if checked.dtype is not b.dtype:
        same_dtype("accumulate", {"a": checked, "b": b})
    if a.shape != b.shape:
        same_shape("accumulate", a=a, b=b)
    if checked is not a or not a.flags.writeable:
        raise ShapeError(
            "accumulate: a is changed in place, so it must be C-contiguous, aligned, native-endian "
            "and writable"
        )
    active().accumulate(a, b)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """dy y (1 - y), from the output y of sigmoid; equal shapes."""
    return active().sigmoid_backward(*_pair("sigmoid_backward", dy=dy, y=y))


def tanh_backward(dy: Array, y: Array) -> Array:
    """dy (1 - y^2), from the output y of tanh; equal shapes."""
    return active().tanh_backward(*_pair("tanh_backward", dy=dy, y=y))


def relu_backward(dy: Array, x: Array) -> Array:
    """dy where x > 0, else 0; equal shapes."""
    return active().relu_backward(*_pair("relu_backward", dy=dy, x=x))


def silu_backward(dy: Array, x: Array) -> Array:
    """dy times the derivative of silu at x; equal shapes."""
    return active().silu_backward(*_pair("silu_backward", dy=dy, x=x))


def gelu_backward(dy: Array, x: Array) -> Array:
    """dy times the derivative of gelu at x; equal shapes."""
    return active().gelu_backward(*_pair("gelu_backward", dy=dy, x=x))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """dy times the derivative of gelu_tanh at x; equal shapes."""
    return active().gelu_tanh_backward(*_pair("gelu_tanh_backward", dy=dy, x=x))


def _pair(op: str, **named: Array) -> list[Array]:
    checked = arrays(op, **named)
    if checked[0].shape != checked[1].shape:
        same_shape(op, **named)
    return checked


def _broadcastable(op: str, a: Array, b: Array) -> list[Array]:
    checked = arrays(op, a=a, b=b)
    shapes = checked[0].shape, checked[1].shape
    if shapes[0] != shapes[1] and broadcast(*shapes) is None:
        raise ShapeError(
            f"{op}: a has shape {shapes[0]} and b {shapes[1]}, which do not broadcast; "
            "from the right, sizes must be equal or 1"
        )
    return checked
