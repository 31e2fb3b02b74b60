"""Every kernel on the shapes of the case table: `pytest benchmarks/test_kernels.py -k conv2d`.

extra_info has GFLOP/s (products; operations of the direct algorithm) or GB/s (the rest), and the
share of this machine's peak of the same run. What fits in a cache can exceed the memory's peak.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.work import work
from pydiff import backend
from pydiff.testing.case import Args, Case
from pydiff.testing.cases import KERNEL_CASES

BENCHES = [(case, template) for case in KERNEL_CASES for template in case.bench]


def label(case: Case, template: Args) -> str:
    """Such as conv2d[x 1x32x32x128, weight 3x3x128x128, bias 128, stride 1, padding 1]."""
    parts = []
    for name, value in template.items():
        if hasattr(value, "shape"):
            parts.append(f"{name} {'x'.join(map(str, value.shape))}")
        elif isinstance(value, int | tuple):
            parts.append(f"{name} {value}")
        elif isinstance(value, list):
            parts.append(f"{len(value)} {name}")
    return f"{case.name}[{', '.join(parts)}]"


@pytest.mark.parametrize(
    ("case", "template"), BENCHES, ids=[label(case, template) for case, template in BENCHES]
)
def test_kernel(benchmark, report_rate, peaks, case, template):
    args = case.make(np.random.default_rng(0), np.float32, template)
    kind, amount = work(case.name, args, case.run(args))
    call = getattr(backend, case.name)
    benchmark.group = case.name
    benchmark(lambda: call(**args))
    rate = report_rate("GFLOP/s" if kind == "flop" else "GB/s", 1e-9 * amount)
    if rate and peaks[kind]:
        benchmark.extra_info["share_of_peak"] = round(rate / peaks[kind], 3)
