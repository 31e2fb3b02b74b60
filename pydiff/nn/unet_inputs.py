"""What a U-Net takes: images, times and labels, checked and brought to one shape and dtype.

The network and its compiled plans share these rules, so both refuse the same with the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..errors import ConfigError, DtypeError, ShapeError


@dataclass(frozen=True)
class UNetInputs:
    """The rules of one network: its config, the width of its time embedding, its dtype."""

    config: Mapping[str, Any]
    time_features: int
    dtype: np.dtype[Any]

    def __call__(self, x: Any, t: Any, class_labels: Any = None) -> dict[str, Any]:
        """The inputs by name: x (N, H, W, C), a Tensor if it was one; t (N,); class_labels or none.

        Arrays that fit are passed through, not copied. Raises ShapeError, DtypeError, ConfigError.
        """
        images = self.images(x)
        inputs = {"x": images, "t": self.times(t, images.shape[0])}
        if class_labels is not None:
            inputs["class_labels"] = self.labels(class_labels, images.shape[0])
        elif self.takes_labels:
            raise ConfigError("UNet2D: class_labels is missing; this network has classes")
        return inputs

    @property
    def takes_labels(self) -> bool:
        kind = self.config["class_embed_type"]
        return kind is not None or self.config["num_class_embeds"] is not None

    def images(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            x = np.asarray(x)
            if x.dtype.kind != "f":
                raise DtypeError(f"UNet2D: x has dtype {x.dtype}; allowed: floats")
            x = np.ascontiguousarray(x, self.dtype)
        if x.dtype != self.dtype:
            raise DtypeError(
                f"UNet2D: x is a {x.dtype} Tensor but the network is {self.dtype}; use x.astype"
            )
        channels = self.config["in_channels"]
        factor = 2 ** (len(self.config["block_out_channels"]) - 1)
        fits = x.ndim == 4 and x.shape[3] == channels
        if not fits or x.shape[1] % factor or x.shape[2] % factor or 0 in x.shape[1:3]:
            raise ShapeError(
                f"UNet2D: x has shape {x.shape}; expected (N, H, W, {channels}) with H and W "
                f"divisible by {factor}"
            )
        return x

    def times(self, t: Any, n: int) -> np.ndarray:
        kind = self.config["time_embedding_type"]
        times = _per_image("t", t, n)
        if times.dtype.kind not in "iuf" or (kind == "learned" and times.dtype.kind == "f"):
            allowed = "integers" if kind == "learned" else "integers or floats"
            raise DtypeError(f"UNet2D: t has dtype {times.dtype}; allowed: {allowed}")
        if not np.isfinite(times).all() or (kind == "fourier" and not (times > 0).all()):
            allowed = "finite times" + " > 0" * (kind == "fourier")
            raise ConfigError(f"UNet2D: t = {times}; allowed: {allowed}")
        return self._time_like(times)

    def labels(self, labels: Any, n: int) -> np.ndarray:
        kind = self.config["class_embed_type"]
        if kind == "identity":
            return self._vectors(labels, n)
        classes = self.config["num_class_embeds"]
        if kind is None and classes is None:
            raise ConfigError("UNet2D: class_labels is given; this network has no classes")
        labels = _per_image("class_labels", labels, n)
        if kind == "timestep":
            return self._time_like(labels)
        if labels.dtype.kind not in "iu":
            raise DtypeError(f"UNet2D: class_labels has dtype {labels.dtype}; allowed: integers")
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise ConfigError(
                f"UNet2D: class_labels in [{labels.min()}, {labels.max()}]; allowed: 0 to "
                f"{classes - 1}"
            )
        return np.ascontiguousarray(labels, np.int64)

    def _time_like(self, times: np.ndarray) -> np.ndarray:
        """Indices of a learned table; else float32, in which sinusoids take times; Fourier features
        of float64 times stay so."""
        kind = self.config["time_embedding_type"]
        if kind == "learned":
            return times if times.dtype.kind == "f" else np.ascontiguousarray(times, np.int64)
        wide = kind == "fourier" and times.dtype == np.float64
        return np.ascontiguousarray(times, np.float64 if wide else np.float32)

    def _vectors(self, labels: Any, n: int) -> np.ndarray:
        vectors = np.asarray(labels)
        if vectors.dtype.kind not in "iuf" or vectors.shape != (n, self.time_features):
            raise ShapeError(
                f"UNet2D: class_labels has shape {vectors.shape} and dtype {vectors.dtype}; "
                f"expected floats of shape {(n, self.time_features)}"
            )
        return np.ascontiguousarray(vectors, self.dtype)


def _per_image(name: str, value: Any, n: int) -> np.ndarray:
    """`value` as an array (n,), from one number or one per image."""
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.shape not in ((), (1,), (n,)):
        raise ShapeError(f"UNet2D: {name} has shape {array.shape}; expected () or ({n},)")
    return np.broadcast_to(array.reshape(-1), (n,))
