"""The checker itself: it passes what is right, fails what is wrong, and says where."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pydiff
from pydiff import nn, ops
from pydiff.autograd import RULES, Tensor, record, rule
from pydiff.errors import DtypeError, GradcheckError
from pydiff.testing import check_gradients, gradcheck, run_case
from pydiff.testing.cases import GRADIENT_CASES

SMALL, LARGE = (3, 4), (50, 40)  # checked by element, and by directions


@pytest.fixture
def planted(monkeypatch):
    """Replace the rule of an op by `change(its gradients)` for one test."""

    def plant(op, change):
        right = RULES[op]

        def wrong(ctx, dy):
            return change([None if g is None else np.array(g) for g in right.pull(ctx, dy)])

        monkeypatch.setitem(RULES, op, dataclasses.replace(right, pull=wrong))

    return plant


def without_last(gradients):
    gradients[0].flat[-1] = 0
    return gradients


WRONG = {
    "sign": lambda g: [-g[0], *g[1:]],
    "factor 1.001": lambda g: [1.001 * g[0], *g[1:]],
    "factor 1.00001": lambda g: [1.00001 * g[0], *g[1:]],
    "missing tail element": without_last,
    "missing argument": lambda g: [np.zeros_like(g[0]), *g[1:]],
}


@pytest.mark.parametrize("mistake", WRONG)
@pytest.mark.parametrize("shape", [SMALL, LARGE])
@pytest.mark.parametrize("op", ["silu", "multiply", "softmax", "layer_norm"])
def test_planted_mistakes_are_found(planted, rng, op, shape, mistake) -> None:
    inputs = [rng.standard_normal(shape) for _ in range(2 if op == "multiply" else 1)]
    assert gradcheck(getattr(ops, op), inputs)
    planted(op, WRONG[mistake])
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(getattr(ops, op), inputs)


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_a_missing_term_is_found(monkeypatch, rng, shape) -> None:
    """silu' without x s (1 - s); layer norm without the term of the variance."""
    x = rng.standard_normal(shape)

    def silu_without_term(ctx, dy):
        return (dy / (1 + np.exp(-ctx.saved[0])),)

    def norm_without_term(ctx, dy):
        return (dy - dy.mean(-1, keepdims=True)) * ctx["rstd"][..., None], None, None

    for op, pull in (("silu", silu_without_term), ("layer_norm", norm_without_term)):
        monkeypatch.setitem(RULES, op, dataclasses.replace(RULES[op], pull=pull))
        with pytest.raises(GradcheckError):
            gradcheck(getattr(ops, op), x)


