"""Products, convolutions, norms and attention at the sizes where their blocks, tails and parts
begin and end: right on every instruction set, and bit for bit alike on v3 and v4, for any number of
threads, alone or in a batch."""

from __future__ import annotations

import numpy as np
import pytest

native = pytest.importorskip("pydiff._native", reason="the native module is not built")

from pydiff.backend import cpu, reference  # noqa: E402

ISAS = native.supported_isas()
DTYPES = (np.float32, np.float64)


def normal(*shape):
    return lambda rng, dtype: rng.standard_normal(shape).astype(dtype)


def output_size(shape, weight, stride, padding):
    _, h, w, _ = shape
    top, bottom, left, right = padding
    return (h + top + bottom - weight[0]) // stride[0] + 1, (
        w + left + right - weight[1]
    ) // stride[1] + 1


def product(m, n, k, batch_a=(), batch_b=(), bias=False, transpose_a=False, transpose_b=False):
    a, b = ((k, m) if transpose_a else (m, k)), ((n, k) if transpose_b else (k, n))
    arrays = normal(*batch_a, *a), normal(*batch_b, *b), normal(n) if bias else None
    return "matmul", (*arrays, transpose_a, transpose_b)


def conv(kind, shape, weight, stride=(1, 1), padding=(1, 1, 1, 1), bias=False):
    y = (shape[0], *output_size(shape, weight, stride, padding), weight[3])
    if kind == "data":
        args = (normal(*y), normal(*weight), shape, stride, padding)
        return "conv2d_backward_data", args
    if kind == "weight":
        return "conv2d_backward_weight", (normal(*shape), normal(*y), weight, stride, padding)
    arrays = (normal(*shape), normal(*weight), normal(weight[3]) if bias else None)
    return "conv2d", (*arrays, stride, padding)


def norm_backward(op, shape, weight, *middle):
    """Gradient cases: saved statistics are inputs, so they come from the float64 reference."""

    def args(rng, dtype):
        x, dy = (rng.standard_normal(shape) + 1 for _ in range(2))
        w, b = rng.standard_normal((2, shape[-1])) if weight else (None, None)
        if op == "group_norm":
            groups, act = middle
            _, mean, rstd = reference.group_norm(x, groups, w, b, 1e-5, act)
            values = dy, x, groups, w, b, mean, rstd, act
        else:
            _, mean, rstd = reference.layer_norm(x, w, b, 1e-5)
            values = dy, x, w, mean, rstd
        return [v.astype(dtype) if isinstance(v, np.ndarray) else v for v in values]

    return f"{op}_backward", args


def attend_backward(n, tq, tk, heads, d):
    def args(rng, dtype):
        q, dy = rng.standard_normal((2, n, tq, heads * d))
        k, v = rng.standard_normal((2, n, tk, heads * d))
        o, lse = reference.attention(q, k, v, heads, d**-0.5)
        return [*(x.astype(dtype) for x in (dy, q, k, v, o, lse)), heads, d**-0.5]

    return "attention_backward", args


