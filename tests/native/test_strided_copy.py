"""strided_copy takes any views: every layout against NumPy's own assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydiff import _native


@st.composite
def views(draw: st.DrawFn) -> np.ndarray:
    """A view of some larger array, made by steps, flips, axes of zero stride and a permutation."""
    ndim = draw(st.integers(0, 5))
    shape = [draw(st.sampled_from([0, 1, 2, 3, 5, 17, 33])) for _ in range(ndim)]
    while np.prod(shape, dtype=int) > 20_000:
        shape[int(np.argmax(shape))] = 2
    slices = []
    for _ in range(ndim):
        start, step = draw(st.integers(0, 2)), draw(st.sampled_from([1, 1, 2, -1, -3]))
        slices.append((start, step))
    base_shape = [start + abs(step) * n for n, (start, step) in zip(shape, slices, strict=True)]
    order = draw(st.permutations(range(ndim)))
    base = np.arange(np.prod(base_shape, dtype=int), dtype=np.float32)
    base = base.reshape([base_shape[i] for i in order]).transpose(np.argsort(order))
    parts = []
    for n, (start, step) in zip(shape, slices, strict=True):
        stop = start + abs(step) * n
        parts.append(slice(start, stop, step) if step > 0 else slice(None, None, step))
    view = base[tuple(parts)]
    return view[(*(slice(0, n) for n in shape), ...)]  # the dots keep a 0-d view an array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(x=views(), data=st.data())
def test_any_view_to_any_view(dtype: type, x: np.ndarray, data: st.DataObject):
    source = x.view(dtype) if dtype is np.float32 else x.astype(dtype, order="K")
    order = data.draw(st.permutations(range(source.ndim)))
    target = np.full([source.shape[i] + 2 for i in order], -1, dtype).transpose(np.argsort(order))
    inside = (*(slice(1, 1 + n) for n in source.shape), ...)
    expected = target.copy()
    expected[inside] = source
    _native.strided_copy(source, target[inside])
    assert np.array_equal(target, expected)


def test_broadcast_source(rng: np.random.Generator):
    row = rng.normal(size=(1, 300)).astype(np.float32)
    y = np.empty((200, 300), np.float32)
    _native.strided_copy(np.broadcast_to(row, y.shape), y)
    assert np.array_equal(y, np.broadcast_to(row, y.shape))


def test_large_transposes(rng: np.random.Generator):
    x = rng.normal(size=(130, 70, 50))
    for order in ((2, 1, 0), (1, 2, 0), (0, 2, 1), (2, 0, 1)):
        y = np.empty([x.shape[i] for i in order])
        _native.strided_copy(x.transpose(order), y)
        assert np.array_equal(y, x.transpose(order))


def test_strides_that_split_elements_are_refused():
    records = np.zeros(4, np.dtype([("a", "u1"), ("x", "<f4"), ("b", "u1"), ("c", "u2")]))
    with pytest.raises(ValueError, match=r"aligned|split"):
        _native.strided_copy(records["x"], np.empty(4, np.float32))
    with pytest.raises(ValueError, match="writable"):
        _native.strided_copy(np.zeros(4), np.broadcast_to(np.zeros(1), 4))
