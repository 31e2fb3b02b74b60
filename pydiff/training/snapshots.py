"""Pictures along the way: what the averaged weights draw by now, and the loss so far."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ..data import denormalise
from ..diffusion import Denoiser, DiscreteSchedule
from ..io import save_grid
from ..nn import UNet2D
from ..samplers import sample
from .config import TrainConfig

_VISIBLE = 64  # images smaller than this are enlarged by a whole number


def save_samples(
    model: UNet2D,
    schedule: DiscreteSchedule,
    config: TrainConfig,
    shape: tuple[int, ...],
    path: Path,
) -> None:
    """Draw config.num_samples images of shape (H, W, C) by DDIM and save them as one picture.

    The same seed at every step, so that successive pictures show the same images improving.
    """
    count, classes = config.num_samples, model.config["num_class_embeds"]
    labels = None if classes is None else np.arange(count) % classes
    call = model if labels is None else partial(model, class_labels=labels)
    learned = config.loss.learns_variance
    denoiser = Denoiser(call, schedule, config.prediction, clip=1.0, learned_variance=learned)
    x = sample(denoiser, (count, *shape), "ddim", config.sample_steps, "trailing", seed=config.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_grid(denormalise(x), path, scale=max(1, _VISIBLE // shape[0]))