CASES = {
    "matmul-1x1x1": product(1, 1, 1),
    "matmul-row": product(1, 513, 300, bias=True),
    "matmul-column": product(100, 1, 70),
    "matmul-tiles": product(29, 47, 130, bias=True),
    "matmul-direct": product(28, 64, 33),
    "matmul-depth": product(40, 70, 2100, bias=True),
    "matmul-depth-rows": product(130, 70, 2100),
    "matmul-depth-tb": product(9, 70, 4500, transpose_b=True),
    "matmul-blocks": product(301, 550, 70),
    "matmul-ta": product(61, 50, 600, transpose_a=True),
    "matmul-ta-parts": product(37, 45, 5003, transpose_a=True),
    "matmul-tb": product(70, 97, 129, transpose_b=True),
    "matmul-ta-tb": product(33, 35, 300, transpose_a=True, transpose_b=True),
    "matmul-batch": product(20, 33, 40, (5,), (5,), bias=True),
    "matmul-shared-b": product(20, 33, 40, (5,), (), transpose_b=True),
    "matmul-shared-a": product(20, 33, 40, (), (5,), transpose_a=True),
    "matmul-no-depth": product(3, 40, 0, bias=True),
    "matmul-empty": product(0, 40, 3),
    "conv-1-channel": conv("y", (3, 9, 7, 1), (3, 3, 1, 40), bias=True),
    "conv-3-channels": conv("y", (2, 17, 16, 3), (3, 3, 3, 33)),
    "conv-to-1": conv("y", (2, 8, 8, 40), (3, 3, 40, 1), bias=True),
    "conv-blocks": conv("y", (5, 13, 12, 36), (3, 3, 36, 48)),
    "conv-1x1": conv("y", (3, 9, 9, 70), (1, 1, 70, 37), padding=(0, 0, 0, 0), bias=True),
    "conv-depth": conv("y", (1, 5, 5, 500), (3, 3, 500, 70), (2, 2)),
    "conv-stride": conv("y", (2, 11, 9, 17), (3, 3, 17, 20), (2, 2), (0, 1, 0, 1)),
    "conv-odd": conv("y", (2, 5, 12, 3), (5, 2, 3, 5), (1, 3), (2, 4, 0, 1)),
    "conv-all-padding": conv("y", (1, 1, 2, 3), (2, 2, 3, 4), padding=(3, 3, 3, 3)),
    "conv-empty": conv("y", (0, 4, 4, 3), (3, 3, 3, 4)),
    "data-blocks": conv("data", (5, 13, 12, 36), (3, 3, 36, 48)),
    "data-1-channel": conv("data", (3, 9, 7, 1), (3, 3, 1, 40)),
    "data-1x1": conv("data", (3, 9, 9, 70), (1, 1, 70, 37), padding=(0, 0, 0, 0)),
    "data-depth": conv("data", (1, 9, 9, 70), (3, 3, 70, 500), (2, 2)),
    "data-stride": conv("data", (2, 11, 9, 17), (3, 3, 17, 20), (2, 2), (0, 1, 0, 1)),
    "data-stride-1x1": conv("data", (2, 7, 8, 6), (1, 1, 6, 9), (2, 2), (0, 0, 0, 0)),
    "data-odd": conv("data", (2, 5, 12, 3), (5, 2, 3, 5), (1, 3), (2, 4, 0, 1)),
    "data-all-padding": conv("data", (1, 1, 2, 3), (2, 2, 3, 4), padding=(3, 3, 3, 3)),
    "weight-blocks": conv("weight", (2, 13, 12, 36), (3, 3, 36, 48)),
    "weight-parts": conv("weight", (9, 16, 16, 5), (3, 3, 5, 33)),
    "weight-1-channel": conv("weight", (3, 9, 7, 1), (3, 3, 1, 40)),
    "weight-1x1": conv("weight", (9, 16, 16, 20), (1, 1, 20, 37), padding=(0, 0, 0, 0)),
    "weight-stride": conv("weight", (2, 11, 9, 17), (3, 3, 17, 20), (2, 2), (0, 1, 0, 1)),
    "weight-odd": conv("weight", (2, 5, 12, 3), (5, 2, 3, 5), (1, 3), (2, 4, 0, 1)),
    "weight-empty": conv("weight", (0, 4, 4, 3), (3, 3, 3, 4)),
    "group_norm": ("group_norm", (normal(3, 9, 15, 36), 4, normal(36), normal(36), 1e-5, "silu")),
    "group_norm-1": ("group_norm", (normal(1, 300, 7), 7, None, None, 1e-6, "none")),
    "group_norm-wide": (
        "group_norm",
        (normal(2, 65, 160), 1, normal(160), normal(160), 0.1, "none"),
    ),
    "group_norm-blocks": (
        "group_norm",
        (normal(2, 600, 96), 12, normal(96), normal(96), 1e-5, "silu"),
    ),
    "group_norm-many": ("group_norm", (normal(9, 140, 64), 16, None, None, 1e-5, "none")),
    "group_norm-grad": norm_backward("group_norm", (3, 9, 15, 36), True, 4, "silu"),
    "group_norm-grad-many": norm_backward("group_norm", (9, 300, 36), True, 9, "silu"),
    "group_norm-grad-1": norm_backward("group_norm", (1, 300, 7), False, 7, "none"),
    "layer_norm": ("layer_norm", (normal(3, 43, 77), normal(77), normal(77), 1e-5)),
    "layer_norm-1": ("layer_norm", (normal(130, 1), None, None, 1e-5)),
    "layer_norm-grad": norm_backward("layer_norm", (3, 43, 77), True),
    "layer_norm-grad-1": norm_backward("layer_norm", (65, 20), False),
    "attention": ("attention", (normal(2, 70, 80), normal(2, 70, 80), normal(2, 70, 80), 2, 0.1)),
    "attention-cross": (
        "attention",
        (normal(1, 5, 9), normal(1, 300, 9), normal(1, 300, 9), 9, 1.0),
    ),
    "attention-wide": (
        "attention",
        (normal(1, 130, 270), normal(1, 129, 270), normal(1, 129, 270), 1, 0.06),
    ),
    "attention-grad": attend_backward(2, 70, 70, 2, 40),
    "attention-grad-many": attend_backward(3, 65, 130, 3, 5),
    "attention-grad-wide": attend_backward(1, 130, 129, 1, 270),
}


