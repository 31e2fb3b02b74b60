"""Single operators against PyTorch's, on shapes of diffusion networks.

Each side gets its own layout: pydiff (N, H, W, C), PyTorch both of its layouts, and for
convolutions oneDNN's blocked one too, weights and image converted beforehand ("torch mkldnn").
pydiff's convolution runs as in a compiled plan, on weights packed beforehand and into an array
that exists. GFLOP/s count the operations of the direct algorithm, whatever the algorithm: a
Winograd convolution can exceed the peak.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import pydiff
from pydiff import backend

from .engines.base import channels_first, channels_last
from .quiet import quiet
from .race import Entrant, Row, race

Entrants = dict[str, Entrant]


@dataclass(frozen=True)
class Operator:
    """label: of a shape. entrants: arguments of a shape -> who runs it; pydiff first.

    flop or bytes: the work of a shape.
    """

    label: str
    shapes: Sequence[tuple[int, ...]]
    entrants: Callable[..., Entrants]
    flop: Callable[..., float] | None = None
    bytes: Callable[..., float] | None = None


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32, in pydiff's own memory, as what a kernel leaves to the next is."""
    return pydiff.random.normal(seed, shape)


def _torch() -> Any:
    """torch with pydiff's number of threads; None if it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(pydiff.num_threads())
    return torch


def convolution(n: int, size: int, ci: int, co: int) -> Entrants:
    x, weight, bias = draw(n, size, size, ci), draw(3, 3, ci, co, seed=1), draw(co, seed=2)
    ours = {"pydiff": Entrant(_packed_convolution(x, weight, bias))}
    if not (torch := _torch()):
        return ours
    from torch.utils.mkldnn import to_mkldnn

    image, w, b = _tensors(torch, channels_first(x), weight, bias)
    layer = torch.nn.Conv2d(ci, co, 3, padding=1).requires_grad_(False)
    layer.load_state_dict({"weight": w.permute(3, 2, 0, 1).contiguous(), "bias": b})
    blocked, packed = image.to_mkldnn(), to_mkldnn(layer)
    conv2d = torch.nn.functional.conv2d
    theirs = {"torch mkldnn": Entrant(partial(packed, blocked), output=_image)}
    for name, layout in _layouts(torch):
        a, v = (z.contiguous(memory_format=layout) for z in (image, layer.weight))
        theirs[name] = Entrant(partial(conv2d, a, v, b, padding=1), output=_image)
    return ours | theirs


def _packed_convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
    from pydiff import _native

    if not hasattr(_native, "conv2d_pack"):
        return lambda: backend.conv2d(x, weight, bias, padding=1)
    y = np.empty((*x.shape[:3], weight.shape[3]), np.float32)
    ci, co = weight.shape[2:]
    algorithm = _native.conv2d_algorithm(*y.shape[1:3], ci, co, 3, 3, 1, 1)
    packed = np.empty(_native.conv2d_packed_size(3, 3, ci, co, algorithm), np.float32)
    _native.conv2d_pack(weight, packed, algorithm)

    def run() -> np.ndarray:
        _native.conv2d(x, weight, bias, y, 1, 1, 1, 1, algorithm=algorithm, packed=packed)
        return y

    return run


def attention(n: int, heads: int, tokens: int, d: int) -> Entrants:
    q, k, v = (draw(n, tokens, heads * d, seed=seed) for seed in range(3))
    ours = {"pydiff": Entrant(lambda: backend.attention(q, k, v, heads)[0])}
    if not (torch := _torch()):
        return ours
    split = [
        torch.from_numpy(a).reshape(n, tokens, heads, d).transpose(1, 2).contiguous()
        for a in (q, k, v)
    ]
    return ours | {
        "torch": Entrant(
            lambda: torch.nn.functional.scaled_dot_product_attention(*split),
            output=lambda y: y.transpose(1, 2).reshape(q.shape).numpy(),
        )
    }


def norm(n: int, size: int, channels: int) -> Entrants:
    x, weight, bias = draw(n, size, size, channels), draw(channels, seed=1), draw(channels, seed=2)
    ours = {"pydiff": Entrant(lambda: backend.group_norm(x, 32, weight, bias, act="silu")[0])}
    if not (torch := _torch()):
        return ours
    image, w, b = _tensors(torch, channels_first(x), weight, bias)

    def normed(a: Any) -> Any:
        return torch.nn.functional.silu(torch.nn.functional.group_norm(a, 32, w, b))

    torch._dynamo.reset()
    calls = [(name, normed, layout) for name, layout in _layouts(torch)]
    calls.append(("torch.compile", torch.compile(normed, dynamic=False), torch.channels_last))
    theirs = {}
    for name, call, layout in calls:
        a = image.contiguous(memory_format=layout)
        theirs[name] = Entrant(partial(call, a), output=_image)
    return ours | theirs


def product(n: int) -> Entrants:
    a, b = draw(n, n), draw(n, n, seed=1)
    ours = {"pydiff": Entrant(lambda: backend.matmul(a, b))}
    if not (torch := _torch()):
        return ours
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    return ours | {"torch": Entrant(partial(torch.mm, left, right))}


def _tensors(torch: Any, *arrays: np.ndarray) -> list[Any]:
    """Copies in torch's own memory, which begins at a cache line; NumPy's does not."""
    return [torch.from_numpy(a).clone() for a in arrays]


def _layouts(torch: Any) -> list[tuple[str, Any]]:
    return [
        ("torch", torch.contiguous_format),
        ("torch channels_last", torch.channels_last),
    ]


def _image(y: Any) -> np.ndarray:
    return channels_last((y.to_dense() if y.is_mkldnn else y).numpy())


OPERATORS = {
    "conv": Operator(
        "conv b{0} {1}x{1} {2}->{3}",  # 3x3, stride 1, padding 1, with bias
        (
            (1, 32, 128, 128),
            (1, 16, 256, 256),
            (1, 8, 512, 256),
            (16, 32, 128, 128),
            (16, 16, 256, 256),
            (1, 64, 320, 320),
            (2, 8, 1280, 1280),
        ),
        convolution,
        flop=lambda n, size, ci, co: 2.0 * n * size * size * 9 * ci * co,
    ),
    "attention": Operator(
        "attention b{} h{} T{} d{}",
        ((16, 1, 256, 256), (1, 8, 4096, 40), (2, 8, 1024, 80)),
        attention,
        flop=lambda n, heads, tokens, d: 4.0 * n * heads * tokens * tokens * d,
    ),
    "norm": Operator(
        "norm b{0} {1}x{1} {2}",  # 32 groups, then SiLU; one read and one write are counted
        ((1, 32, 128), (16, 32, 128), (16, 16, 256)),
        norm,
        bytes=lambda n, size, channels: 8.0 * n * size * size * channels,
    ),
    "matmul": Operator("matmul {}", ((1024,),), product, flop=lambda n: 2.0 * n**3),
}


def measure(name: str, shape: tuple[int, ...], rounds: int) -> Row:
    """The race of one operator of OPERATORS on one of its shapes."""
    operator = OPERATORS[name]
    with quiet():
        entrants = operator.entrants(*shape)
        for entrant in entrants.values():
            entrant.run()  # torch.compile writes while it builds
    work = {
        "flop": operator.flop(*shape) if operator.flop else None,
        "bytes": operator.bytes(*shape) if operator.bytes else None,
    }
    try:
        return race(operator.label.format(*shape), entrants, rounds, name, **work)
    finally:
        entrants.clear()
        gc.collect()


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))
