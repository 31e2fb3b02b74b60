"""Moving elements: values as NumPy's, and errors that name both shapes."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import Tensor
from pydiff.errors import DtypeError, ShapeError

X = np.arange(24.0).reshape(2, 3, 4)


def test_values_equal_numpy() -> None:
    table, index = X.reshape(6, 4), np.array([[5, 0], [2, 2]])
    pairs = [
        (ops.reshape(X, (4, -1)), X.reshape(4, 6)),
        (ops.reshape(X, 24), X.reshape(24)),
        (ops.transpose(X), X.T),
        (ops.transpose(X, (-1, 0, 1)), X.transpose(2, 0, 1)),
        (ops.broadcast_to(X[:, :1], (2, 3, 4)), np.broadcast_to(X[:, :1], (2, 3, 4))),
        (ops.concat([X, X[:, :1]], axis=1), np.concatenate([X, X[:, :1]], 1)),
        (ops.getitem(X, (0, slice(None, None, -2))), X[0, ::-2]),
        (ops.getitem(X, (Ellipsis, None, np.int64(2))), X[..., None, 2]),
        (ops.pad(X, [(0, 1), (2, 0), (0, 0)], 7), np.pad(X, [(0, 1), (2, 0), (0, 0)],
                                                        constant_values=7)),
        (ops.gather(table, index), table[index]),
    ]  # fmt: skip
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.data, theirs)


def test_transposed_and_sliced_tensors_flow_through_kernels() -> None:
    """Kernels take contiguous arrays: a strided view must not be read as if it were one."""
    x = Tensor(X.copy(), requires_grad=True)
    view = x.transpose(2, 0, 1)[1::2]
    y = ops.silu(view) * 3 + view
    s = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(y.data, (X * s * 3 + X).transpose(2, 0, 1)[1::2], rtol=1e-14)
    y.sum().backward()
    expected = np.zeros_like(X)
    expected[..., 1::2] = (3 * s * (1 + X * (1 - s)) + 1)[..., 1::2]
    np.testing.assert_allclose(x.grad, expected, rtol=1e-14)


def test_gather_adds_the_gradients_of_repeated_rows() -> None:
    table = Tensor(np.zeros((3, 2)), requires_grad=True)
    index = np.array([1, 1, 2])
    rows = ops.gather(table, index)
    index[:] = 0  # the op keeps its own copy
    rows.sum().backward()
    np.testing.assert_array_equal(table.grad, [[0, 0], [2, 2], [1, 1]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.reshape(X, (5, 5)), ShapeError, r"\(2, 3, 4\).*\(5, 5\)"),
        (lambda: ops.transpose(X, (0, 1)), ShapeError, r"\(0, 1\).*\(2, 3, 4\)"),
        (lambda: ops.broadcast_to(X, (2, 3, 5)), ShapeError, r"\(2, 3, 4\).*\(2, 3, 5\)"),
        (lambda: ops.concat([X, X[:1]], axis=1), ShapeError, r"\(2, 3, 4\), \(1, 3, 4\)"),
        (lambda: ops.concat([]), ShapeError, "no array"),
        (lambda: ops.concat([X, X.astype(np.float32)]), DtypeError, "concat"),
        (lambda: ops.getitem(X, [0, 1]), DtypeError, r"gather for integer arrays"),
        (lambda: ops.getitem(X, X > 3), DtypeError, r"getitem"),
        (lambda: ops.getitem(X, True), DtypeError, r"getitem"),
        (lambda: ops.getitem(X, 2), IndexError, r"getitem: x has shape \(2, 3, 4\)"),
        (lambda: ops.getitem(X, (0, 0, 0, 0)), IndexError, r"getitem: x has shape \(2, 3, 4\)"),
        (lambda: ops.pad(X, [(1, 1)]), ShapeError, "pad"),
        (lambda: ops.pad(X, [(-1, 0), (0, 0), (0, 0)]), ShapeError, "pad"),
        (lambda: ops.gather(X, np.array([2])), ShapeError, "0 to 1"),
        (lambda: ops.gather(X, np.array([-1])), ShapeError, "0 to 1"),
        (lambda: ops.gather(X, np.array([0.0])), DtypeError, "integers"),
    ],
)
def test_errors(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
