"""A residual multilayer perceptron of points and time: the denoiser of data without pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, ops
from ..autograd import Tensor
from ..checks import check_count
from ..errors import ConfigError, DtypeError, ShapeError
from ..ops import as_tensor
from . import init
from .embeddings import TimestepEmbedding
from .layers import Embedding, Linear
from .module import Module, ModuleList

_SPAN = 1e-4  # the lowest frequency of the time features over the highest


class MLP(Module):
    """features numbers and a time to as many numbers: (N, features), (N,) -> (N, features).

    width, depth: of the hidden layers, each h + W2 silu(W1 silu(h) + embedding of the time).
    frequency: the highest angular frequency of the sinusoids of t, which should turn once over the
        smallest change of t that matters: 1 for the whole times of a discrete schedule, about 1000
        for t in [0, 1], 8 for the c_noise of EDM. The lowest is 10,000 times slower.
    num_class_embeds: the number of classes, or None; seed: of the first weights.

    `config` holds these by name. Raises ConfigError naming the key and what is allowed.
    """

    def __init__(
        self,
        features: int = 2,
        width: int = 128,
        depth: int = 3,
        frequency: float = 1.0,
        num_class_embeds: int | None = None,
        seed: int = 0,
    ) -> None:
        counts = {"features": features, "width": width, "depth": depth}
        if num_class_embeds is not None:
            counts["num_class_embeds"] = num_class_embeds
        for key, value in counts.items():
            counts[key] = check_count(f"MLP: {key}", value)
        if not 0.0 < frequency < np.inf:
            raise ConfigError(f"MLP: frequency = {frequency!r}; allowed: a number > 0")
        self.config = {**counts, "num_class_embeds": num_class_embeds, "frequency": frequency}
        half = width // 2
        self._frequencies = np.geomspace(frequency, frequency * _SPAN, half).astype(np.float32)
        with init.building(seed=seed):
            self.input = Linear(features, width)
            self.time = TimestepEmbedding(2 * half, width)
            classes = num_class_embeds
            self.classes = None if classes is None else Embedding(classes, width)
            self.blocks = ModuleList(_Block(width) for _ in range(depth))
            self.output = Linear(width, features)

    def forward(self, x: Any, t: Any, class_labels: Any = None) -> Tensor:
        """The output (N, features), a Tensor of the network's dtype.

        x (N, features) floats; t one number or (N,); class_labels (N,) or one integer where the
        network has classes. Raises ShapeError, DtypeError or ConfigError.
        """
        points = self._points(x)
        count, dtype = points.shape[0], self.input.weight.dtype
        times = _per_point("t", t, count).astype(np.float32)
        features = backend.sinusoids(
            times, self._frequencies, 2 * len(self._frequencies), dtype=dtype
        )
        embedding: Tensor = self.time(features)
        if (class_labels is None) != (self.classes is None):
            raise ConfigError("MLP: class_labels go with num_class_embeds, and neither alone")
        if self.classes is not None:
            embedding = embedding + self.classes(_per_point("class_labels", class_labels, count))
        h: Tensor = self.input(points)
        for block in self.blocks:
            h = block(h, embedding)
        return self.output(ops.silu(h))

    def _points(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            x = np.asarray(x)
            if x.dtype.kind != "f":
                raise DtypeError(f"MLP: x has dtype {x.dtype}; allowed: floats")
            x = np.ascontiguousarray(x, self.input.weight.dtype)
        if x.ndim != 2 or x.shape[1] != self.config["features"]:
            raise ShapeError(f"MLP: x has shape {x.shape}; expected (N, {self.config['features']})")
        return as_tensor("MLP", x)


class _Block(Module):
    def __init__(self, width: int) -> None:
        self.first = Linear(width, width)
        self.second = Linear(width, width)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        inner: Tensor = self.first(ops.silu(h), embedding)
        return self.second(ops.silu(inner), h)


def _per_point(name: str, value: Any, n: int) -> np.ndarray:
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.shape not in ((), (1,), (n,)) or array.dtype.kind not in "iuf":
        raise ShapeError(f"MLP: {name} has shape {array.shape}; expected numbers () or ({n},)")
    return np.broadcast_to(array.reshape(-1), (n,))
