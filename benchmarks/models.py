"""The U-Nets that are timed, as diffusers configurations."""

from __future__ import annotations

from typing import Any

CIFAR10: dict[str, Any] = {  # google/ddpm-cifar10-32: 35,746,307 parameters, 12.1 GFLOP an image
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "attention_head_dim": None,
    "norm_num_groups": 32,
    "norm_eps": 1e-6,
}

SMALL: dict[str, Any] = {  # 0.70 M parameters, 128 MFLOP an image
    "sample_size": 16,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}

MODELS = {"cifar10": CIFAR10, "small": SMALL}
