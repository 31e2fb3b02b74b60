"""Interleaved timing: A B A B ..., every turn on a machine that has come to rest.

Threads that spin after a call (OpenMP's for milliseconds, Intel's for 200 ms, ONNX Runtime's,
pydiff's own pool) would take cores from the engine whose turn is next. Turning the spinning off
would slow an engine down by itself, so it stays as its makers ship it; instead, before each turn
`settle` sleeps until no thread of this process computes. That is the same for every engine, and
needs no list of who spins for how long.

A turn begins with untimed calls for 0.1 s, one at least, as in a sampler's loop: they wake the
engine's threads, fill the caches that the others used, and a virtual machine's host may run two
processors that were at rest on one core for that long: pydiff, and PyTorch too, then took twice as
long in a third of the turns of some runs. Then as many calls as fill 20 ms are timed.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

WARM = 0.1  # seconds of untimed calls
TURN = 0.02  # seconds that are timed at least
STEP = 0.002  # seconds between two looks at the processor time
LOOKS = 3  # in a row that must find rest: a spinning thread may lose its core for a moment
LIMIT = 2.0  # seconds after which an engine that still computes is reported

Run = Callable[[], Any]


def settle() -> bool:
    """Sleep until the threads of this process rest; False if they still compute after LIMIT."""
    start = time.perf_counter()
    quiet = 0
    while quiet < LOOKS and time.perf_counter() - start < LIMIT:
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(STEP)
        busy = time.process_time() - cpu > 0.2 * (time.perf_counter() - wall)
        quiet = 0 if busy else quiet + 1
    return quiet == LOOKS


def seconds(run: Run, calls: int = 1) -> float:
    """Wall time of one call, averaged over `calls`."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def interleave(runs: Mapping[Any, Run], rounds: int) -> dict[Any, list[float]]:
    """Milliseconds per call of each run, one figure a round. Each must have been called before."""
    cores = os.sched_getaffinity(0)
    settle()
    calls = {}
    for name, run in runs.items():
        calls[name] = max(1, math.ceil(TURN / seconds(run)))
        _rest(name, cores)
    times: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(1e3 * _turn(run, calls[name]))
            _rest(name, cores)
    return times


def _rest(name: Any, cores: set[int]) -> None:
    os.sched_setaffinity(0, cores)  # some engines pin the thread that calls them
    if not settle():
        print(f"benchmarks: threads of {name} compute on after a call", file=sys.stderr)


def _turn(run: Run, calls: int) -> float:
    start = time.perf_counter()
    run()
    while time.perf_counter() - start < WARM:
        run()
    return seconds(run, calls)


def medians(times: Mapping[Any, list[float]]) -> dict[Any, float]:
    """The median of every list."""
    return {name: statistics.median(values) for name, values in times.items()}
