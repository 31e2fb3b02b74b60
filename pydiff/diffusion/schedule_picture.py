"""A noise schedule as a picture: alpha, sigma and log-SNR over time."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ..io.figure import new_figure
from .noise_schedule import NOISY_ENOUGH, NoiseSchedule


def save_picture(
    schedules: NoiseSchedule | Mapping[str, NoiseSchedule], path: str | os.PathLike[str]
) -> None:
    """Draw a schedule, or several by name, over the share of their time, into an image file.

    Left alpha (whole lines) and sigma (dashed), right the log-SNR; the legend tells each terminal
    SNR, and where it is too large to be taken for noise. Raises ImportError without matplotlib.
    """
    if isinstance(schedules, NoiseSchedule):
        schedules = {type(schedules).__name__: schedules}
    figure = new_figure(11, 4)
    levels, ratios = figure.subplots(1, 2)
    for i, (name, schedule) in enumerate(schedules.items()):
        share = np.linspace(0.0, 1.0, 400)
        times = schedule.t_first + share * (schedule.t_last - schedule.t_first)
        times[-1] = schedule.t_last
        color = f"C{i}"
        levels.plot(share, schedule.alpha(times), color=color, label=_label(name, schedule))
        levels.plot(share, schedule.sigma(times), color=color, linestyle="--")
        ratios.plot(share, schedule.log_snr(times).clip(-30.0, 30.0), color=color)
    exploding = any(schedule.sigma(schedule.t_last) > 2.0 for schedule in schedules.values())
    levels.set(xlabel="time, from data to noise", ylabel="alpha (line), sigma (dashed)",
               yscale="symlog" if exploding else "linear")  # fmt: skip
    ratios.set(xlabel="time, from data to noise", ylabel="log-SNR")
    ratios.axhline(np.log(NOISY_ENOUGH), color="0.6", linewidth=1, linestyle=":")
    ratios.annotate("noise below", (0.01, np.log(NOISY_ENOUGH)), color="0.4", va="top")
    for axes in (levels, ratios):
        axes.grid(True, alpha=0.25)
    figure.legend(loc="outside lower center", ncols=min(4, len(schedules)), frameon=False)
    figure.savefig(path)


def _label(name: str, schedule: NoiseSchedule) -> str:
    snr = schedule.terminal_snr
    verdict = "" if snr <= NOISY_ENOUGH else " (not noise)"
    return f"{name}: terminal SNR {snr:.2g}{verdict}"
