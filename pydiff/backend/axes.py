"""Reductions over several axes as reductions over runs of neighbouring ones."""

from __future__ import annotations

import math

Axes = tuple[int, ...]
Run = tuple[int, int]


def runs_of(axes: Axes) -> list[Run]:
    """Sorted axes as runs [first, end) of neighbours, the last run first."""
    runs: list[Run] = []
    for axis in axes:
        if runs and runs[-1][1] == axis:
            runs[-1] = (runs[-1][0], axis + 1)
        else:
            runs.append((axis, axis + 1))
    return runs[::-1]


def split(shape: Axes, run: Run) -> tuple[int, int, int]:
    """How many elements lie outside of the run, in it, and inside of it."""
    first, end = run
    return math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:])


def kept(shape: Axes, run: Run) -> Axes:
    """The shape after a reduction over the run, which is kept with size 1."""
    return shape[: run[0]] + (1,) * (run[1] - run[0]) + shape[run[1] :]
