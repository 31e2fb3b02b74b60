"""Embeddings of the time t (N,): fixed features, then a small network that is trained."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from .. import backend, ops
from ..autograd import Tensor
from . import init
from .layers import Linear
from .module import Module, Parameter


def sinusoids(
    t: np.ndarray,
    features: int,
    flip_sin_to_cos: bool = False,
    freq_shift: float = 1.0,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """[sin(t w_i), cos(t w_i)] with w_i = 10000^(-i / (half - freq_shift)): t (N,) to (N, features)
    float32 values in `dtype`.

    Ho et al. 2020 after Vaswani et al. 2017 (arXiv:1706.03762), section 3.5; `flip_sin_to_cos` puts
    cosines first; an odd number of features ends with a zero column.
    """
    half = features // 2
    # Angles are rounded to float32 where diffusers rounds them: at t = 999 one bit of a frequency
    # moves the angle by 6e-5, so a more exact table would be a different table.
    exponent = np.float32(-math.log(10000)) * np.arange(half, dtype=np.float32)
    exponent /= np.float32(half - freq_shift)
    frequency = np.exp(exponent.astype(np.float64)).astype(np.float32)
    return backend.sinusoids(t, frequency, features, flip_sin_to_cos, dtype)


class Timesteps(Module):
    """`sinusoids` of t, computed in float32 for any dtype of the model, as in diffusers."""

    def __init__(self, features: int, flip_sin_to_cos: bool, freq_shift: float) -> None:
        self.features = features
        self.flip_sin_to_cos = flip_sin_to_cos
        self.freq_shift = freq_shift

    def forward(self, t: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        return sinusoids(t, self.features, self.flip_sin_to_cos, self.freq_shift, dtype)


class GaussianFourier(Module):
    """[sin(2 pi w log t), cos(2 pi w log t)], w fixed and normal times `scale`: (N, 2 features).

    Tancik et al. 2020 (arXiv:2006.10739), as in the score networks of Song et al. 2021
    (arXiv:2011.13456). w is stored with the weights but not trained.
    """

    def __init__(self, features: int, scale: float = 16.0) -> None:
        self.weight = Parameter((features,), init.Init("normal", scale), requires_grad=False)

    def forward(self, t: np.ndarray) -> np.ndarray:
        return backend.fourier(t, self.weight.data)


class TimestepEmbedding(Module):
    """linear_2(silu(linear_1(x))): features (N, in) to the embedding (N, out)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self.linear_1 = Linear(in_features, out_features)
        self.linear_2 = Linear(out_features, out_features)

    def forward(self, features: Tensor | np.ndarray) -> Tensor:
        return self.linear_2(ops.silu(self.linear_1(features)))
