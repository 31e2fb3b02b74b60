"""What each training step sees, as a pure function of (seed, step): nothing to save or restore."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .. import random
from ..data import random_flip
from ..diffusion import Loss, NoiseSchedule
from ..diffusion.losses import Example
from ..errors import ConfigError, DataError, ShapeError
from .config import TrainConfig


class Batch(NamedTuple):
    """One micro-batch: x0 and eps (B, H, W, C), t (B,) and so on; labels (B,) or None."""

    example: Example
    labels: np.ndarray | None


class Batches:
    """Draws micro-batches from images (N, H, W, C) float32 in [-1, 1] and labels (N,) integers.

    Epoch e visits the images in the order `permutation(seed, N, e)`; sample j of step k is entry
    k * batch + j of the concatenated epochs, and its time, noise and mirror are keyed by
    (seed, k, j). So splitting a step into micro-batches changes no draw.
    """

    def __init__(self, data: Any, config: TrainConfig, schedule: NoiseSchedule, loss: Loss) -> None:
        self.images, self.labels = _images_and_labels(data)
        self.config, self.schedule, self.loss = config, schedule, loss
        self._orders: dict[int, np.ndarray] = {}
        if config.class_conditional and self.labels is None:
            raise ConfigError("class_conditional = True needs labels: pass data=(images, labels)")

    @property
    def images_per_step(self) -> int:
        return self.config.batch_size * self.config.grad_accumulation

    def draw(self, step: int, micro: int, dtype: DTypeLike = np.float32) -> Batch:
        """Micro-batch `micro` of optimiser step `step` (both from 0), float32 or float64."""
        first, count = micro * self.config.batch_size, self.config.batch_size
        index = self._indices(step * self.images_per_step + first, count)
        key: dict[str, Any] = {"step": step, "first_image": first}
        seed = self.config.seed
        x0 = np.ascontiguousarray(self.images[index], dtype=np.float32)
        if self.config.horizontal_flip:
            x0 = random_flip(x0, seed, **key)
        x0 = x0.astype(dtype, copy=False)
        example = self.loss.draw(self.schedule, x0, seed, **key)
        labels = None
        if self.config.class_conditional and self.labels is not None:
            labels = self.labels[index]
        return Batch(example, labels)

    def check_fit(self, model_config: dict[str, Any]) -> None:
        """Raise unless a network of this configuration takes these images and labels."""
        channels = self.images.shape[3]
        learned = self.loss.learns_variance
        for key, wanted in (("in_channels", 1), ("out_channels", 1 + learned)):
            if model_config[key] != wanted * channels:
                more = f"; objective = {self.config.objective!r} needs twice as many"
                raise ShapeError(
                    f"Trainer: the model has {key} = {model_config[key]}, the images {channels} "
                    f"channels (shape {self.images.shape}){more * (wanted - 1)}"
                )
        classes = model_config["num_class_embeds"]
        if self.config.class_conditional != (classes is not None):
            raise ConfigError(
                f"class_conditional = {self.config.class_conditional}, but the model has "
                f"num_class_embeds = {classes}"
            )
        if classes is not None and self.labels is not None:
            low, high = self.labels.min(), self.labels.max()
            if low < 0 or high >= classes:
                raise DataError(f"Trainer: labels span [{low}, {high}]; the model has {classes}")

    def fingerprint(self) -> str:
        """A short hash of shape, labels and 64 spread images: tells another data set apart."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        rows = np.linspace(0, len(self.images) - 1, min(64, len(self.images))).astype(np.int64)
        digest.update(np.ascontiguousarray(self.images[rows], dtype=np.float32).tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()[:16]

    def _indices(self, first: int, count: int) -> np.ndarray:
        positions = np.arange(first, first + count)
        epochs, places = np.divmod(positions, len(self.images))
        return np.array(
            [self._order(int(e))[p] for e, p in zip(epochs, places, strict=True)], dtype=np.int64
        )

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            # A step straddles few epochs; older orders are never asked for again.
            if len(self._orders) > 8:
                self._orders.clear()
            self._orders[epoch] = random.permutation(self.config.seed, len(self.images), epoch)
        return self._orders[epoch]


def _images_and_labels(data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    images, labels = data if isinstance(data, tuple) else (data, None)
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype.kind != "f":
        raise ShapeError(
            f"Trainer: data has shape {images.shape} and dtype {images.dtype}; "
            "expected floating-point images (N, H, W, C) in [-1, 1]"
        )
    if len(images) == 0:
        raise DataError("Trainer: data holds no images")
    if not np.isfinite(images).all():
        raise DataError("Trainer: data holds NaN or infinity")
    if labels is None:
        return images, None
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"Trainer: labels have shape {labels.shape} and dtype {labels.dtype}; "
            f"expected integers of shape ({len(images)},)"
        )
    return images, labels.astype(np.int64)
