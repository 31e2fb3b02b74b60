"""The tape: recording, the walk back, what it frees, and every error it can give."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from pydiff import ops
from pydiff.autograd import RULES, Tensor, is_grad_enabled, no_grad, record, rule
from pydiff.errors import AutogradError, DtypeError, ShapeError

DEEP = 100_000


def leaf(*shape: int, value: float = 2.0) -> Tensor:
    return Tensor(np.full(shape, value), requires_grad=True)


@pytest.fixture
def own_rule():
    """Enter rules that vanish after the test."""
    before = dict(RULES)
    yield rule
    RULES.clear()
    RULES.update(before)


# --- the walk -------------------------------------------------------------------------------------


def test_a_tensor_used_twice_gets_the_sum() -> None:
    x = leaf(3)
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [5.0, 5.0, 5.0])


def test_diamond_visits_each_node_once_after_all_its_uses(own_rule) -> None:
    visits = []

    @own_rule("probe", "x")
    def probe_backward(ctx, dy):
        visits.append(float(dy))
        return (dy,)

    x = leaf()
    shared = record("probe", x.data.copy(), (x,))
    long_way = shared
    for _ in range(5):
        long_way = long_way * 3.0
    (shared + long_way).backward()
    assert visits == [1 + 3.0**5]
    assert x.grad == 1 + 3.0**5


def test_gradients_accumulate_over_backward_calls_until_zero_grad() -> None:
    x = leaf(2)
    for expected in (3.0, 6.0):
        (x * 3).sum().backward()
        np.testing.assert_array_equal(x.grad, [expected, expected])
    x.zero_grad()
    assert x.grad is None


def test_accumulation_leaves_the_earlier_gradient_array_alone() -> None:
    x = leaf(2)
    x.sum().backward()
    first = x.grad
    x.sum().backward()
    np.testing.assert_array_equal(first, [1.0, 1.0])


def test_gradients_are_plain_writable_arrays_of_their_own() -> None:
    a, b = leaf(2), leaf(2)
    cotangent = np.ones(2)
    (a + b).backward(cotangent)
    assert type(a.grad) is type(b.grad) is np.ndarray
    a.grad *= 5
    np.testing.assert_array_equal(b.grad, [1.0, 1.0])
    np.testing.assert_array_equal(cotangent, [1.0, 1.0])
    x = leaf(3, 2)
    x.mean().backward()  # the rule returns a broadcast view
    x.grad[0, 0] = 7


def test_backward_of_a_leaf_and_of_scalars() -> None:
    x = leaf()
    x.backward()
    assert x.grad == 1.0 and x.grad.shape == ()
    y = leaf(1, 1)
    (y * 3).backward()
    assert y.grad.tolist() == [[3.0]]
    z = leaf()
    (z * 3).backward(2.0)
    assert z.grad == 6.0


def test_only_leaves_that_require_it_get_a_gradient() -> None:
    x, constant = leaf(2), Tensor(np.ones(2))
    middle = x * constant
    middle.sum().backward()
    assert constant.grad is None and middle.grad is None
    assert not (constant * 2).requires_grad


@pytest.mark.parametrize("depth", [DEEP])
def test_deep_graphs_need_no_recursion(depth: int) -> None:
    x = leaf()
    y = x
    for _ in range(depth):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0


def test_a_deep_graph_can_be_dropped_unused() -> None:
    x = leaf()
    y = x
    for _ in range(DEEP):
        y = y + 1.0
    del y
    gc.collect()


def test_backward_frees_what_the_graph_held() -> None:
    x = leaf(4)
    middle = ops.exp(x)
    held = weakref.ref(middle.data)
    loss = ops.square(middle).sum()
    del middle
    assert held() is not None
    loss.backward()
    assert held() is None


def test_a_failed_backward_changes_no_gradient(own_rule) -> None:
    @own_rule("explodes", "x")
    def explodes_backward(ctx, dy):
        raise RuntimeError("boom")

    x, z = leaf(), leaf()
    y = record("explodes", x.data.copy(), (x,)) + z * 2
    with pytest.raises(RuntimeError, match="boom"):
        y.backward()
    assert x.grad is None and z.grad is None


# --- sums of gradients ----------------------------------------------------------------------------


def test_sums_never_write_to_what_somebody_can_see(own_rule) -> None:
    kept = []

    @own_rule("keeps", "x")
    def keeps_backward(ctx, dy):
        kept.append(dy * 2)
        return (kept[-1],)

    @own_rule("views", "x")
    def views_backward(ctx, dy):
        kept.append(np.full((2, *dy.shape), 3.0))
        return (kept[-1][0],)

    x = leaf(4)
    middle = x * 1.0
    parts = [record(op, middle.data.copy(), (middle,)) for op in ("keeps", "views", "keeps")]
    cotangent = np.ones(4)
    (parts[0] + parts[1] + parts[2] + middle + middle * 5.0).backward(cotangent)
    np.testing.assert_array_equal(x.grad, np.full(4, 2.0 + 3 + 2 + 1 + 5))
    np.testing.assert_array_equal(cotangent, np.ones(4))
    assert sorted(array.min() for array in kept) == [2.0, 2.0, 3.0]
    assert all(array.min() == array.max() for array in kept)


def test_rules_get_contiguous_gradients_unless_they_take_any(own_rule) -> None:
    seen = {}
    for name, strided in (("usual", False), ("any", True)):

        @own_rule(name, "x", strided=strided)
        def pull(ctx, dy, name=name):
            seen[name] = dy.flags.c_contiguous
            return (dy,)

    x = leaf(3, 4)
    halves = [record(name, x.data.copy(), (x,)) for name in ("usual", "any")]
    weight = np.arange(24.0).reshape(3, 8)
    (ops.concat(halves, axis=1) * weight).sum().backward()
    np.testing.assert_array_equal(x.grad, weight[:, :4] + weight[:, 4:])
    assert seen == {"usual": True, "any": False}


# --- no_grad and threads --------------------------------------------------------------------------


def test_no_grad_as_block_and_decorator() -> None:
    x = leaf(2)

    @no_grad()
    def double(t: Tensor) -> Tensor:
        return t * 2

    assert is_grad_enabled()
    with no_grad():
        assert not is_grad_enabled() and not (x * 2).requires_grad
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    assert not double(x).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert is_grad_enabled()


def test_no_grad_holds_for_one_thread_only() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_share_leaves_without_losing_gradients() -> None:
    x = leaf(50)
    threads, repeats = 8, 50

    def work() -> None:
        for _ in range(repeats):
            (x * 1.0).sum().backward()

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    np.testing.assert_array_equal(x.grad, np.full(50, float(threads * repeats)))


# --- errors ---------------------------------------------------------------------------------------


def test_backward_without_anything_recorded() -> None:
    with pytest.raises(AutogradError, match="does not require a gradient"):
        Tensor(1.0).backward()


def test_non_scalar_backward_needs_a_gradient() -> None:
    with pytest.raises(AutogradError, match=r"shape \(2, 3\) needs a gradient"):
        (leaf(2, 3) * 2).backward()


def test_wrong_gradient_shape_dtype_and_type() -> None:
    y = leaf(2, 3) * 2
    with pytest.raises(ShapeError, match=r"\(3, 2\).*\(2, 3\)"):
        y.backward(np.ones((3, 2)))
    with pytest.raises(DtypeError, match=r"float32.*float64"):
        y.backward(np.ones((2, 3), np.float32))
    with pytest.raises(DtypeError, match="list"):
        y.backward([1.0])
    with pytest.raises(ShapeError, match=r"Tensor\.grad"):
        leaf(2).grad = np.ones(3)


@pytest.mark.parametrize("shared", [False, True])
def test_second_backward_through_a_freed_graph(shared: bool) -> None:
    x = leaf()
    middle = x * x
    y = middle * 3
    y.backward()
    again = middle * 4 if shared else y
    with pytest.raises(AutogradError, match=r"'multiply' was freed.*double backward"):
        again.backward()
    assert x.grad == 12.0


def test_missing_rule_names_op_and_argument() -> None:
    x = leaf(2)
    y = record("no_such_op", x.data * 2, (np.ones(2), x))
    with pytest.raises(AutogradError, match=r"no_such_op.*argument 1"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("gradients", "error", "message"),
    [
        ((None,), AutogradError, "no gradient for argument 'x'"),
        ((np.ones(3),), ShapeError, r"argument 'x' has shape \(3,\)"),
        ((np.ones(2, np.float32),), DtypeError, "argument 'x' has dtype float32"),
        ((1.0,), DtypeError, "argument 'x' is a float"),
        ((), AutogradError, "0 gradients for 1 arguments"),
    ],
)
def test_a_rule_that_returns_nonsense_is_named(own_rule, gradients, error, message) -> None:
    own_rule("nonsense", "x")(lambda ctx, dy: gradients)
    x = leaf(2)
    with pytest.raises(error, match=f"nonsense.*{message}"):
        record("nonsense", x.data * 2, (x,)).backward(np.ones(2))


# --- saved arrays that change ---------------------------------------------------------------------

SMALL, LARGE = 2048, 500_000  # elements of float64: 16 KiB, fingerprinted exactly, and 4 MB


@pytest.mark.parametrize("n", [1, SMALL])
@pytest.mark.parametrize("where", [0, -1])
def test_one_changed_element_is_noticed(n: int, where: int) -> None:
    x = leaf(n)
    y = ops.silu(x)
    x.data[where] = np.nextafter(x.data[where], 3)
    with pytest.raises(AutogradError, match="silu: 'x' was changed in place"):
        y.sum().backward()


def test_a_large_change_is_noticed_in_a_large_array() -> None:
    x = leaf(LARGE)
    y = ops.silu(x)
    x.data[:] = 3
    with pytest.raises(AutogradError, match="changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("change", ["assign", "augment", "declare"])
def test_versions_catch_what_a_sample_may_miss(change: str) -> None:
    x = leaf(LARGE)
    y = ops.silu(x)
    if change == "assign":
        x.data = x.data.copy()
    elif change == "augment":
        x.data += 0.0
    else:
        x.mark_changed()
    with pytest.raises(AutogradError, match="silu: 'x' was changed"):
        y.sum().backward()


def test_changes_through_views_outputs_and_constants_are_noticed() -> None:
    x = leaf(4, 3)
    y = ops.silu(x)
    x.reshape(12).data[5] = 0
    with pytest.raises(AutogradError, match="silu: 'x'"):
        y.sum().backward()

    y = ops.exp(leaf(3))
    y.data[0] = 0
    with pytest.raises(AutogradError, match="exp: 'the output'"):
        y.sum().backward()

    batch = np.ones((5, 3))
    weight = leaf(3, 2)
    y = ops.linear(batch, weight)
    batch[4, 2] = 9
    with pytest.raises(AutogradError, match="linear: 'x'"):
        y.sum().backward()


def test_a_strided_array_is_fingerprinted_too() -> None:
    base = np.ones((64, 64))
    x = Tensor(base[::2, ::3], requires_grad=True)
    y = ops.silu(x)
    base[1, 1] = 5  # not an element of x
    y.sum().backward()
    y = ops.silu(x)
    base[0, 3] = 5
    with pytest.raises(AutogradError, match="changed in place"):
        y.sum().backward()


def test_what_no_rule_reads_may_change() -> None:
    x = leaf(3)
    y = x + 1
    x.data[0] = 9
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_an_update_between_forward_and_backward_of_another_graph_is_fine() -> None:
    x = leaf(3)
    ops.square(x).sum().backward()
    x.data -= 0.1 * x.grad
    x.zero_grad()
    ops.square(x).sum().backward()
    np.testing.assert_allclose(x.grad, np.full(3, 3.2))
