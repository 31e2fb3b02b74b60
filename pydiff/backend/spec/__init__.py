"""The contract of a backend: every numeric function, checked. Arrays in, fresh arrays out.

All arrays are float32 or float64, one dtype per call. Inputs may be strided, read-only, misaligned
or big-endian: they are copied where the implementation needs it. `DtypeError` and `ShapeError` name
the op, the argument, what was found and what is allowed. After its checks a function calls the
function of the same name of the active implementation (`registry.active()`), which trusts them.
"""

from .attention import attention, attention_backward
from .conv import conv2d, conv2d_backward_data, conv2d_backward_weight
from .elementwise import (
    accumulate,
    add,
    divide,
    exp,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    log,
    multiply,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    sqrt,
    subtract,
    tanh,
    tanh_backward,
)
from .embed import cast, fourier, sinusoids
from .linalg import matmul
from .norm import group_norm, group_norm_backward, layer_norm, layer_norm_backward
from .optim import adamw, ema, linear_combination, sum_of_squares
from .random import normal, uniform
from .reduce import max, max_backward, softmax, softmax_backward, squared_error, sum
from .resample import (
    concat,
    contiguous,
    gather,
    pad,
    scatter_add,
    sum_pool,
    upsample_nearest,
)

__all__ = [
    "accumulate",
    "adamw",
    "add",
    "attention",
    "attention_backward",
    "cast",
    "concat",
    "contiguous",
    "conv2d",
    "conv2d_backward_data",
    "conv2d_backward_weight",
    "divide",
    "ema",
    "exp",
    "fourier",
    "gather",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "group_norm",
    "group_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "log",
    "matmul",
    "max",
    "max_backward",
    "multiply",
    "normal",
    "pad",
    "relu",
    "relu_backward",
    "scatter_add",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "sinusoids",
    "softmax",
    "softmax_backward",
    "sqrt",
    "squared_error",
    "subtract",
    "sum",
    "sum_of_squares",
    "linear_combination",
    "sum_pool",
    "tanh",
    "tanh_backward",
    "uniform",
    "upsample_nearest",
]
