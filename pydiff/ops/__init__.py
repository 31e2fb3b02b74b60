"""Differentiable ops: each takes tensors, arrays or Python numbers and returns a `Tensor`.

One file per family; an op and its gradient rule stand side by side. Images are (N, H, W, C), tokens
(N, T, C), convolution kernels (kh, kw, in, out), linear weights (in, out).
"""

from __future__ import annotations

from ..autograd import OPS, Tensor
from .attention import attention
from .conv import conv2d
from .elementwise import (
    add,
    astype,
    divide,
    dropout,
    exp,
    gelu,
    log,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    silu,
    sqrt,
    square,
    subtract,
    tanh,
)
from .linalg import linear, matmul
from .loss import mse_loss
from .norm import group_norm, layer_norm
from .reduce import max, mean, softmax, sum
from .resample import avg_pool2d, upsample_nearest
from .shape import broadcast_to, concat, gather, getitem, pad, reshape, transpose
from .support import as_tensor

# What the operators and methods of Tensor call.
OPS.update(
    add=add,
    astype=astype,
    divide=divide,
    getitem=getitem,
    matmul=matmul,
    max=max,
    mean=mean,
    multiply=multiply,
    negative=negative,
    power=power,
    reshape=reshape,
    subtract=subtract,
    sum=sum,
    transpose=transpose,
)

__all__ = [
    "Tensor",
    "add",
    "as_tensor",
    "astype",
    "attention",
    "avg_pool2d",
    "broadcast_to",
    "concat",
    "conv2d",
    "divide",
    "dropout",
    "exp",
    "gather",
    "gelu",
    "getitem",
    "group_norm",
    "layer_norm",
    "linear",
    "log",
    "matmul",
    "max",
    "mean",
    "mse_loss",
    "multiply",
    "negative",
    "pad",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "silu",
    "softmax",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "upsample_nearest",
]
