"""What this machine can do at most, measured beside every figure that is a share of it.

    python -m benchmarks.machine

The FMA peak is that of independent fused multiply-adds in registers, the bandwidth that of
y = a + b over arrays that no cache holds (`pydiff.backend.machine`), with the instruction set and
the threads that pydiff uses: no figure of another day or machine is worth a comparison.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pydiff

from .timing import settle


def isa() -> str:
    """The instruction set of pydiff's kernels, such as v4; "reference" where there are none."""
    try:
        from pydiff import _native
    except ImportError:
        return "reference"
    return _native.isa()


def fma_peak() -> float:
    """GFLOP/s in float32 of pydiff's threads."""
    from pydiff.backend import machine

    return 1e-9 * machine.fma_peak()


def bandwidth() -> float:
    """GB/s of memory with pydiff's threads."""
    from pydiff.backend import machine

    return 1e-9 * machine.bandwidth()


def describe(peaks: bool = True) -> dict[str, Any]:
    """What a reader of the figures must know of the machine, as JSON."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "threads": pydiff.num_threads(),
        "isa": isa(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "pydiff": pydiff.__version__,
    }
    if peaks:
        settle()  # NumPy's threads spin for a moment after they start
    return facts | ({"fma_gflops": fma_peak(), "memory_gbytes": bandwidth()} if peaks else {})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    for name, value in describe().items():
        print(f"{name:14} {value:.1f}" if isinstance(value, float) else f"{name:14} {value}")
