"""U-Nets by name, fitted to images of any size and to a number of classes."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError

# small: 0.7 M parameters, for 8 to 32 pixels. medium: 15 M, from 32 pixels up.
# cifar10: the 35.7 M network of Ho et al. 2020 (google/ddpm-cifar10-32).
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": 16,
        "norm_num_groups": 8,
    },
    "medium": {
        "block_out_channels": [64, 128, 256],
        "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
        "layers_per_block": 2,
        "attention_head_dim": 32,
        "norm_num_groups": 16,
    },
    "cifar10": {
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
    },
}
# What `bench` measures each preset on: (height, width, channels).
BENCH_SHAPES = {"small": (8, 8, 1), "medium": (64, 64, 3), "cifar10": (32, 32, 3)}


def unet_config(
    name: str,
    shape: tuple[int, int, int],
    num_classes: int | None = None,
    dropout: float = 0.0,
) -> dict[str, Any]:
    """The configuration of preset `name` for images (H, W, C). Raises ConfigError."""
    if name not in PRESETS:
        raise ConfigError(f"model = {name!r}; known: {', '.join(PRESETS)}")
    height, width, channels = shape
    factor = 2 ** (len(PRESETS[name]["block_out_channels"]) - 1)
    if height % factor or width % factor:
        raise ConfigError(
            f"model {name!r} halves the images {factor.bit_length() - 1} times: "
            f"{height} x {width} must be divisible by {factor}"
        )
    return {
        **PRESETS[name],
        "sample_size": height if height == width else [height, width],
        "in_channels": channels,
        "out_channels": channels,
        "num_class_embeds": num_classes,
        "dropout": dropout,
    }
