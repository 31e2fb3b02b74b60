"""Each pass does what it says, only where it may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pydiff
from pydiff import ops
from pydiff.plan.graph import Buffer, View, moved

RNG = np.random.RandomState(1)
X = RNG.standard_normal((2, 6, 4, 8)).astype(np.float32)
T = RNG.standard_normal((2, 8)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 8, 8)).astype(np.float32)
MATRIX = RNG.standard_normal((8, 8)).astype(np.float32)
BIAS = RNG.standard_normal(8).astype(np.float32)


def calls(model, x=X, t=T):
    """What remains of a function: (op, what was taken in); its results are checked."""
    plan = pydiff.compile(model, x, t)
    np.testing.assert_allclose(plan(x, t), model(x, t).data, rtol=2e-5, atol=2e-5)
    return [(i.op, i.fused) for i in plan.instructions]


def conv(x):
    return ops.conv2d(x, KERNEL, BIAS, padding=1)


def linear(x):
    return ops.linear(x, MATRIX, BIAS)


def per_image(t):
    return ops.reshape(t, (2, 1, 1, 8))


def test_a_vector_per_image_a_residual_and_a_scale_go_into_the_convolution():
    def model(x, t):
        return (ops.as_tensor("", x) + (conv(x) + per_image(t))) * 0.5

    assert calls(model) == [("conv2d", ("add", "add", "multiply"))]


def test_the_later_of_two_convolutions_takes_the_earlier_ones_result():
    assert calls(lambda x, t: conv(x) + conv(ops.tanh(x))) == [
        ("conv2d", ()), ("tanh", ()), ("conv2d", ("add",)),
    ]  # fmt: skip


def test_a_linear_layer_takes_in_silu_residual_and_scale():
    assert calls(lambda x, t: ops.silu(linear(x))) == [("matmul", ("silu",))]
    assert calls(lambda x, t: (x + linear(x)) * 2) == [("matmul", ("add", "multiply"))]
    assert calls(lambda x, t: ops.silu(linear(x)) + x)[0] == ("matmul", ("silu",))


def test_nothing_is_taken_in_where_the_result_is_read_twice():
    def model(x, t):
        y = conv(x)
        return (y + per_image(t)) * y

    assert [op for op, _ in calls(model)] == ["conv2d", "add", "multiply"]


def test_order_of_operations_is_kept():
    """scale (x + residual) is no x scale + residual."""
    assert calls(lambda x, t: conv(x) * 3 + x) == [("conv2d", ("multiply",)), ("add", ())]


def test_linear_layers_of_one_input_become_one_product():
    def model(x, t):
        tokens = ops.reshape(x, (2, 24, 8))
        return ops.attention(linear(tokens), linear(tokens), linear(tokens), heads=2)

    assert calls(model) == [("matmul", ("3 in one",)), ("attention", ())]


def test_linear_layers_stay_apart_where_a_reader_needs_whole_rows():
    def model(x, t):
        return ops.exp(linear(x)) * linear(x)

    assert [op for op, _ in calls(model)] == ["matmul", "exp", "matmul", "multiply"]


def test_who_makes_a_part_for_a_concatenation_alone_writes_it_there():
    def model(x, t):
        both = ops.concat([conv(x), linear(x), ops.group_norm(x, 4)], -1)
        return ops.linear(both, np.vstack([MATRIX] * 3))

    assert [op for op, _ in calls(model)] == ["conv2d", "matmul", "group_norm", "matmul"]


def test_parts_that_others_read_too_are_copied():
    def model(x, t):
        a = conv(x)
        both = ops.concat([a, conv(a)], -1)
        return ops.linear(both, np.vstack([MATRIX, MATRIX]))

    assert [op for op, _ in calls(model)].count("contiguous") == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concatenation_along_other_axes(axis):
    kinds = [op for op, _ in calls(lambda x, t: ops.exp(ops.concat([conv(x), conv(x)], axis)))]
    assert kinds[0] == "conv2d" and kinds[-1] == "exp"


def test_elementwise_results_lie_where_their_arguments_end():
    plan = pydiff.compile(lambda x, t: ops.exp(ops.tanh(ops.sigmoid(ops.silu(x)))), X, T)
    assert plan.arena_bytes == X.nbytes


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3)
)
def test_moved_views_show_the_same_elements(n, rows, width, before, after):
    """Rows of one array as columns of a wider one."""
    old = Buffer((n, rows, width), np.dtype(np.float32))
    wide = Buffer((n, rows, before + width + after), np.dtype(np.float32))
    memory = np.arange(n * rows * width, dtype=np.float32).reshape(old.shape)
    target = np.full(wide.shape, -1, np.float32)
    target[..., before : before + width] = memory
    for part in (memory, memory[:, ::2], memory[..., 1:], memory.transpose(1, 0, 2), memory[:1]):
        offset = part.ctypes.data - memory.ctypes.data if part.size else 0
        view = View(old, offset, part.shape, part.strides)
        pitch = wide.shape[-1] * 4
        after_move = moved(view, width * 4, wide, pitch, before * 4)
        assert after_move is not None
        if part.size:
            np.testing.assert_array_equal(after_move.of(target), part)


def test_views_across_rows_cannot_move():
    old, wide = Buffer((2, 6), np.dtype(np.float32)), Buffer((2, 8), np.dtype(np.float32))
    assert moved(View.whole(old, (12,)), 24, wide, 32, 0) is None
