"""Tensor: what it takes, how it converts, what its operators do, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pydiff
from pydiff import ops
from pydiff.autograd import Tensor
from pydiff.errors import AutogradError, DtypeError, ShapeError


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, np.float32),
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([], np.float32),
        (True, np.float32),
        (np.arange(3), np.float32),
        (np.arange(3, dtype=np.uint8), np.float32),
        (np.array([True, False]), np.float32),
        (np.ones(3), np.float64),
        (np.float64(2), np.float64),
        (np.ones(3, np.float32), np.float32),
        (np.ones(3, ">f4"), np.float32),
    ],
)
def test_dtypes_taken(value, dtype) -> None:
    tensor = Tensor(value)
    assert tensor.dtype == dtype and tensor.dtype.isnative
    np.testing.assert_array_equal(tensor.data, value)


@pytest.mark.parametrize(
    "value", [np.ones(2, np.float16), np.ones(2, complex), np.array(["a"]), None, np.longdouble(1)]
)
def test_dtypes_refused(value) -> None:
    with pytest.raises(DtypeError, match="float32, float64"):
        Tensor(value)


def test_data_is_shared_with_the_array_given() -> None:
    array = np.ones(3)
    assert Tensor(array).data is array
    assert Tensor(array).detach().data is array


def test_scalars_take_the_dtype_of_the_tensor() -> None:
    for dtype in (np.float32, np.float64):
        x = Tensor(np.ones(2, dtype))
        scalars = (2, 2.5, np.float64(2), np.float32(2), np.array(2.0), np.arange(2), True)
        for other in scalars:
            assert (x * other).dtype == dtype
            assert (other - x).dtype == dtype


def test_mixed_dtypes_are_an_error_naming_the_op() -> None:
    single, double = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    with pytest.raises(DtypeError, match=r"multiply: the dtypes differ .a float32, b float64"):
        single * double
    with pytest.raises(DtypeError, match="matmul"):
        ops.matmul(np.ones((2, 2), np.float32), np.ones((2, 2)))
    with pytest.raises(DtypeError, match="add"):
        single + np.ones(2)


def test_operators_equal_numpy(rng) -> None:
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    ta, tb = Tensor(a), Tensor(b)
    pairs = [
        (ta + tb, a + b), (ta - tb, a - b), (ta * tb, a * b), (ta / tb, a / b), (-ta, -a),
        (ta**3, a**3), (ta**-2, a**-2.0), (abs(2) - ta, 2 - a), (1 / tb, 1 / b), (a + tb, a + b),
        (b * ta, a * b), (ta @ tb.T, a @ b.T), (a @ tb.T, a @ b.T), (ta.sum(), a.sum()),
        (ta.mean(0), a.mean(0)), (ta.max(1, keepdims=True), a.max(1, keepdims=True)),
        (ta.reshape(4, 3), a.reshape(4, 3)), (ta.reshape((2, -1)), a.reshape(2, -1)),
        (ta.transpose(1, 0), a.T), (ta[1], a[1]), (ta[:, None, ::2], a[:, None, ::2]),
    ]  # fmt: skip
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-14)
    assert [row.data.tolist() for row in ta] == a.tolist()


def test_in_place_operators_rebind() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    t = x
    t += 1
    t *= x
    assert t is not x
    np.testing.assert_array_equal(x.data, np.ones(2))
    t.sum().backward()
    np.testing.assert_array_equal(x.grad, [3.0, 3.0])


def test_item_assignment_is_refused() -> None:
    x = Tensor(np.ones(2))
    with pytest.raises(AutogradError, match="item assignment is not recorded"):
        x[0] = 1


def test_views_share_memory() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3))
    for view in (x.reshape(3, 2), x.T, x[1:], ops.broadcast_to(x, (4, 2, 3))):
        assert np.shares_memory(view.data, x.data)


def test_requires_grad_is_set_on_leaves_only() -> None:
    x = Tensor(np.ones(2))
    x.requires_grad = True
    with pytest.raises(AutogradError, match="result of 'multiply'"):
        (x * 2).requires_grad = False


def test_assigning_data() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    x.sum().backward()
    x.data = np.zeros(2)
    assert x.version == 1 and x.grad is not None
    x.data = np.zeros(3, np.float32)  # another shape or dtype: the old gradient means nothing
    assert x.grad is None and x.dtype == np.float32
    with pytest.raises(AutogradError, match="result of an op"):
        (x * 2).data = np.zeros(5)
    with pytest.raises(DtypeError):
        x.data = np.ones(2, np.float16)


def test_numpy_functions_do_not_lose_gradients_silently() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(AutogradError, match="gradient would be lost"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.exp(x)
    np.testing.assert_array_equal(np.asarray(x.detach()), np.ones(2))
    assert np.asarray(Tensor(np.ones(2)), np.float32).dtype == np.float32


def test_python_conversions() -> None:
    assert Tensor(2.0).item() == float(Tensor([[2.0]])) == 2.0
    assert bool(Tensor(0.0)) is False
    assert len(Tensor(np.zeros((3, 2)))) == 3
    with pytest.raises(ValueError):
        Tensor(np.zeros(2)).item()
    x = Tensor(np.ones(2), requires_grad=True)
    assert "requires_grad=True" in repr(x) and "op='multiply'" in repr(x * 2)


def test_copy_and_pickle_of_leaves() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    x.grad = np.zeros(2)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad and not np.shares_memory(twin.data, x.data)
        np.testing.assert_array_equal(twin.grad, x.grad)
    with pytest.raises(AutogradError, match="detach"):
        copy.deepcopy(x * 2)


def test_subclasses_keep_their_attributes() -> None:
    class Named(Tensor):
        def __init__(self, data, name):
            super().__init__(data, requires_grad=True)
            self.name = name

    twin = copy.deepcopy(Named(np.ones(2), "w"))
    assert type(twin) is Named and twin.name == "w"
    assert type(twin * 2) is Tensor


def test_shape_errors_of_methods() -> None:
    x = Tensor(np.ones((2, 3)))
    for call, message in [
        (lambda: x.reshape(4), r"reshape: x has shape \(2, 3\)"),
        (lambda: x.transpose(0, 0), "transpose|twice"),
        (lambda: x.sum(2), "sum: axis 2"),
        (lambda: Tensor(np.ones((0, 2))).mean(), r"mean: x has shape \(0, 2\)"),
        (lambda: x @ x, "matmul"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()


def test_public_names() -> None:
    assert pydiff.Tensor is Tensor
    with pydiff.no_grad():
        assert not (Tensor(1.0, requires_grad=True) * 2).requires_grad
