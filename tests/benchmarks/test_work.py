"""The work that kernels are credited with, counted on small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.work import work
from pydiff.testing.case import Args
from pydiff.testing.cases import KERNEL_CASES


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


TOKENS = {"q": zeros(2, 3, 8), "k": zeros(2, 5, 8), "v": zeros(2, 5, 8), "heads": 2}
CONV = {"stride": 1, "padding": 1}
COUNTS: list[tuple[str, Args, list, float]] = [
    ("matmul", {"a": zeros(7, 4, 3), "b": zeros(4, 5)}, [], 2 * 7 * 3 * 4 * 5),
    ("conv2d", {"x": zeros(2, 6, 6, 3), "weight": zeros(3, 3, 3, 5)}, [zeros(2, 6, 6, 5)], 19440),
    ("conv2d_backward_data", {"weight": zeros(3, 3, 3, 5), "dy": zeros(2, 6, 6, 5)}, [], 19440),
    ("conv2d_backward_weight", {"weight_shape": (3, 3, 3, 5), "dy": zeros(2, 6, 6, 5)}, [], 19440),
    ("attention", TOKENS, [], 4 * 2 * 3 * 5 * 8),
    ("attention_backward", TOKENS, [], 10 * 2 * 3 * 5 * 8),
]


@pytest.mark.parametrize(("name", "args", "outputs", "flop"), COUNTS)
def test_products_count_operations(name, args, outputs, flop):
    if name == "matmul":
        args = args | {"transpose_a": True, "transpose_b": False}
    assert work(name, args, outputs or [zeros(1)]) == ("flop", flop)


def test_the_rest_counts_bytes():
    args = {"arrays": [zeros(3), zeros(5)], "axis": 0}
    assert work("concat", args, [zeros(8)]) == ("bytes", 64)


@pytest.mark.parametrize("case", [c for c in KERNEL_CASES if c.bench], ids=lambda case: case.name)
def test_every_benchmark_case_has_work(case):
    args = case.make(np.random.default_rng(0), np.float32)
    _, amount = work(case.name, args, case.run(args))
    assert amount >= 0
