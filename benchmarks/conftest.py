"""What the pytest-benchmark files share: the machine's peaks, measured once in the same run."""

from __future__ import annotations

import pytest

from benchmarks import machine


@pytest.fixture(scope="session")
def peaks():
    """GFLOP/s of the FMA units and GB/s of the memory; None where it cannot be measured."""
    return {"flop": machine.fma_peak(), "bytes": machine.bandwidth()}


@pytest.fixture
def report_rate(benchmark):
    """(name, amount): a figure per second of the median call in extra_info; returns it."""

    def report(name: str, amount: float) -> float | None:
        if benchmark.stats is None:  # --benchmark-disable
            return None
        rate = amount / benchmark.stats.stats.median
        benchmark.extra_info[name] = float(f"{rate:.4g}")
        return rate

    return report
