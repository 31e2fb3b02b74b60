"""Whatever the bindings are given: a right result, or a TypeError or ValueError."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydiff import _native

F32 = np.float32


def zeros(*shape: int, dtype: type = F32) -> np.ndarray:
    return np.zeros(shape, dtype)


def _read_only(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "x, y, error",
    [
        ([1.0, 2.0], zeros(2), TypeError),
        (None, zeros(2), TypeError),
        (zeros(2, dtype=np.float16), zeros(2, dtype=np.float16), TypeError),
        (zeros(2, dtype=np.int32), zeros(2, dtype=np.int32), TypeError),
        (zeros(2, dtype=object), zeros(2, dtype=object), TypeError),
        (zeros(2, dtype=">f4"), zeros(2, dtype=">f4"), TypeError),
        (zeros(2), zeros(2, dtype=np.float64), TypeError),
        (zeros(2), zeros(3), ValueError),
        (zeros(2, 3), zeros(3, 2), ValueError),
        (zeros(6), zeros(2, 3), ValueError),
        (zeros(4)[::2], zeros(2), ValueError),
        (zeros(2), zeros(4)[::2], ValueError),
        (zeros(2, 3).T, zeros(3, 2), ValueError),
        (zeros(2), _read_only(zeros(2)), ValueError),
        (np.frombuffer(bytes(13), np.uint8)[1:9].view(F32), zeros(2), ValueError),
    ],
)
def test_unary_refuses(x: object, y: np.ndarray, error: type[Exception]):
    with pytest.raises(error, match="exp: "):
        _native.exp(x, y)


def test_messages_name_the_argument_and_both_shapes():
    with pytest.raises(ValueError, match=r"exp: y has shape \(3,\), expected that of x, \(2,\)"):
        _native.exp(zeros(2), zeros(3))
    with pytest.raises(ValueError, match=r"b has shape \(3,\), which does not broadcast to \(2,\)"):
        _native.add(zeros(2), zeros(3), zeros(2))


UPDATED = ([zeros(3)], [zeros(3)], [zeros(3)])
NUMBERS = (0.1, 0.9, 0.9, 1e-8, 0.0, 1, 1.0, 0.0)

REFUSED = {
    "add": (zeros(2, 3), zeros(2), zeros(2, 3)),
    "add, output too small": (zeros(2, 3), zeros(2, 3), zeros(3)),
    "sum": (zeros(6), zeros(2), 2, 4, 1, 1.0),
    "sum, negative": (zeros(6), zeros(2), -2, -3, 1, 1.0),
    "sum, overflow": (zeros(0), zeros(0), 2**32, 2**32, 2**32, 1.0),
    "max, empty": (zeros(0), zeros(1), 1, 0, 1),
    "max_backward": (zeros(2), zeros(6), zeros(3), zeros(6), 2, 3, 1),
    "squared_error": (zeros(3), zeros(2), zeros(1), 1.0),
    "softmax": (np.array(1, F32), np.array(1, F32)),
    "upsample_nearest": (zeros(1, 2, 2, 3), zeros(1, 4, 4, 2), 2, 1.0),
    "upsample_nearest, zero": (zeros(1, 2, 2, 3), zeros(1, 0, 0, 3), 0, 1.0),
    "upsample_nearest, overflow": (zeros(1, 2, 2, 3), zeros(1, 4, 4, 3), 2**62, 1.0),
    "sum_pool": (zeros(1, 5, 4, 3), zeros(1, 2, 2, 3), 2, 1.0),
    "strided_copy": (zeros(2, 3), zeros(3, 2)),
    "gather": (zeros(4, 3), np.array([0, 4]), zeros(2, 3)),
    "gather, negative": (zeros(4, 3), np.array([-1]), zeros(1, 3)),
    "gather, short": (zeros(4, 3), np.array([0, 1]), zeros(1, 3)),
    "scatter_add": (zeros(2, 3), np.array([0, 4]), zeros(4, 3)),
    "scatter_add, into nothing": (zeros(1, 3), np.array([0]), zeros(0, 3)),
    "adamw": (*UPDATED, [zeros(2)], None, *NUMBERS),
    "adamw, average": (*UPDATED, [zeros(3)], [zeros(2)], *NUMBERS),
    "adamw, too few": (*UPDATED, [], None, *NUMBERS),
    "adamw, read-only": (*UPDATED, [_read_only(zeros(3))], None, *NUMBERS),
    "adamw, step": (*UPDATED, [zeros(3)], None, 0.1, 0.9, 0.9, 1e-8, 0.0, 0, 1.0, 0.0),
    "ema": ([zeros(3)], [zeros(4)], 0.9),
    "ema, too many": ([zeros(3)], [zeros(3), zeros(3)], 0.9),
    "sum_of_squares": ([zeros(4)[::2]],),
    "linear_combination": ([zeros(3), zeros(4)], np.ones((2, 1)), zeros(3)),
    "linear_combination, c": ([zeros(3), zeros(3)], np.ones((2, 2)), zeros(3)),
    "linear_combination, numbers": ([zeros(3), zeros(3)], [1.0], zeros(3)),
    "linear_combination, nothing": ([], np.ones((0, 1)), zeros(3)),
    "normal": (zeros(3), 0, 0, 0, 0),
    "normal, images": (zeros(2, 3), 0, 2**32 - 1, 0, 0),
    "matmul": (zeros(1, 2, 3), zeros(1, 4, 5), None, zeros(1, 2, 5), False, False),
    "matmul, transposed": (zeros(1, 2, 3), zeros(1, 3, 5), None, zeros(1, 2, 5), True, False),
    "matmul, batch": (zeros(2, 2, 3), zeros(3, 3, 5), None, zeros(3, 2, 5), False, False),
    "matmul, bias": (zeros(1, 2, 3), zeros(1, 3, 5), zeros(4), zeros(1, 2, 5), False, False),
    "conv2d": (zeros(1, 4, 4, 3), zeros(3, 3, 2, 5), None, zeros(1, 2, 2, 5), 1, 1, 0, 0),
    "conv2d, stride": (zeros(1, 4, 4, 3), zeros(3, 3, 3, 5), None, zeros(1, 2, 2, 5), 0, 1, 0, 0),
    "conv2d, pad": (zeros(1, 4, 4, 3), zeros(3, 3, 3, 5), None, zeros(1, 2, 2, 5), 1, 1, -1, 0),
    "conv2d, huge": (zeros(1, 4, 4, 3), zeros(3, 3, 3, 5), None, zeros(1, 2, 2, 5), 2**62, 1, 0, 0),
    "conv2d_backward_data": (zeros(2, 2, 2, 5), zeros(3, 3, 3, 5), zeros(1, 4, 4, 3), 1, 1, 0, 0),
    "conv2d_backward_weight": (zeros(1, 4, 4, 3), zeros(1, 2, 2, 5), zeros(3, 3, 5, 3), 1, 1, 0, 0),
    "group_norm": (zeros(2, 4), None, None, zeros(2, 4), zeros(2, 3), zeros(2, 3), 3, 1e-5, 0),
    "group_norm, groups": (zeros(2, 4), None, None, zeros(2, 4), zeros(2, 0), zeros(2, 0), 0, 0, 0),
    "group_norm, act": (zeros(2, 4), None, None, zeros(2, 4), zeros(2, 2), zeros(2, 2), 2, 0, 7),
    "layer_norm": (zeros(2, 4), zeros(4), zeros(3), zeros(2, 4), zeros(2), zeros(2), 1e-5),
    "attention": (*[zeros(1, 2, 4)] * 4, zeros(1, 3, 2), 3, 1.0),
    "attention, keys": (
        zeros(1, 2, 4),
        *[zeros(1, 0, 4)] * 2,
        zeros(1, 2, 4),
        zeros(1, 1, 2),
        1,
        1.0,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sizes_that_do_not_fit_are_refused(case: str):
    name = case.partition(",")[0]
    with pytest.raises(ValueError, match=f"{name}: "):
        getattr(_native, name)(*REFUSED[case])


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_outside_64_bits_are_refused(seed: int):
    with pytest.raises(TypeError):
        _native.normal(zeros(1, 4), seed, 0, 0, 0)


@pytest.mark.parametrize("index", [np.array([0], np.int32), np.array([0.0]), np.array([True])])
def test_gather_wants_int64(index: np.ndarray):
    with pytest.raises(TypeError, match="index must be a native-endian int64 array"):
        _native.gather(zeros(4, 3), index, zeros(1, 3))


def test_subclasses_and_unusual_but_right_arrays_work():
    x = np.arange(6, dtype=F32).reshape(1, 6)
    for array in (x, x.view(np.matrix), _read_only(x.copy()), np.require(x, requirements="A")):
        y = np.empty_like(x)
        _native.sqrt(array, y)
        assert np.array_equal(y, np.sqrt(x))
    long_long = np.zeros(2, np.longlong)  # an int64 that is not NumPy's `int64` type object
    y = zeros(2, 3)
    _native.gather(np.ones((4, 3), F32), long_long, y)
    assert y.all()


def test_more_axes_than_the_kernels_have():
    a, b = np.ones((2, 1) * 5, F32), np.ones((1, 2) * 5, F32)
    with pytest.raises(ValueError, match="more than 8 axes"):
        _native.add(a, b, np.empty((2,) * 10, F32))
    y = np.empty_like(a)
    _native.add(a, a, y)
    assert (y == 2).all()


shapes = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)
dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.float16, np.dtype(">f8")])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    x = np.zeros(draw(shapes), draw(dtypes))
    view = draw(st.sampled_from(["plain", "reversed", "transposed", "broadcast", "fixed"]))
    if view == "reversed" and x.ndim:
        return x[::-1]
    if view == "transposed":
        return x.T
    if view == "broadcast":
        return np.broadcast_to(x, (2, *x.shape))
    return _read_only(x) if view == "fixed" else x


numbers = st.one_of(st.integers(-2, 5), st.sampled_from([2**31, 2**62, -(2**63)]))
KERNELS = {
    name: getattr(_native, name).__doc__.splitlines()[0]
    for name in sorted(dir(_native))
    if name in REFUSED
}


@given(st.data())
def test_random_arguments_never_harm(data: st.DataObject):
    head = KERNELS[data.draw(st.sampled_from(sorted(KERNELS)))]
    name, _, parameters = head.partition(" -> ")[0].partition("(")
    arguments = []
    for parameter in parameters.rstrip(")").split(", "):
        kind = parameter.partition(": ")[2]
        strategy = arrays() if kind == "object" else st.booleans() if kind == "bool" else numbers
        arguments.append(data.draw(st.none() | strategy if kind == "object" else strategy))
    with contextlib.suppress(TypeError, ValueError):
        getattr(_native, name)(*arguments)
