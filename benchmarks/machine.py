"""What this machine can do at most, measured beside every figure that is a share of it.

    python -m benchmarks.machine

The FMA peak is that of independent fused multiply-adds in registers, with the instruction set that
pydiff uses: v4 is AVX-512, v3 is AVX2. The bandwidth is that of y += a x over 256 MB arrays,
counting two reads and one write. Both come from `peak.cpp`, built at run time with the system's
compiler: no figure of another day or machine is worth a comparison. Without a compiler, or with
another instruction set, they are None, and stderr says so.
"""

from __future__ import annotations

import atexit
import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pydiff

SOURCE = Path(__file__).with_name("peak.cpp")
VECTORS = {"v3": "avx2", "v4": "avx512"}


def isa() -> str:
    """The instruction set of pydiff's kernels, such as v4; "reference" where there are none."""
    try:
        from pydiff import _native
    except ImportError:
        return "reference"
    return _native.isa()


def fma_peak(threads: int | None = None, instructions: str | None = None) -> float | None:
    """GFLOP/s in float32 of `threads` threads (default: pydiff's); None if it cannot be measured.

    instructions: v3 or v4, by default pydiff's own.
    """
    instructions = instructions or isa()
    if instructions not in VECTORS:
        return _unknown(f"no FMA peak is measured for the instruction set {instructions}")
    return _run("fma", VECTORS[instructions], str(threads or pydiff.num_threads()))


def bandwidth(threads: int | None = None) -> float | None:
    """GB/s of memory with `threads` threads (default: pydiff's); None if it cannot be measured."""
    return _run("axpy", str(threads or pydiff.num_threads()))


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
    return facts | ({"fma_gflops": fma_peak(), "axpy_gbytes": bandwidth()} if peaks else {})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _run(*arguments: str) -> float | None:
    program = _program()
    if program is None:
        return None
    result = subprocess.run([program, *arguments], capture_output=True, text=True)
    if result.returncode:
        return _unknown(f"peak {' '.join(arguments)}: this processor cannot run it")
    return float(result.stdout)


@functools.cache
def _program() -> str | None:
    """The built program, kept until this process ends."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        return _unknown("no C++ compiler is installed, so the machine's peaks are unknown")
    folder = tempfile.mkdtemp(prefix="pydiff-peak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = os.path.join(folder, "peak")
    command = [compiler, "-std=c++17", "-O3", "-pthread", str(SOURCE), "-o", program]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        return _unknown(f"{compiler} cannot build {SOURCE.name}, so the peaks are unknown")
    return program


def _unknown(why: str) -> None:
    print(f"benchmarks: {why}", file=sys.stderr)


if __name__ == "__main__":
    for name, value in describe().items():
        print(f"{name:14} {value:.1f}" if isinstance(value, float) else f"{name:14} {value}")
