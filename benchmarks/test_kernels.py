"""Every kernel on the shapes of the case table: `pytest benchmarks/test_kernels.py -k conv2d`."""

from __future__ import annotations

import numpy as np
import pytest

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
def test_kernel(benchmark, case, template):
    args = case.make(np.random.default_rng(0), np.float32, template)
    call = getattr(backend, case.name)
    benchmark.group = case.name
    benchmark.extra_info["bytes_of_inputs"] = sum(
        x.nbytes
        for value in args.values()
        for x in (value if isinstance(value, list) else [value])
        if isinstance(x, np.ndarray)
    )
    benchmark(lambda: call(**args))