def arguments(case, dtype, seed=0):
    rng = np.random.default_rng(seed)
    args = CASES[case][1]
    if callable(args):
        return args(rng, dtype)
    return [arg(rng, dtype) if callable(arg) else arg for arg in args]


def outputs(backend, case, args):
    result = getattr(backend, CASES[case][0])(*args)
    return [y for y in (result if isinstance(result, tuple) else (result,)) if y is not None]


def as_double(args):
    return [x.astype(np.float64) if isinstance(x, np.ndarray) else x for x in args]


@pytest.fixture(autouse=True)
def settings():
    isa, threads = native.isa(), native.num_threads()
    yield
    native.set_isa(isa)
    native.set_num_threads(threads)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference_on_every_isa(case, dtype):
    args = arguments(case, dtype)
    expected = outputs(reference, case, as_double(args))
    for isa in ISAS:
        native.set_isa(isa)
        for actual, right in zip(outputs(cpu, case, args), expected, strict=True):
            assert actual.shape == right.shape
            size = 1 + np.abs(right).max(initial=0)
            error = np.abs(actual - right).max(initial=0) / size
            assert error <= 20 * np.finfo(dtype).eps, f"{isa}: {error:.2e}"


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_isa_or_threads(case, dtype):
    args = arguments(case, dtype)
    for isas in ({"v3", "v4"}, {"v2"}):
        bits = set()
        for isa in isas & set(ISAS):
            native.set_isa(isa)
            for threads in (1, 2, 3, 8):
                native.set_num_threads(threads)
                bits.add(b"".join(y.tobytes() for y in outputs(cpu, case, args)))
        assert len(bits) <= 1


BATCHED = {  # first axis: images; the other arguments are shared
    "matmul": lambda x: cpu.matmul(x, SHARED["b"], None, False, False),
    "conv2d": lambda x: cpu.conv2d(x, SHARED["w"], None, (1, 1), (1, 1, 1, 1)),
    "conv2d-stride": lambda x: cpu.conv2d(x, SHARED["w"], None, (2, 2), (0, 1, 0, 1)),
    "conv2d-data": lambda x: cpu.conv2d_backward_data(
        x, SHARED["w"].swapaxes(2, 3).copy(), (*x.shape[:3], 40), (1, 1), (1, 1, 1, 1)
    ),
    "group_norm": lambda x: cpu.group_norm(x, 4, None, None, 1e-5, "silu")[0],
    "layer_norm": lambda x: cpu.layer_norm(x, None, None, 1e-5)[0],
    "attention": lambda x: cpu.attention(*[x.reshape(len(x), -1, 36)] * 3, 2, 0.2)[0],
}
SHARED = {
    "b": np.random.default_rng(1).standard_normal((36, 50)).astype(np.float32),
    "w": np.random.default_rng(2).standard_normal((3, 3, 36, 40)).astype(np.float32),
}


