"""Reductions and softmax: axes, keepdims, empty arrays, ties."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import Tensor
from pydiff.errors import ShapeError

AXES = [None, 0, -1, (0, 2), (-2,), [1, 2], ()]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_equal_numpy(name, axis, keepdims, rng) -> None:
    x = rng.standard_normal((2, 3, 4))
    expected = getattr(np, name)(x, axis=tuple(axis) if isinstance(axis, list) else axis,
                                 keepdims=keepdims)  # fmt: skip
    y = getattr(ops, name)(x, axis, keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_along_any_axis(axis, rng) -> None:
    x = 50 * rng.standard_normal((3, 4, 5))
    e = np.exp(x - x.max(axis, keepdims=True))
    np.testing.assert_allclose(
        ops.softmax(x, axis).data, e / e.sum(axis, keepdims=True), rtol=1e-12, atol=1e-300
    )


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_array_equal(ops.softmax([1e30, 1e30, -1e30]).data, [0.5, 0.5, 0.0])


def test_ties_share_the_gradient_of_the_maximum() -> None:
    x = Tensor(np.array([1.0, 3.0, 3.0]), requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0.0, 0.5, 0.5])


def test_empty_arrays() -> None:
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    ops.sum(x).backward()
    assert x.grad.shape == (0, 3)
    np.testing.assert_array_equal(ops.sum(np.zeros((0, 3)), 0).data, np.zeros(3))
    for op in (ops.mean, ops.max):
        with pytest.raises(ShapeError, match=r"\(0, 3\)"):
            op(np.zeros((0, 3)), 0)


@pytest.mark.parametrize("axis", [3, -4, (0, 0), "a", 1.5])
@pytest.mark.parametrize("op", [ops.sum, ops.mean, ops.max])
def test_wrong_axes(op, axis) -> None:
    with pytest.raises(ShapeError, match="axis"):
        op(np.zeros((2, 2, 2)), axis)
