"""Networks: modules, layers, the U-Net, optimisers and averages of weights."""

from __future__ import annotations

from .ema import EMA
from .init import building
from .layers import (
    Activation,
    Attention,
    Conv2d,
    Dropout,
    Embedding,
    GroupNorm,
    LayerNorm,
    Linear,
    SiLU,
    seed_dropout,
)
from .lr import LearningRate
from .mlp import MLP
from .module import Module, ModuleList, Parameter, first_nonfinite
from .optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm, clip_scale, grad_norm
from .unet import UNet2D

__all__ = [
    "EMA",
    "MLP",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Attention",
    "Conv2d",
    "Dropout",
    "Embedding",
    "GroupNorm",
    "LayerNorm",
    "LearningRate",
    "Linear",
    "Module",
    "ModuleList",
    "Optimizer",
    "Parameter",
    "SiLU",
    "UNet2D",
    "building",
    "clip_grad_norm",
    "clip_scale",
    "first_nonfinite",
    "grad_norm",
    "seed_dropout",
]
