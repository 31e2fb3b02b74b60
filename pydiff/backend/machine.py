"""What this machine can do at most, measured now: figures of another day are worth nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from .. import _native


def fma_peak() -> float:
    """Floating-point operations per second in float32, with the threads and instruction set in use:
    independent chains of fused multiply-adds in registers (without fma: of both operations)."""
    y = np.empty(_native.num_threads(), np.float32)
    flops = _native.fma_peak(y, 1 << 20)
    return flops / _least(lambda: _native.fma_peak(y, 1 << 20))


def bandwidth() -> float:
    """Bytes of memory per second, with the threads in use: y = a + b of arrays of 64 MB each, which
    no cache holds, counting two reads and one write."""
    a, b, y = (np.ones(1 << 24, np.float32) for _ in range(3))
    return 3 * y.nbytes / _least(lambda: _native.add(a, b, y))


def _least(call: Callable[[], object], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        time.sleep(0.01)  # the pool's threads fall asleep, and wake on processors of their own
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