@pytest.mark.parametrize("argument", [0, 1, 2])
@pytest.mark.parametrize("op", ["conv2d", "attention", "group_norm"])
def test_the_wrong_argument_is_named(planted, rng, op, argument) -> None:
    shapes, fn = {
        "conv2d": ([(2, 5, 6, 3), (3, 3, 3, 8), (8,)], ops.conv2d),
        "attention": ([(2, 5, 8), (2, 7, 8), (2, 7, 8)], lambda *a: ops.attention(*a, heads=2)),
        "group_norm": (
            [(2, 5, 8), (8,), (8,)], lambda x, w, b: ops.group_norm(x, 2, w, b, act="silu"),
        ),
    }[op]  # fmt: skip
    inputs = [rng.standard_normal(shape) for shape in shapes]
    assert gradcheck(fn, inputs)

    def change(gradients):
        gradients[argument].flat[-1] *= 1.001
        return gradients

    planted(op, change)
    report = check_gradients(fn, inputs)
    assert [row.error > report.tolerance for row in report.rows] == [
        i == argument for i in range(3)
    ]


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_the_message_names_element_and_both_values(planted, shape) -> None:
    x = np.full(shape, 2.0)
    index = (shape[0] // 2, 1)

    def change(gradients):
        gradients[0][index] = 7.0
        return gradients

    planted("exp", change)
    with pytest.raises(GradcheckError) as error:
        gradcheck(lambda t: ops.sum(ops.exp(t)), x, directions=1)
    message = str(error.value)
    assert f"input 0 {shape}" in message and f"element {index}: analytic " in message
    report = check_gradients(lambda t: ops.sum(ops.exp(t)), x, directions=1)
    v = report.worst.numeric / np.exp(2.0)  # the cotangent
    assert report.worst.index == index and report.worst.analytic == pytest.approx(7.0, rel=1e-12)
    assert abs(v) > 0 and not report.passed


def test_steps_scale_with_large_values() -> None:
    assert gradcheck(ops.square, np.array([1e6, -3e4, 0.0]), tolerance=1e-9)


def test_kinks_close_by_do_no_harm() -> None:
    assert gradcheck(ops.relu, np.array([1e-3, -1.5e-3, 1e-4]))


def test_several_outputs(rng) -> None:
    def fn(x):
        y = ops.exp(x)
        return y, ops.sum(y * x)

    assert gradcheck(fn, rng.standard_normal(SMALL))


def test_an_unused_output_term_is_noticed(rng) -> None:
    def fn(x):
        return ops.exp(x), ops.sum(Tensor(x.data) * 2.0) * 1.0  # the second loses its gradient

    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(fn, rng.standard_normal(SMALL))


def test_other_arguments_are_passed_on(rng) -> None:
    def fn(table, index, factor, nothing):
        assert index.dtype == np.int64 and factor == 2 and nothing is None
        return ops.gather(table, index) * factor

    assert gradcheck(fn, [rng.standard_normal((4, 3)), np.array([1, 1, 3]), 2, None])


def test_inputs_are_copied_and_widened(rng) -> None:
    x = rng.standard_normal(SMALL).astype(np.float32)
    before = x.copy()
    tensor = Tensor(x, requires_grad=True)
    assert gradcheck(ops.square, tensor)
    assert tensor.grad is None
    np.testing.assert_array_equal(x, before)


def test_modules_are_checked_with_their_parameters(rng) -> None:
    model = nn.Linear(3, 4)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    report = check_gradients(model, rng.standard_normal((5, 3)))
    assert [row.name for row in report.rows] == ["input 0", "parameter weight", "parameter bias"]
    assert report.passed and model.dtype == np.float32
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_parameters_are_put_back(planted, rng) -> None:
    w = Tensor(rng.standard_normal((3, 2)), requires_grad=True)
    w.grad = np.ones((3, 2))
    before = w.data.copy()
    assert gradcheck(lambda x: ops.linear(x, w), rng.standard_normal((4, 3)), parameters=[w])
    np.testing.assert_array_equal(w.data, before)
    np.testing.assert_array_equal(w.grad, np.ones((3, 2)))
    planted("linear", lambda g: [g[0], 2 * g[1], *g[2:]])
    with pytest.raises(GradcheckError, match="parameter w "):
        gradcheck(lambda x: ops.linear(x, w), rng.standard_normal((4, 3)), parameters={"w": w})


def test_nan_and_infinity_are_reported(planted) -> None:
    with pytest.raises(GradcheckError, match="output 0 contains NaN"):
        gradcheck(ops.log, np.array([1.0, -1.0]))
    with pytest.raises(GradcheckError, match=r"within .* of input 0"):
        gradcheck(ops.log, np.array([1.0, 1e-3]))
    planted("exp", lambda g: [g[0] * np.nan])
    with pytest.raises(GradcheckError, match="gradient of input 0 contains NaN"):
        gradcheck(ops.exp, np.ones(2))


def test_random_functions_are_reported() -> None:
    noise = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="not deterministic"):
        gradcheck(lambda x: x * noise.standard_normal(3), np.ones(3))


def test_nothing_to_check_is_an_error() -> None:
    with pytest.raises(GradcheckError, match="no float input"):
        gradcheck(lambda i: Tensor(1.0), np.arange(3))
    with pytest.raises(GradcheckError, match="does not depend on any recorded op"):
        gradcheck(lambda x: x.detach(), np.ones(3))


def test_functions_that_leave_float64_are_refused() -> None:
    with pytest.raises(DtypeError, match="float32 Tensor; float64 is needed"):
        gradcheck(lambda x: x.astype(np.float32), np.ones(3))
    with pytest.raises(DtypeError, match="a ndarray"):
        gradcheck(lambda x: x.data, np.ones(3))
    with pytest.raises(DtypeError, match="parameter 0 is float32"):
        gradcheck(ops.exp, np.ones(3), parameters=[Tensor(1.0, requires_grad=True)])


def test_a_user_can_check_an_own_op(rng) -> None:
    try:

        @rule("cube", "x", saves="x")
        def cube_backward(ctx, dy):
            return (3 * ctx.saved[0] ** 2 * dy,)

        def cube(x):
            return record("cube", x.data**3, (x,), (x,))

        assert pydiff.gradcheck(cube, rng.standard_normal(SMALL)) is True
    finally:
        RULES.pop("cube", None)


def test_rows_of_the_case_table(planted) -> None:
    case = next(case for case in GRADIENT_CASES if case.name == "silu")
    row = run_case(case, 5)
    assert row.name == "silu" and row.shapes == 5 and row.passed and row.error < 1e-9
    planted("silu", WRONG["factor 1.001"])
    assert not run_case(case, 5).passed
