"""`pydiff demo geometric`: why beta_t = b (1 - b)^(T - 1 - t) does not reach noise."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..diffusion import schedules
from ..errors import ConfigError
from .report import Report

B = (0.001, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
LENGTHS = (10, 30, 100, 300, 1000)
DRAWN = 2000


class Cell(NamedTuple):
    """One schedule: its terminal SNR, and distances of samples from exact ones, in units of those
    between two exact sets: started from N(0, I), and from the exact law of x_T."""

    b: float
    length: int
    terminal_snr: float
    from_noise: float
    from_prior: float


def run(args: argparse.Namespace, report: Report) -> int:
    """Sweep b and T with an exact denoiser and every step of the chain.

    DDIM, because it is deterministic: noise on the way would hide where the samples started.
    """
    start, out = time.perf_counter(), Path(args.out)
    lengths = LENGTHS if args.steps is None else tuple(n for n in LENGTHS if n <= args.steps)
    if not lengths:
        raise ConfigError(f"--steps {args.steps}: the shortest chain has {LENGTHS[0]}")
    cells = sweep(lengths, args.seed)
    report.line(
        f"images of two grey pixels, exact denoiser, DDIM, {DRAWN:,} samples; distance 1 is perfect"
    )
    report.line("    b      T   terminal SNR   from N(0, I)   from q(x_T)")
    for cell in cells:
        report.line(
            f"{cell.b:6.3f} {cell.length:5}   {cell.terminal_snr:12.2g} {cell.from_noise:14.1f} "
            f"{cell.from_prior:13.1f}"
        )
    out.mkdir(parents=True, exist_ok=True)
    files = _draw(cells, lengths, out, report)
    for path in files:
        report.line(f"wrote {path}")
    seconds = time.perf_counter() - start
    report.result({"cells": [c._asdict() for c in cells], "seconds": seconds, "files": files})
    return 0


def sweep(lengths: tuple[int, ...], seed: int = 0) -> list[Cell]:
    """All b for all T."""
    from .. import measures

    data = _two_pixels()
    exact = data.sample(DRAWN, seed + 1)
    unit = measures.sliced_wasserstein(data.sample(DRAWN, seed + 2), exact)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the end is not noise is what this shows
        return [_cell(data, b, n, exact, unit, seed) for n in lengths for b in B]


def _cell(data: Any, b: float, length: int, exact: np.ndarray, unit: float, seed: int) -> Cell:
    from .. import measures, random
    from ..samplers import sample

    schedule = schedules.geometric(length, b)
    noise = random.normal(seed, exact.shape)
    last = schedule.t_last
    alpha, sigma = schedule.alpha(last), schedule.sigma(last)
    starts = noise, (alpha * data.sample(DRAWN, seed + 3) + sigma * noise).astype(np.float32)
    grid = [*range(last, -1, -1), schedule.t_clean]
    distances = []
    for x in starts:
        drawn = sample(data.denoiser(schedule), x_init=x, sampler="ddim", grid=grid, seed=seed)
        distances.append(measures.sliced_wasserstein(drawn, exact) / unit)
    return Cell(b, length, schedule.terminal_snr, *distances)


def _two_pixels() -> Any:
    """Two grey pixels, nearly equal: a line of small Gaussians from black to white."""
    from ..testing.oracles import GaussianMixture

    grey = np.linspace(-0.95, 0.95, 12)
    return GaussianMixture(np.stack((grey, grey), axis=1), np.full(12, 0.1**2))


def _draw(cells: list[Cell], lengths: tuple[int, ...], out: Path, report: Report) -> list[Path]:
    from ..io.figure import plotting_available

    if not plotting_available():
        report.note("no picture: matplotlib is missing (pip install 'pydiff[plot]')")
        return []
    draw_sweep(cells, lengths, out / "geometric.png")
    return [out / "geometric.png"]


def draw_sweep(cells: list[Cell], lengths: tuple[int, ...], path: Path) -> None:
    """Three tables in colour over b and T."""
    from ..io.figure import new_figure

    figure = new_figure(17, 4.2, dpi=100)
    panels = (
        ("terminal SNR: 0 is noise", [cell.terminal_snr for cell in cells], "{:.2g}"),
        ("distance of samples started from N(0, I)", [c.from_noise for c in cells], "{:.1f}"),
        ("the same, started from the law of x_T", [c.from_prior for c in cells], "{:.1f}"),
    )
    for axes, (title, values, text) in zip(figure.subplots(1, 3), panels, strict=True):
        table = np.array(values).reshape(len(lengths), len(B))
        axes.imshow(np.log10(np.maximum(table, 1e-3)), cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            axes.text(column, row, text.format(value), ha="center", va="center", fontsize=7,
                      color="white")  # fmt: skip
        axes.set_xticks(range(len(B)), [f"{b:g}" for b in B])
        axes.set_yticks(range(len(lengths)), [str(n) for n in lengths])
        axes.set(title=title, xlabel="b", ylabel="T")
    figure.suptitle("beta_t = b (1 - b)^(T - 1 - t) sums to at most 1, so the chain keeps signal; "
                    "distances in units of two exact sets")  # fmt: skip
    figure.savefig(path)
