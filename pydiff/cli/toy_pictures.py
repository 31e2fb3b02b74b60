"""Pictures of points in the plane: densities, score fields and paths by matplotlib, and frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import random

EXTENT = 2.8  # half the side of what is drawn
PIXELS = 160
RATIOS = (1.5, 0.5, 0.15)  # sigma / alpha of the score fields
_ARROWS, _PATHS, _SHOWN = 24, 120, 4000


def raster(points: np.ndarray) -> np.ndarray:
    """Points (N, 2) as a grey frame (PIXELS, PIXELS, 1) in [0, 1]: the more points, the darker."""
    edges = np.linspace(-EXTENT, EXTENT, PIXELS + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    return np.exp(-0.7 * counts.T[::-1, :, None])


def draw_densities(
    name: str, points: np.ndarray, drawn: np.ndarray, title: str, path: Path
) -> Path:
    """Training points, samples, and the exact density, side by side."""
    from ..data.toy import density

    figure, axes = _figure(3, title)
    for panel, (label, cloud) in zip(axes, (("data", points), ("samples", drawn)), strict=False):
        panel.scatter(*cloud[:_SHOWN].T, s=1, color="#08519c", alpha=0.5, linewidths=0)
        panel.set_title(label)
    axis = np.linspace(-EXTENT, EXTENT, 300)
    place = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    values = density(name, place).reshape(300, 300)
    axes[2].imshow(values, origin="lower", extent=(-EXTENT, EXTENT) * 2, cmap="Blues")
    axes[2].set_title("exact density")
    return _save(figure, path)


def draw_scores(denoiser: Any, points: np.ndarray, title: str, path: Path) -> Path:
    """The learned score of x_t / alpha as arrows, over noisy data, at three noise levels.

    The score is (E[x_0 | x_t] - x_t / alpha) alpha^2 / sigma^2: it points at the data. Arrows are
    proportional to the step to E[x_0 | x_t].
    """
    schedule = denoiser.schedule
    figure, axes = _figure(len(RATIOS), title)
    axis = np.linspace(-EXTENT, EXTENT, _ARROWS)
    y = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2).astype(np.float32)
    shown = points[:_SHOWN]
    noise = random.normal(0, shown.shape)
    for panel, ratio in zip(axes, RATIOS, strict=True):
        t = schedule.time(float(-2.0 * np.log(ratio)))
        step = denoiser(schedule.alpha(t) * y, t) - y
        panel.scatter(*(shown + ratio * noise).T, s=1, color="#9ecae1", linewidths=0)
        panel.quiver(*y.T, *step.T, angles="xy", width=0.003)
        panel.set_title(f"score at sigma / alpha = {ratio:g}")
    return _save(figure, path)


def draw_paths(states: Sequence[np.ndarray], title: str, path: Path) -> Path:
    """The ways of some particles from noise to data, and where all of them end."""
    figure, axes = _figure(1, title)
    tracks = np.stack([state[:_PATHS] for state in states])
    axes[0].scatter(*states[-1][:_SHOWN].T, s=1, color="#9ecae1", linewidths=0)
    axes[0].plot(tracks[..., 0], tracks[..., 1], color="#08519c", linewidth=0.5, alpha=0.5)
    axes[0].scatter(*tracks[0].T, s=5, color="#a50f15", linewidths=0, label="after one step")
    axes[0].legend(frameon=False, loc="upper right")
    axes[0].set_title("particles from noise to data")
    return _save(figure, path)


def _figure(count: int, title: str) -> tuple[Any, Any]:
    from ..io.figure import new_figure

    figure = new_figure(4.2 * count, 4.6, dpi=110)
    axes = np.atleast_1d(figure.subplots(1, count))
    figure.suptitle(title)
    for panel in axes:
        panel.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), aspect="equal")
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path)
    return path
