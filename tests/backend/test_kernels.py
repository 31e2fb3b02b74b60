"""Native kernels against the reference in float64, on every instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest

from pydiff import backend
from pydiff.testing.cases import KERNEL_CASES

native = pytest.importorskip("pydiff._native", reason="the native module is not built")

DTYPES = (np.float32, np.float64)


@pytest.fixture(params=native.supported_isas())
def isa(request):
    before = native.isa()
    native.set_isa(request.param)
    with backend.use("cpu"):
        yield request.param
    native.set_isa(before)


def assert_within_bound(case, args, dtype):
    with np.errstate(all="ignore"):
        expected, bounds = case.oracle(args, float(np.finfo(dtype).eps))
        outputs = case.run(args)
        assert len(outputs) == len(expected)
        for actual, right, bound in zip(outputs, expected, bounds, strict=True):
            assert actual.dtype == (np.float64 if case.wide else dtype)
            assert actual.shape == right.shape
            excess = np.abs(actual - right) - bound - np.finfo(dtype).tiny
            if not (excess <= 0).all():
                shapes = {n: getattr(x, "shape", x) for n, x in args.items()}
                worst = np.unravel_index(np.nan_to_num(excess, nan=np.inf).argmax(), excess.shape)
                raise AssertionError(
                    f"{case.name}{shapes}: at {tuple(map(int, worst))} {actual[worst]!r} "
                    f"instead of {right[worst]!r} +- {bound[worst]:.3g}"
                )


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.name)
def test_kernel_agrees_with_reference(case, dtype, isa, rng):
    for template in case.templates(rng, 25):
        assert_within_bound(case, case.make(rng, dtype, template), dtype)


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(native.supported_isas()), reason="needs a machine with AVX-512"
)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.name)
def test_v3_and_v4_give_the_same_bits(case, dtype, rng):
    before = native.isa()
    with backend.use("cpu"):
        try:
            for template in case.templates(rng, 10):
                args = case.make(rng, dtype, template)
                native.set_isa("v3")
                first = case.run(args)
                native.set_isa("v4")
                for a, b in zip(first, case.run(args), strict=True):
                    assert a.tobytes() == b.tobytes()
        finally:
            native.set_isa(before)


@pytest.mark.parametrize("case", KERNEL_CASES, ids=lambda case: case.name)
def test_bits_do_not_depend_on_threads(case, rng):
    before = native.num_threads()
    args = [case.make(rng, np.float32, template) for template in case.templates(rng, 1)]
    with backend.use("cpu"):
        try:
            bits = set()
            for threads in (1, 2, 3, 8):
                native.set_num_threads(threads)
                bits.add(b"".join(y.tobytes() for a in args for y in case.run(a)))
        finally:
            native.set_num_threads(before)
    assert len(bits) == 1


# Whole ranges of the elementwise functions, where the random draws of the table never go.
WIDE = ("exp", "log", "sqrt", "sigmoid", "tanh", "relu", "silu", "gelu", "gelu_tanh")
RELATIVE = {"exp": 4, "log": 4, "sqrt": 1, "sigmoid": 4, "tanh": 8, "relu": 0}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", WIDE)
def test_elementwise_over_the_whole_range(name, dtype, isa):
    info = np.finfo(dtype)
    magnitudes = np.geomspace(float(info.tiny), 700, 4001).astype(dtype)
    x = np.concatenate([-magnitudes[::-1], [0], magnitudes]).astype(dtype)
    with backend.use("reference"), np.errstate(all="ignore"):
        expected = getattr(backend, name)(x.astype(np.float64))
    actual = getattr(backend, name)(x)
    expected[expected > float(info.max)] = np.inf  # of the functions here, only exp
    usual = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~usual], expected[~usual])
    scale = np.abs(expected) if name in RELATIVE else np.abs(expected) + np.abs(x)
    bound = RELATIVE.get(name, 8) * float(info.eps) * scale + float(info.tiny)
    assert (np.abs(actual[usual] - expected[usual]) <= bound[usual]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", WIDE)
def test_special_values(name, dtype, isa):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0] * 7, dtype)
    with backend.use("reference"):
        expected = getattr(backend, name)(x)
    np.testing.assert_array_equal(getattr(backend, name)(x), expected)


RETURN_FLOATS_OF_FLOATS = [
    case for case in KERNEL_CASES if case.name not in ("uniform", "normal", "adamw", "ema")
]


@pytest.mark.parametrize("case", RETURN_FLOATS_OF_FLOATS, ids=lambda case: case.name)
def test_nan_reaches_the_output(case, isa, rng):
    """Where a NaN in an input makes the reference's output NaN, the kernel's is NaN too."""
    for _ in range(5):
        args = case.make(rng, np.float32)
        flat = [y for x in args.values() for y in (x if isinstance(x, list) else [x])]
        floats = [x for x in flat if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        array = floats[rng.integers(len(floats))]
        array.reshape(-1)[rng.integers(array.size)] = np.nan
        with backend.use("reference"), np.errstate(all="ignore"):
            expected = case.run(args)
        for a, b in zip(case.run(args), expected, strict=True):
            assert np.isnan(a[np.isnan(b)]).all()
