"""Layers: thin modules over `pydiff.ops` that own parameters and their layout in files.

Shapes: N images, H, W pixels, C channels, channels last; `...` stands for any leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..errors import ConfigError
from . import init
from .module import Module, ModuleList, Parameter

Padding = int | tuple[int, int] | tuple[int, int, int, int]


class Linear(Module):
    """y = x W + b with x (..., in_features), W (in, out) in memory and (out, in) in files."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        first = init.fan_in_uniform(in_features)
        self.weight = Parameter((in_features, out_features), first, file_axes=(1, 0))
        self.bias = Parameter((out_features,), first) if bias else None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x W + b + residual; the residual (..., out_features) may be left out."""
        return ops.linear(x, self.weight, self.bias, residual)


class Conv2d(Module):
    """Convolution of x (N, H, W, in); weight (kh, kw, in, out), in files (out, in, kh, kw).

    `padding` is one number, (vertical, horizontal), or (top, bottom, left, right).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: Padding = 0,
        bias: bool = True,
    ) -> None:
        first = init.fan_in_uniform(in_channels * kernel_size**2)
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        self.weight = Parameter(shape, first, file_axes=(3, 2, 0, 1))
        self.bias = Parameter((out_channels,), first) if bias else None
        self.stride = stride
        self.padding = padding

    def forward(
        self, x: Tensor, add: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """The convolution plus `add` (N, out) at every pixel plus `residual`, of its own shape."""
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, add=add, residual=residual
        )


class GroupNorm(Module):
    """Group normalization (Wu & He 2018, arXiv:1803.08494) of x (N, ..., C), then `act`.

    `act` is an activation's name or "none"; "silu" is computed in the same pass over memory.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5, act: str = "none") -> None:
        if groups < 1 or channels % groups:
            raise ConfigError(f"GroupNorm: {groups} groups do not divide {channels} channels")
        self.weight = Parameter((channels,), init.ONES)
        self.bias = Parameter((channels,), init.ZEROS)
        self.groups = groups
        self.eps = eps
        self.fused = "silu" if act in ("silu", "swish") else "none"
        self.act = None if act in ("silu", "swish", "none") else Activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = ops.group_norm(x, self.groups, self.weight, self.bias, eps=self.eps, act=self.fused)
        return y if self.act is None else self.act(y)


class LayerNorm(Module):
    """Layer normalization (Ba et al. 2016, arXiv:1607.06450) of x (..., C)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        self.weight = Parameter((channels,), init.ONES)
        self.bias = Parameter((channels,), init.ZEROS)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)


class Embedding(Module):
    """A table of `rows` vectors; integers (...) in [0, rows) become vectors (..., features)."""

    def __init__(self, rows: int, features: int) -> None:
        self.weight = Parameter((rows, features), init.Init("normal", 1.0))

    def forward(self, index: np.ndarray) -> Tensor:
        return ops.gather(self.weight, np.asarray(index))


def mish(x: Tensor) -> Tensor:
    """x tanh(log(1 + e^x)) (Misra 2019, arXiv:1908.08681).

    With s = sigmoid(x) and r = sigmoid(-x) the hyperbolic tangent is s (1 + r) / (1 + r^2), where
    nothing overflows or cancels.
    """
    r = ops.sigmoid(ops.negative(x))
    return x * ops.sigmoid(x) * (1 + r) / (1 + r * r)


ACTIVATIONS = {
    "silu": ops.silu,
    "swish": ops.silu,
    "mish": mish,
    "gelu": ops.gelu,
    "relu": ops.relu,
}


class Activation(Module):
    """An elementwise function by name: silu (also called swish), mish, gelu, relu."""

    def __init__(self, name: str) -> None:
        if name not in ACTIVATIONS:
            raise ConfigError(f"activation {name!r}; allowed: {', '.join(ACTIVATIONS)}")
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


class SiLU(Activation):
    """x sigmoid(x)."""

    def __init__(self) -> None:
        super().__init__("silu")


class Dropout(Module):
    """Zero each element of x (N, ...) with probability p in training, scale the others by 1/(1-p).

    The mask depends on (seed, image, step, element) alone; `seed_dropout` sets the first three.
    Without it the step advances with each call.
    """

    def __init__(self, p: float) -> None:
        if not 0 <= p < 1:
            raise ConfigError(f"Dropout: p = {p!r}; allowed: 0 <= p < 1")
        self.p = p
        self.seed = 0
        self.step = 0
        self.first_image = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        step, self.step = self.step, self.step + 1
        return ops.dropout(x, self.p, seed=self.seed, step=step, first_image=self.first_image)


def seed_dropout(model: Module, seed: int, step: int, first_image: int = 0) -> None:
    """Fix the masks of the next call of `model`: one key per dropout layer, in the tree's order."""
    layers = [module for _, module in model.named_modules() if isinstance(module, Dropout)]
    for index, layer in enumerate(layers):
        # An odd multiplier permutes the 64-bit integers, so no two layers share a key.
        layer.seed = (seed + index * 0x9E3779B97F4A7C15) % (1 << 64)
        layer.step = step
        layer.first_image = first_image


class Attention(Module):
    """Self-attention over the pixels of x (N, H, W, C) with a residual connection.

    GroupNorm (none if `groups` is None), softmax(q k^T / sqrt(head_dim)) v per head of `head_dim`
    channels, projection, (result + x) / output_scale: Ho et al. 2020, arXiv:2006.11239, appendix B.
    """

    old_names: ClassVar[Mapping[str, str]] = {
        "query": "to_q",
        "key": "to_k",
        "value": "to_v",
        "proj_attn": "to_out.0",
    }

    def __init__(
        self,
        channels: int,
        head_dim: int,
        groups: int | None,
        eps: float = 1e-5,
        output_scale: float = 1.0,
    ) -> None:
        self.heads = channels // head_dim
        if self.heads < 1:
            raise ConfigError(f"Attention: head_dim {head_dim} is more than {channels} channels")
        inner = self.heads * head_dim
        self.group_norm = None if groups is None else GroupNorm(groups, channels, eps)
        self.to_q = Linear(channels, inner)
        self.to_k = Linear(channels, inner)
        self.to_v = Linear(channels, inner)
        self.to_out = ModuleList([Linear(inner, channels)])
        self.scale = 1 / math.sqrt(head_dim)
        self.output_scale = output_scale

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        h = x if self.group_norm is None else self.group_norm(x)
        h = ops.reshape(h, (n, height * width, channels))
        q, k, v = self.to_q(h), self.to_k(h), self.to_v(h)
        h = ops.attention(q, k, v, heads=self.heads, scale=self.scale)
        h = self.to_out[0](h, residual=ops.reshape(x, (n, height * width, channels)))
        return rescaled(ops.reshape(h, x.shape), self.output_scale)


def rescaled(x: Tensor, divisor: float) -> Tensor:
    """x / divisor, or x itself where the divisor is 1."""
    return x if divisor == 1 else x * (1 / divisor)
