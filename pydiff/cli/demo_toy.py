"""`pydiff demo toy` and `pydiff demo ncsn`: points in the plane, learned and drawn in seconds."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..diffusion import schedules
from ..diffusion.losses import Loss
from ..diffusion.noise_schedule import NoiseSchedule
from .report import Report

POINTS, DRAWN, STEPS = 20_000, 4000, 2000
SAMPLING_STEPS = 40
LEVELS, LANGEVIN_STEPS = 36, 20  # of ncsn


def run(args: argparse.Namespace, report: Report) -> int:
    """Train on a toy set with any process, sample with any sampler."""
    from ..testing.sampler_problem import grid_to_data

    schedule = getattr(schedules, args.sde)()
    times = grid_to_data(schedule, SAMPLING_STEPS)
    title = f"{args.data}, {args.sde}, {args.sampler}"
    return _demonstrate(args, report, schedule, None, (args.sampler, times), title)


def run_ncsn(args: argparse.Namespace, report: Report) -> int:
    """Train at geometric noise levels, sample by annealed Langevin dynamics over the same ones.

    Song & Ermon 2019 (arXiv 1907.05600), Algorithm 1, with the largest level as wide as the data
    (Song & Ermon 2020, arXiv 2006.09011, technique 1).
    """
    from ..samplers import AnnealedLangevin
    from ..training.points import LevelTimes

    schedule = schedules.ve(sigma_min=0.03, sigma_max=12.0)
    levels = np.linspace(schedule.t_last, 0.0, LEVELS)  # even in log sigma
    loss = Loss("sample", weight="ncsn", times=LevelTimes(levels=tuple(levels)))
    sampler = AnnealedLangevin(0.2 * 0.03**2, LANGEVIN_STEPS, consistent=False)
    times = np.append(levels, schedule.t_clean)
    title = f"{args.data}, {LEVELS} levels, annealed Langevin"
    return _demonstrate(args, report, schedule, loss, (sampler, times), title)


def _demonstrate(
    args: argparse.Namespace,
    report: Report,
    schedule: NoiseSchedule,
    loss: Loss | None,
    how: tuple[Any, np.ndarray],
    title: str,
) -> int:
    from .. import measures
    from ..data.toy import toy
    from ..samplers import sample
    from ..training.points import fit_points

    start, out, data = time.perf_counter(), Path(args.out), toy(args.data)
    steps = STEPS if args.steps is None else args.steps
    points = data.sample(POINTS, args.seed)
    report.line(f"{title}: training {steps} steps on {POINTS:,} points ...")
    fitted = fit_points(points, schedule, steps=steps, seed=args.seed, loss=loss)
    trained = time.perf_counter() - start
    frames = Frames(schedule)
    drawn = sample(
        fitted.denoiser, (DRAWN, 2), how[0], grid=how[1], seed=args.seed, callback=frames
    )
    exact = data.sample(2 * DRAWN, args.seed + 1)
    unit = measures.sliced_wasserstein(exact[:DRAWN], exact[DRAWN:])
    fit = measures.density_coverage(exact[:DRAWN], drawn)
    values = {
        "data": args.data,
        "steps": steps,
        "train_seconds": trained,
        "loss": float(fitted.losses[-100:].mean()),
        "wasserstein": measures.sliced_wasserstein(drawn, exact[:DRAWN]) / unit,
        **fit._asdict(),
    }
    report.line(f"trained in {trained:.1f} s")
    report.line(
        f"{DRAWN:,} samples: sliced Wasserstein distance {values['wasserstein']:.1f} times that of "
        f"two exact sets, density {fit.density:.2f}, coverage {fit.coverage:.2f}"
    )
    out.mkdir(parents=True, exist_ok=True)
    files = _draw(args.data, fitted, (points, drawn), frames.states(), title, out, report)
    for path in files:
        report.line(f"wrote {path}")
    report.result({**values, "seconds": time.perf_counter() - start, "files": files})
    return 0


class Frames:
    """Collects the states of a run, for pictures."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        self._seen: list[tuple[float, np.ndarray]] = []

    def __call__(self, step: int, t: float, x: np.ndarray, x0: np.ndarray) -> None:
        self._seen.append((t, x))

    def states(self) -> list[np.ndarray]:
        """Each over sqrt(alpha^2 + sigma^2) of its time, so that all fit one picture."""
        # a callback is told where its step began, which is where the one before it ended
        ends = [*(t for t, _ in self._seen[1:]), self._schedule.t_clean]
        sizes = [np.hypot(self._schedule.alpha(t), self._schedule.sigma(t)) for t in ends]
        return [x / size for (_, x), size in zip(self._seen, sizes, strict=True)]


def _draw(
    name: str,
    fitted: Any,
    sets: tuple[np.ndarray, np.ndarray],
    states: list[np.ndarray],
    title: str,
    out: Path,
    report: Report,
) -> list[Path]:
    from ..io import save_animation
    from ..io.figure import plotting_available
    from . import toy_pictures

    pictures = [toy_pictures.raster(state) for state in states]
    files = [save_animation(pictures, out / "particles.gif", fps=12, scale=2)]
    if not plotting_available():
        report.note("no pictures but the animation: matplotlib is missing "
                    "(pip install 'pydiff[plot]')")  # fmt: skip
        return files
    files.append(toy_pictures.draw_densities(name, *sets, title, out / "density.png"))
    files.append(toy_pictures.draw_scores(fitted.denoiser, sets[0], title, out / "score.png"))
    files.append(toy_pictures.draw_paths(states, title, out / "paths.png"))
    return files
