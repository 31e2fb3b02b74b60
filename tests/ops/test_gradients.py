"""Every gradient rule, expanded from the case table: finite differences and adjoints."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from pydiff import backend, ops
from pydiff.autograd import RULES, Tensor
from pydiff.testing import run_case
from pydiff.testing.cases import GRADIENT_CASES

BY_NAME = {case.name: case for case in GRADIENT_CASES}

# Linear in each argument with a gradient, up to a constant.
LINEAR = [
    "add", "subtract", "negative", "sum", "mean", "matmul", "linear", "conv2d", "upsample_nearest",
    "avg_pool2d", "concat", "pad", "gather", "reshape", "transpose", "broadcast_to", "getitem",
]  # fmt: skip

ELSEWHERE = {"astype"}  # leaves float64; tested in test_elementwise


@pytest.mark.parametrize("name", BY_NAME)
def test_against_finite_differences(name: str) -> None:
    """100 random shapes each, float64."""
    row = run_case(BY_NAME[name], 100)
    assert row.passed, row.report.message()


def test_every_rule_is_in_the_case_table() -> None:
    recorded = set()
    for case in GRADIENT_CASES:
        for i in range(10):
            fn, arrays = case.inputs(np.random.default_rng(i))
            y = fn(*(Tensor(x, requires_grad=True) for x in arrays))
            stack = [y.node] if y.node is not None else []
            while stack:
                node = stack.pop()
                recorded.add(node.op)
                stack += [parent for parent in node.parents if hasattr(parent, "op")]
    own = {op for op, rule in RULES.items() if rule.pull.__module__.startswith("pydiff.ops")}
    assert recorded | ELSEWHERE == own


@pytest.mark.parametrize("name", LINEAR)
def test_backward_is_the_adjoint(name: str) -> None:
    """<A x, v> = <x, A' v> to rounding, argument by argument."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(20):
        fn, arrays = BY_NAME[name].inputs(rng)
        for i, x in enumerate(arrays):
            others = [*arrays]
            others[i] = np.zeros_like(x)
            offset = fn(*others).data
            others[i] = leaf = Tensor(x, requires_grad=True)
            y = fn(*others)
            v = rng.standard_normal(y.shape)
            y.backward(v)
            size = np.linalg.norm(y.data - offset) * np.linalg.norm(v)
            assert np.sum((y.data - offset) * v) == pytest.approx(
                np.sum(x * leaf.grad), rel=1e-12, abs=1e-13 * size + 1e-13
            )


@pytest.mark.parametrize("name", BY_NAME)
def test_float32_gradients_follow_float64(name: str) -> None:
    """The same rules and kernels in float32."""
    case = BY_NAME[name]
    for seed in range(5):
        gradients = {}
        for dtype in (np.float32, np.float64):
            args = case.make(np.random.default_rng((7, seed)), dtype)
            leaves = {
                k: Tensor(args[k], requires_grad=True)
                for k in case.gradients
                if args.get(k) is not None
            }
            op = case.op or getattr(ops, name)
            y = op(**{**args, **leaves})
            assert y.dtype == dtype
            v = np.random.default_rng(seed).standard_normal(y.shape).astype(dtype)
            y.backward(v)
            gradients[dtype] = [leaf.grad for leaf in leaves.values()]
        for single, double in zip(gradients[np.float32], gradients[np.float64], strict=True):
            assert single.dtype == np.float32
            error = np.abs(single - double).max(initial=0)
            assert error <= 3e-4 * max(1, np.abs(double).max(initial=0))


def test_gradients_that_nobody_wants_are_not_computed(monkeypatch) -> None:
    """The input gradient of the first layer costs as much as the layer."""

    def refuse(*args):
        raise AssertionError("computed a gradient that is not needed")

    weight = Tensor(np.ones((3, 3, 2, 4)), requires_grad=True)
    y = ops.conv2d(np.ones((1, 5, 5, 2)), weight, padding=1)
    monkeypatch.setattr(backend, "conv2d_backward_data", refuse)
    y.sum().backward()
    assert weight.grad is not None

    x = Tensor(np.ones((1, 5, 5, 2)), requires_grad=True)
    y = ops.conv2d(x, weight.detach(), padding=1)
    assert y.node.saved[0] is None  # x is kept for the gradient of the weight only
