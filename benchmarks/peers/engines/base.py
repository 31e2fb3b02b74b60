"""What an engine of the U-Net races is, and what all of them are given."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import pydiff

from ...timing import Run

FORWARD, TRAIN = "forward", "train"
LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.01  # AdamW's, of every engine


class Unable(Exception):
    """The engine cannot do this work; the message says why."""


@dataclass(frozen=True)
class Engine:
    """One row of the table.

    prepare: (folder, task, batch) -> a call that evaluates the model of that folder once
        ("forward": the output (N, H, W, C)) or trains it by one step ("train": the loss before
        the step) on `inputs(folder, batch)`; None if it is not made for the task. Raises Unable
        if it should do it and cannot. Files of its own go into the folder.
    packages: distributions it needs, by the names that pip knows.
    modules: what must be importable.
    counted: whether its time makes the ratio. tolerance: see `race.Entrant`.
    avx2: whether it can be held to AVX2.
    """

    name: str
    prepare: Callable[[Path, str, int], Run | None]
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    counted: bool = True
    tolerance: float = 1e-3
    avx2: bool = False

    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    def versions(self) -> dict[str, str]:
        """Package -> installed version."""
        return {name: importlib.metadata.version(name) for name in self.packages}


def inputs(folder: Path, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, H, W, C) float32, t (N,) int64 and the training target (N, H, W, C)."""
    config = json.loads((folder / "config.json").read_text())
    size = config["sample_size"]
    shape = (batch, size, size, config["in_channels"])
    t = np.linspace(10, 990, batch).astype(np.int64)
    return pydiff.random.normal(0, shape), t, pydiff.random.normal(1, shape)


def channels_first(x: np.ndarray) -> np.ndarray:
    """(N, H, W, C) -> contiguous (N, C, H, W)."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def channels_last(y: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> a view (N, H, W, C)."""
    return y.transpose(0, 2, 3, 1)
