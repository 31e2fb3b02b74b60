"""Pictures along the way: what the averaged weights draw by now, and the loss so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data import denormalise
from ..diffusion import DiscreteSchedule, NoiseSchedule
from ..io import save_grid
from ..nn import UNet2D
from ..samplers import sample
from .config import TrainConfig
from .denoising import denoiser_of

_VISIBLE = 64  # images smaller than this are enlarged by a whole number


def save_samples(
    model: UNet2D,
    schedule: NoiseSchedule,
    config: TrainConfig,
    shape: tuple[int, ...],
    path: Path,
) -> None:
    """Draw config.num_samples images of shape (H, W, C) by DDIM and save them as one picture.

    The same seed at every step, so that successive pictures show the same images improving.
    """
    count, classes = config.num_samples, model.config["num_class_embeds"]
    labels = None if classes is None else np.arange(count) % classes
    denoiser = denoiser_of(model, schedule, config, labels, clip=1.0)
    chain = isinstance(schedule, DiscreteSchedule)
    spacing = "trailing" if chain else schedule.usual_spacing
    x = sample(denoiser, (count, *shape), "ddim", config.sample_steps, spacing, seed=config.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_grid(denormalise(x), path, scale=max(1, _VISIBLE // shape[0]))