@pytest.mark.parametrize("op", BATCHED)
def test_an_image_does_not_depend_on_its_batch(op, rng):
    x = rng.standard_normal((5, 12, 13, 36)).astype(np.float32)
    whole = BATCHED[op](x)
    for i in range(len(x)):
        assert np.array_equal(BATCHED[op](x[i : i + 1])[0], whole[i])


@pytest.mark.parametrize("case", [c for c in CASES if "empty" not in c and "no-depth" not in c])
def test_nan_reaches_every_output(case):
    """One NaN in each input in turn: what NumPy makes NaN is NaN here."""
    args = arguments(case, np.float64)
    for i, arg in enumerate(args):
        if not isinstance(arg, np.ndarray):
            continue
        poisoned = list(args)
        poisoned[i] = arg.copy()
        poisoned[i].flat[arg.size // 2] = np.nan
        expected = outputs(reference, case, poisoned)
        for actual, right in zip(outputs(cpu, case, poisoned), expected, strict=True):
            assert np.isnan(actual[np.isnan(right)]).all()


@pytest.mark.parametrize("isa", ISAS)
def test_norms_keep_their_digits_far_from_zero(isa, rng):
    """Mean 1000, deviation 1 in float32: the statistics themselves are good to the last bits."""
    native.set_isa(isa)
    x = (1000 + rng.standard_normal((2, 40, 40, 32))).astype(np.float32)
    y, mean, rstd = cpu.group_norm(x, 4, None, None, 1e-5, "none")
    right, right_mean, right_rstd = reference.group_norm(
        x.astype(np.float64), 4, None, None, 1e-5, "none"
    )
    np.testing.assert_allclose(mean, right_mean, rtol=1e-6)
    np.testing.assert_allclose(rstd, right_rstd, rtol=1e-6)
    assert np.abs(y - right).max() <= 5e-6  # although the mean as float32 is off by up to 3e-5


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 8, 32])
def test_group_norm_loses_four_bits_at_most_to_rows_far_from_the_others(isa, rows, rng):
    """Sums run about the mean of a block's first rows, wherever those lie: 16 times the error of a
    chain of 128 roundings at random."""
    native.set_isa(isa)
    x = rng.standard_normal((50, 512, 32)).astype(np.float32)
    x[:, :rows] += 1e4
    _, mean, rstd = cpu.group_norm(x, 4, None, None, 1e-5, "none")
    _, right_mean, right_rstd = reference.group_norm(
        x.astype(np.float64), 4, None, None, 1e-5, "none"
    )
    tolerance = 16 * 128**0.5 * np.finfo(np.float32).eps / 2
    assert np.abs((mean - right_mean) * right_rstd).max() <= tolerance  # in deviations
    np.testing.assert_allclose(rstd, right_rstd, rtol=tolerance)


@pytest.mark.parametrize("isa", ISAS)
def test_attention_with_large_scores(isa, rng):
    """Scores of several hundred overflow exp unless their maximum is taken off first."""
    native.set_isa(isa)
    q, k, v = (rng.standard_normal((1, 40, 16)).astype(np.float32) for _ in range(3))
    o, lse = cpu.attention(q * 50, k * 50, v, 2, 1.0)
    right, right_lse = reference.attention(*as_double([q * 50, k * 50, v]), 2, 1.0)
    assert np.isfinite(o).all()
    np.testing.assert_allclose(lse, right_lse, rtol=1e-5)
    np.testing.assert_allclose(o, right, atol=5e-3)
