"""The loss curve as a picture."""

from __future__ import annotations

import os
from typing import Any

from ..io.figure import new_figure


def save_loss_curve(records: list[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw loss over step (logarithmic axis) from metrics records to an image file.

    Raises ImportError without matplotlib; see `io.figure`.
    """
    steps = [record["step"] for record in records]
    losses = [record["loss"] for record in records]
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#9ecae1", linewidth=1, label="mean between log lines")
    axes.plot(steps, _smoothed(losses), color="#08519c", linewidth=1.8, label="running mean")
    axes.set(xlabel="optimiser step", ylabel="mean squared error", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)


def _smoothed(values: list[float], weight: float = 0.8) -> list[float]:
    smooth, result = 0.0, []
    for count, value in enumerate(values, start=1):
        smooth = weight * smooth + (1 - weight) * value
        result.append(smooth / (1 - weight**count))
    return result
