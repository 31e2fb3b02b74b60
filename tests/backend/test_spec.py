"""The border: any legal array gives the right result, any other a clear error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydiff import backend
from pydiff.backend.spec import checks
from pydiff.errors import DtypeError, ShapeError
from pydiff.testing.cases import KERNEL_CASES

PURE = [case for case in KERNEL_CASES if not case.in_place]


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)[1:]
    view = raw.view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def strided(x):
    if not x.ndim:
        return x
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "strided": strided,
    "negative stride": lambda x: np.array(x[..., ::-1], copy=True)[..., ::-1] if x.ndim else x,
    "fortran": lambda x: np.array(x, order="F"),
    "read-only": read_only,
    "misaligned": misaligned,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}


def mapped(args, f):
    """`f` applied to every float array among the arguments."""
    if isinstance(args, dict):
        return {name: mapped(value, f) for name, value in args.items()}
    if isinstance(args, list):
        return [mapped(value, f) for value in args]
    return f(args) if isinstance(args, np.ndarray) and args.dtype.kind == "f" else args


WITH_ARRAYS = [case for case in KERNEL_CASES if case.name not in ("uniform", "normal")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", PURE, ids=lambda case: case.name)
def test_any_layout_gives_the_same_bits(case, layout, rng):
    for template in case.templates(rng, 3):
        args = case.make(rng, np.float32, template)
        for given_layout, expected in zip(
            case.run(mapped(args, LAYOUTS[layout])), case.run(args), strict=True
        ):
            assert given_layout.dtype == (np.float64 if case.wide else np.float32)
            assert given_layout.dtype.isnative
            assert given_layout.flags.c_contiguous
            np.testing.assert_array_equal(given_layout, expected)


@pytest.mark.parametrize("case", PURE, ids=lambda case: case.name)
def test_outputs_are_fresh_and_inputs_untouched(case, rng):
    args = case.make(rng, np.float64)
    before = mapped(args, np.copy)
    outputs = case.run(mapped(args, read_only))
    case.run(args)
    np.testing.assert_equal(args, before)
    inputs = [x for x in args.values() if isinstance(x, np.ndarray)]
    assert not any(np.shares_memory(x, y) for x in inputs for y in outputs)


@pytest.mark.parametrize("are_usual", [checks.are_usual, checks.portable_are_usual])
def test_usual_arrays_are_known(are_usual):
    x, y = np.ones((3, 4), np.float32), np.ones(4)
    assert are_usual() and are_usual(x) and are_usual(x, x[1], np.array(1, np.float32))
    assert are_usual(y, y, np.ones((0, 3))) and are_usual(read_only(y))
    unusual = [layout(x) for name, layout in LAYOUTS.items() if name != "read-only"]
    unusual += [x.astype("int32"), x.astype("float16"), np.ones((1,) * 9), np.float32(1), 1.0, None]
    for other in [*unusual, np.ma.masked_array(x), x.view(np.matrix), [1.0]]:
        assert not are_usual(other)
        assert not are_usual(x, other) and not are_usual(other, x)
    assert not are_usual(x, y)


@pytest.mark.parametrize("are_alike", [checks.are_alike, checks.portable_are_alike])
def test_arrays_of_one_shape_are_known(are_alike):
    x, y = np.ones((3, 4), np.float32), np.ones((3, 4))
    assert are_alike() and are_alike(x) and are_alike(x, x + 1, x) and are_alike(y, y)
    for other in (x.T, x[:2], x[None], x.ravel(), x[..., :1], np.float32(1), y, None):
        assert not are_alike(x, other) and not are_alike(x, x, other)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_accumulate_takes_any_layout_of_b(layout, rng):
    for dims in ((), (5,), (4, 1), (1, 4), (3, 2, 5), (0, 3), (70, 3, 129)):
        a, b = rng.normal(size=(2, *dims))
        expected = a + b
        a = np.array(a)
        backend.accumulate(a, LAYOUTS[layout](np.array(b)))
        np.testing.assert_array_equal(a, expected)


def test_accumulate_takes_slices_of_channels_and_broadcast_views(rng):
    wide = rng.normal(size=(2, 3, 4, 11))
    for part in (
        wide[..., 3:8], wide[..., :1], wide[:, ::2, ::-1], wide[..., ::2], wide.transpose(),
        np.broadcast_to(wide[0, 0, 0, 0], (2, 3)), np.broadcast_to(wide[:, :1], wide.shape),
    ):  # fmt: skip
        a = np.ones(part.shape)
        backend.accumulate(a, part)
        np.testing.assert_array_equal(a, 1 + part)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", "complex64", "object"])
@pytest.mark.parametrize("case", WITH_ARRAYS, ids=lambda case: case.name)
def test_other_dtypes_are_refused_by_name(case, dtype, rng):
    args = mapped(case.make(rng, np.float32), lambda x: x.astype(dtype))
    with pytest.raises(DtypeError, match=rf"^{case.name}: .* dtype {dtype}; allowed: float32"):
        case.run(args)


@pytest.mark.parametrize("case", WITH_ARRAYS, ids=lambda case: case.name)
def test_mixed_dtypes_are_refused(case, rng):
    args = case.make(rng, np.float32)
    names = [n for n, x in args.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    for name in names if len(names) > 1 else ():
        with pytest.raises(DtypeError, match=rf"^{case.name}: the dtypes differ"):
            case.run({**args, name: args[name].astype(np.float64)})


@pytest.mark.parametrize("case", WITH_ARRAYS, ids=lambda case: case.name)
def test_lists_and_masked_arrays_are_refused(case, rng):
    args = case.make(rng, np.float32)
    for wrong in (lambda x: x.tolist(), np.ma.array):
        with pytest.raises(DtypeError, match=rf"^{case.name}: "):
            case.run(mapped(args, wrong))


f32 = np.float32
x4 = np.zeros((2, 6, 5, 4), f32)
w4 = np.zeros((3, 3, 4, 8), f32)
row = np.zeros(4, f32)
tokens = np.zeros((2, 3, 6), f32)

WRONG = [
    (
        lambda: backend.add(np.zeros((2, 3), f32), np.zeros((2, 4), f32)),
        "add: a has shape",
    ),
    (lambda: backend.add(np.zeros((1,) * 9, f32), row), "add: a has 9 dimensions"),
    (lambda: backend.silu_backward(row, x4), r"silu_backward: .*dy \(4,\), x \(2, 6, 5, 4\)"),
    (lambda: backend.sum(x4, 4), "sum: axis 4"),
    (lambda: backend.sum(x4, (1, -3)), "sum: an axis is given twice"),
    (lambda: backend.max(np.zeros((0, 3), f32), 0), "max: .*empty"),
    (lambda: backend.max_backward(row, x4, row, 0), "max_backward: dy has shape"),
    (lambda: backend.squared_error(row, x4), "squared_error: "),
    (lambda: backend.softmax(np.zeros((), f32)), "softmax: x has shape"),
    (lambda: backend.matmul(row, x4), "matmul: a has shape"),
    (lambda: backend.matmul(w4[0], w4[0]), "matmul: the inner sizes 8 and 4"),
    (lambda: backend.matmul(tokens, x4[0, :3, :3].copy()), "matmul: "),
    (lambda: backend.matmul(w4[0, 0], w4[0, 0], row, True), "matmul: bias has shape"),
    (lambda: backend.conv2d(row, w4), "conv2d: x has shape"),
    (lambda: backend.conv2d(x4, np.zeros((3, 3, 5, 8), f32)), "conv2d: .* has 4 channels"),
    (lambda: backend.conv2d(x4, w4, row), r"conv2d: bias has shape \(4,\), but \(8,\)"),
    (lambda: backend.conv2d(x4, w4, None, 0), "conv2d: stride is 0"),
    (lambda: backend.conv2d(x4, w4, None, (1, 2, 3)), "conv2d: stride is .* tuple of 2"),
    (lambda: backend.conv2d(x4, w4, None, 1, -1), "conv2d: padding is -1"),
    (lambda: backend.conv2d(x4, w4, None, 1, 2**40), "conv2d: padding is 1099511627776"),
    (lambda: backend.conv2d(x4, w4, None, 1, 0.5), "conv2d: padding is 0.5"),
    (lambda: backend.conv2d(x4, np.zeros((7, 1, 4, 8), f32)), "conv2d: a kernel of 7x1"),
    (lambda: backend.conv2d_backward_data(x4, w4, x4.shape), "conv2d_backward_data: dy"),
    (
        lambda: backend.conv2d_backward_weight(x4, x4, (3, 3, 4)),
        "conv2d_backward_weight: ",
    ),
    (lambda: backend.group_norm(x4, 3), "group_norm: .* 3 groups"),
    (lambda: backend.group_norm(x4[:, :0].copy(), 2), "group_norm: .* statistics of nothing"),
    (lambda: backend.layer_norm(x4[..., :0].copy()), "layer_norm: .* statistics of nothing"),
    (lambda: backend.group_norm(x4, 0), "group_norm: groups is 0"),
    (lambda: backend.group_norm(x4, 2, row), "group_norm: give both"),
    (lambda: backend.group_norm(x4, 2, act="relu"), "group_norm: act is 'relu'"),
    (lambda: backend.group_norm(x4, 2, eps=float("nan")), "group_norm: eps is nan"),
    (lambda: backend.layer_norm(x4, row[:3], row[:3]), "layer_norm: weight has shape"),
    (lambda: backend.attention(x4, x4, x4), "attention: q has 4 dimensions"),
    (lambda: backend.attention(tokens, tokens, tokens, 4), "attention: 4 heads do not divide"),
    (lambda: backend.attention(tokens, tokens[:, :0], tokens[:, :0]), "attention: .*token"),
    (lambda: backend.attention(tokens, tokens[:1], tokens), "attention: q has shape"),
    (lambda: backend.upsample_nearest(row), "upsample_nearest: x has 1 dimensions"),
    (lambda: backend.upsample_nearest(x4, 0), "upsample_nearest: factor is 0"),
    (lambda: backend.sum_pool(x4, 2), "sum_pool: .* divisible by 2"),
    (lambda: backend.concat([]), "concat: there is no array"),
    (lambda: backend.concat([x4, x4[:, :3]], 0), "concat: the shapes"),
    (lambda: backend.pad(row, [(1, 1), (0, 0)]), "pad: widths"),
    (lambda: backend.pad(row, [(-1, 1)]), "pad: widths is -1"),
    (lambda: backend.gather(x4, np.array([0, 2])), "gather: index runs from 0 to 2"),
    (lambda: backend.gather(x4, np.array([-1])), "gather: index runs from -1"),
    (lambda: backend.scatter_add(x4, np.array([0, 1, 1]), 2), "scatter_add: dy has shape"),
    (lambda: backend.accumulate(row[::2], row[::2]), "accumulate: a is changed in place"),
    (lambda: backend.accumulate(read_only(row), row), "accumulate: a is changed in place"),
    (lambda: backend.accumulate(row, row[:1]), "accumulate: the shapes differ"),
    (lambda: backend.ema([row[::2]], [row[::2]], 0.5), "ema: e is changed in place"),
    (lambda: backend.ema([row, read_only(row)], [row, row], 0.5), "ema: e is changed in place"),
    (lambda: backend.ema([row], [row], 1.0), "ema: decay is 1.0"),
    (lambda: backend.ema([row], [row, row], 0.5), "ema: e and p have 1 and 2 arrays"),
    (lambda: backend.ema([row, row], [row, row[:1]], 0.5), "ema: the shapes differ"),
    (lambda: backend.uniform(2**64, 0, 0, 0, 1, 1), "uniform: seed is 18446744073709551616"),
    (lambda: backend.normal(0, 2**32 - 1, 0, 0, 2, 1), "normal: first_image is 4294967295"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_shapes_and_options_are_named(call, message):
    with pytest.raises(ShapeError, match=f"^{message}"):
        call()


def test_index_of_floats_is_a_dtype_error():
    with pytest.raises(DtypeError, match="gather: index has dtype float64"):
        backend.gather(x4, np.zeros(2))


@given(st.data())
def test_broadcasting_follows_numpy(data):
    side = st.integers(0, 3)
    a = np.ones(data.draw(st.lists(side, max_size=5)), f32)
    b = np.full(data.draw(st.lists(side, max_size=5)), 2, f32)
    try:
        expected = a - b
    except ValueError:
        with pytest.raises(ShapeError):
            backend.subtract(a, b)
    else:
        np.testing.assert_array_equal(backend.subtract(a, b), expected)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_sum_over_any_axes_follows_numpy(dims, data):
    x = np.arange(np.prod(dims), dtype=np.float64).reshape(dims)
    axes = tuple(data.draw(st.sets(st.integers(0, len(dims) - 1))))
    np.testing.assert_array_equal(backend.sum(x, axes), x.sum(axis=axes, keepdims=True))
