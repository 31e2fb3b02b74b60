"""How parameters get their first values: counter-based, from a seed and the parameter's position.

The distributions are torch's defaults: a weight and its bias are uniform in +-1/sqrt(fan_in), which
is He et al. 2015 (arXiv:1502.01852) with gain 1/sqrt(3); embeddings are standard normal.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from .. import random
from ..errors import ConfigError


@dataclass(frozen=True)
class Init:
    """A distribution of first values: "constant", "uniform" in +-scale, or "normal" times scale."""

    kind: str
    scale: float

    def draw(self, shape: tuple[int, ...], seed: int, index: int) -> np.ndarray:
        """A float32 array of `shape`, the same for the same seed and index."""
        if self.kind == "constant":
            return np.full(shape, self.scale, dtype=np.float32)
        draw = random.uniform if self.kind == "uniform" else random.normal
        values = draw(seed, (1, math.prod(shape)), stream="params", first_image=index)
        if self.kind == "uniform":
            values = 2 * values - 1
        return (np.float32(self.scale) * values).reshape(shape)


ZEROS = Init("constant", 0.0)
ONES = Init("constant", 1.0)


def fan_in_uniform(fan_in: int) -> Init:
    """Uniform in +-1/sqrt(fan_in)."""
    return Init("uniform", 1 / math.sqrt(max(fan_in, 1)))


class _Builder:
    """Gives values to the parameters created under it, and counts them."""

    def __init__(self, seed: int | None, max_params: int | None) -> None:
        self.seed = seed
        self.max_params = max_params
        self.created = 0
        self.elements = 0

    def first_value(self, shape: tuple[int, ...], init: Init) -> np.ndarray:
        self.elements += math.prod(shape)
        if self.max_params is not None and self.elements > self.max_params:
            raise ConfigError(
                f"the model has more than max_params = {self.max_params:,} parameters; "
                "allowed: fewer, or a higher max_params"
            )
        index, self.created = self.created, self.created + 1
        if self.seed is None:  # a placeholder without memory
            return np.broadcast_to(np.float32(0), shape)
        return init.draw(shape, self.seed, index)


_local = threading.local()


def _builder() -> _Builder:
    if not hasattr(_local, "builder"):
        _local.builder = _Builder(seed=0, max_params=None)
    builder: _Builder = _local.builder
    return builder


@contextmanager
def building(seed: int | None = 0, max_params: int | None = None) -> Iterator[None]:
    """Layers created in this block take their values from `seed`, in the order of creation.

    With seed None they hold placeholders without memory until `draw_values` or loading fills them.
    Raises ConfigError as soon as they have more than `max_params` elements together.
    """
    outer = _builder()
    _local.builder = _Builder(seed, max_params)
    try:
        yield
    finally:
        _local.builder = outer


def first_value(shape: tuple[int, ...], init: Init) -> np.ndarray:
    """The first value of the next parameter: a float32 array of `shape`, or a placeholder."""
    return _builder().first_value(shape, init)


def draw_values(inits: Iterable[tuple[tuple[int, ...], Init]], seed: int) -> Iterator[np.ndarray]:
    """First values for parameters of the given shapes, as `building(seed)` would give them."""
    for index, (shape, init) in enumerate(inits):
        yield init.draw(shape, seed, index)
