"""One call of every kernel, large enough to be cut into many tasks, with ragged ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from pydiff import _native
from pydiff.backend import cpu

Draw = Callable[..., np.ndarray]
PADDING, STRIDE = (1, 0, 2, 1), (1, 2)


def _several(x: Draw) -> list[np.ndarray]:
    return [x(100_003), x(1), x(16_384), x(7, 19)]


def _update(kernel: Callable[..., None], *lists: list[np.ndarray], **options: object) -> tuple:
    kernel(*lists, **options)
    changed = [*lists, options.get("e", [])]
    return tuple(x for arrays in changed for x in arrays)


def _attention(x: Draw) -> tuple[np.ndarray, ...]:
    return x(3, 70, 48), x(3, 45, 48), x(3, 45, 48)


def _attention_backward(x: Draw) -> tuple:
    q, k, v = _attention(x)
    o, lse = cpu.attention(q, k, v, 3, 0.25)
    return cpu.attention_backward(x(3, 70, 48), q, k, v, o, lse, 3, 0.25)


def _group_norm_backward(x: Draw) -> tuple:
    image, weight, bias = x(5, 19, 17, 36), x(36), x(36)
    _, mean, rstd = cpu.group_norm(image, 4, weight, bias, 1e-5, "silu")
    return cpu.group_norm_backward(x(5, 19, 17, 36), image, 4, weight, bias, mean, rstd, "silu")


def _layer_norm_backward(x: Draw) -> tuple:
    rows, weight = x(301, 67), x(67)
    _, mean, rstd = cpu.layer_norm(rows, weight, x(67), 1e-5)
    return cpu.layer_norm_backward(x(301, 67), rows, weight, mean, rstd)


def _max_backward(x: Draw) -> np.ndarray:
    ties = np.round(x(9, 301, 67))
    return cpu.max_backward(x(9, 1, 67), ties, cpu.max(ties, (1,)), (1,))


def _peak(y: np.ndarray) -> np.ndarray:
    assert _native.fma_peak(y, 1000) > 0
    return np.isfinite(y).astype(y.dtype)  # the ends of vectors of different width


def _packed(weight: np.ndarray, algorithm: int) -> np.ndarray:
    """y of the packed weight: the form itself differs between instruction sets."""
    size = _native.conv2d_packed_size(*weight.shape, algorithm, weight.itemsize)
    packed, y = np.empty(size, weight.dtype), np.empty((1, 3, 3, 37), weight.dtype)
    _native.conv2d_pack(weight, packed, algorithm)
    x = np.ones((1, 3, 3, 13), weight.dtype)
    _native.conv2d(x, weight, None, y, 1, 1, 1, 1, algorithm, packed)
    return y


def _index(n: int, rows: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, rows, n)


def _times() -> np.ndarray:
    return np.arange(1, 1002, 7, dtype=np.float32)


_UNARY = ["exp", "sqrt", "sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh"]
_GRADIENTS = ["sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh"]

# Kernel name -> function of x, which draws normal numbers of a shape; any array or tuple of them.
CALLS: dict[str, Callable[[Draw], object]] = {
    **{
        f: lambda x, f=f: getattr(cpu, f)(abs(x(100_003)) if f == "sqrt" else x(100_003))
        for f in _UNARY
    },
    **{
        f"{f}_backward": lambda x, f=f: getattr(cpu, f"{f}_backward")(x(100_003), x(100_003))
        for f in _GRADIENTS
    },
    "log": lambda x: cpu.log(abs(x(100_003))),
    "add": lambda x: (cpu.add(x(7, 103, 131), x(7, 1, 131)), cpu.add(x(70_001), x(1))),
    "subtract": lambda x: cpu.subtract(x(7, 103, 1), x(7, 103, 131)),
    "multiply": lambda x: cpu.multiply(x(1, 103, 131), x(7, 103, 131)),
    "divide": lambda x: cpu.divide(x(131), x(701, 131)),
    "sum": lambda x: (
        cpu.sum(x(7, 1031, 61), (1,)),
        cpu.sum(x(3, 100_001), (1,)),
        cpu.sum(x(61, 3001), (0,)),
        cpu.sum(x(7, 103, 131), (0, 2)),
    ),
    "max": lambda x: (cpu.max(x(7, 1031, 61), (1,)), cpu.max(x(3, 100_001), (1,))),
    "max_backward": _max_backward,
    "squared_error": lambda x: cpu.squared_error(x(100_003), x(100_003), 0.1),
    "softmax": lambda x: (cpu.softmax(x(2003, 41)), cpu.softmax(x(3, 5003))),
    "softmax_backward": lambda x: cpu.softmax_backward(x(2003, 41), x(2003, 41)),
    "matmul": lambda x: (
        cpu.matmul(x(3, 151, 67), x(67, 83), x(83)),
        cpu.matmul(x(3, 67, 151), x(3, 83, 67), None, True, True),
    ),
    "conv2d": lambda x: cpu.conv2d(x(3, 19, 23, 13), x(3, 3, 13, 37), x(37), STRIDE, PADDING),
    "conv2d_pack": lambda x: [_packed(x(3, 3, 13, 37), algorithm) for algorithm in (0, 2, 4)],
    "conv2d_backward_data": lambda x: cpu.conv2d_backward_data(
        x(3, 18, 12, 37), x(3, 3, 13, 37), (3, 19, 23, 13), STRIDE, PADDING
    ),
    "conv2d_backward_weight": lambda x: cpu.conv2d_backward_weight(
        x(3, 19, 23, 13), x(3, 18, 12, 37), (3, 3, 13, 37), STRIDE, PADDING
    ),
    "group_norm": lambda x: cpu.group_norm(x(5, 19, 17, 36), 4, x(36), x(36), 1e-5, "silu"),
    "group_norm_backward": _group_norm_backward,
    "layer_norm": lambda x: cpu.layer_norm(x(301, 67), x(67), x(67), 1e-5),
    "layer_norm_backward": _layer_norm_backward,
    "attention": lambda x: cpu.attention(*_attention(x), 3, 0.25),
    "attention_backward": _attention_backward,
    "upsample_nearest": lambda x: cpu.upsample_nearest(x(3, 19, 23, 37), 2, 0.5),
    "sum_pool": lambda x: cpu.sum_pool(x(3, 20, 24, 37), 2, 0.25),
    "strided_copy": lambda x: (
        cpu.contiguous(x(61, 67, 31).transpose(2, 0, 1)[:, ::-1]),
        cpu.concat([x(301, 67), x(301, 31)], 1),
        cpu.pad(x(19, 23, 37), ((1, 2), (0, 0), (3, 1)), 2.0),
    ),
    "gather": lambda x: cpu.gather(x(97, 131), _index(1003, 97)),
    "scatter_add": lambda x: cpu.scatter_add(x(1003, 131), _index(1003, 97), 97),
    "sinusoids": lambda x: cpu.sinusoids(
        _times(), abs(x(33)).astype(np.float32), 67, True, x(1).dtype
    ),
    "fourier": lambda x: (
        cpu.fourier(_times(), x(33)),
        cpu.fourier(_times().astype(np.float64), x(33)),
    ),
    "cast": lambda x: (
        cpu.cast(x(7001).astype(np.float32), x(1).dtype),
        cpu.cast(x(7001).astype(np.float64), x(1).dtype),
    ),
    "adamw": lambda x: _update(
        cpu.adamw,
        *(_several(x) for _ in "pgm"),
        [abs(v) for v in _several(x)],
        lr=1e-2,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=0.01,
        step=3,
        scale=0.3,
        e=_several(x),
        decay=0.99,
    ),
    "ema": lambda x: _update(cpu.ema, _several(x), _several(x), decay=0.99),
    "sum_of_squares": lambda x: cpu.sum_of_squares(_several(x)),
    "linear_combination": lambda x: cpu.linear_combination(
        np.random.default_rng(1).standard_normal((3, 7)), [x(7, 20_003) for _ in range(3)]
    ),
    "fma_peak": lambda x: _peak(x(3)),
    "uniform": lambda x: cpu.uniform(5, 6, 7, 8, 3, 20_003, x(1).dtype),
    "normal": lambda x: cpu.normal(5, 6, 7, 8, 3, 20_003, x(1).dtype),
}


def outputs(name: str, dtype: type) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    result = CALLS[name](lambda *shape: rng.normal(size=shape).astype(dtype))
    return list(result) if isinstance(result, tuple | list) else [result]


def digest(name: str, dtype: type) -> str:
    """SHA-256 of the bytes of every output."""
    return hashlib.sha256(b"".join(y.tobytes() for y in outputs(name, dtype))).hexdigest()
