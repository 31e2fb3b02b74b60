"""The U-Nets that are timed, as diffusers configurations."""

from __future__ import annotations

from typing import Any

from pydiff.cli.presets import unet_config

MODELS: dict[str, dict[str, Any]] = {
    "cifar10": unet_config("cifar10", (32, 32, 3)),  # 35,746,307 parameters, 12.1 GFLOP an image
    "small": unet_config("small", (16, 16, 1)),  # 0.70 M parameters, attention at 8x8
}
