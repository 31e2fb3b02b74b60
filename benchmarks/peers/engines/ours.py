"""pydiff: the compiled plan where there is one, and the eager model beside it, not counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import pydiff

from ...timing import Run
from .base import FORWARD, LEARNING_RATE, WEIGHT_DECAY, Engine, inputs


def _prepare(folder: Path, task: str, batch: int) -> Run:
    return _compiled(folder, batch) if task == FORWARD else _training(folder, batch)


def _compiled(folder: Path, batch: int) -> Run:
    if not hasattr(pydiff, "compile"):
        return _eager(folder, FORWARD, batch)  # type: ignore[return-value]
    x, t, _ = inputs(folder, batch)
    plan = pydiff.compile(pydiff.nn.UNet2D.from_pretrained(folder).eval(), x, t)
    return lambda: plan(x, t)


def _eager(folder: Path, task: str, batch: int) -> Run | None:
    if task != FORWARD:
        return None
    model = pydiff.nn.UNet2D.from_pretrained(folder).eval()
    x, t, _ = inputs(folder, batch)

    def forward() -> np.ndarray:
        with pydiff.no_grad():
            return np.asarray(model(x, t).data)

    return forward


def _training(folder: Path, batch: int) -> Run:
    model = pydiff.nn.UNet2D.from_pretrained(folder).train()
    x, t, target = inputs(folder, batch)
    optimizer = pydiff.nn.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def step() -> np.ndarray:
        optimizer.zero_grad()
        loss = pydiff.ops.mse_loss(model(x, t), target)
        loss.backward()
        optimizer.step()
        return np.asarray(loss.data)

    return step


ENGINES = (
    Engine("pydiff", _prepare, avx2=True),
    Engine("pydiff eager", _eager, counted=False, avx2=True),
)
