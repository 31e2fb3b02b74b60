"""Plans of any function of pydiff.ops, and the refusal of what a plan would freeze."""

from __future__ import annotations

import numpy as np
import pytest

import pydiff
from pydiff import backend, nn, ops
from pydiff.errors import DtypeError, PlanError
from pydiff.plan.trace import trace

RNG = np.random.RandomState(5)
X = RNG.standard_normal((2, 4, 6, 5)).astype(np.float32)
T = np.array([2.0, 7.0], np.float32)
WEIGHT = RNG.standard_normal((5, 5)).astype(np.float32)


def check(model, x=X, t=T, **inputs):
    """The plan of a function; its results are those of the function."""
    plan = pydiff.compile(model, x, t, **inputs)
    for factor in (1, -2):
        expected = model(x * factor, t, **inputs)
        expected = getattr(expected, "data", expected)
        y = plan(x * factor, t, **inputs)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
    return plan


MODELS = {
    "elementwise": lambda x, t: ops.tanh(x) * ops.sigmoid(x) + ops.exp(ops.negative(ops.square(x))),
    "more of them": lambda x, t: ops.gelu(x) - ops.relu(x) / (2 + ops.silu(x) * ops.silu(x)),
    "log and sqrt": lambda x, t: ops.log(1 + ops.square(x)) * ops.sqrt(ops.square(x)),
    "tanh gelu": lambda x, t: ops.gelu(x, approximate="tanh"),
    "time": lambda x, t: x * ops.reshape(t, (2, 1, 1, 1)),
    "softmax": lambda x, t: ops.softmax(x),
    "sums": lambda x, t: ops.sum(x, (0, 2, 3)) + ops.mean(x) + ops.sum(x, 1).sum((0, 1, 2)),
    "maxima": lambda x, t: ops.max(x, (0, 2)),
    "transposed": lambda x, t: ops.transpose(x, (0, 2, 1, 3)) * 2,
    "a view": lambda x, t: ops.transpose(x, (3, 1, 2, 0)),
    "slices": lambda x, t: x[:, ::2, 1:3] + x[:, 1::2, 3:5],
    "the input itself": lambda x, t: ops.reshape(x, (2, -1)),
    "reversed": lambda x, t: ops.exp(x[..., ::-1]),
    "padding": lambda x, t: ops.pad(x, ((0, 0), (1, 2), (0, 0), (2, 0)), 3.0),
    "concat": lambda x, t: ops.concat([ops.exp(x), x, ops.exp(x)], 1),
    "concat of channels": lambda x, t: ops.concat([ops.linear(x, WEIGHT), x * 2], -1),
    "norms": lambda x, t: ops.layer_norm(x) + ops.group_norm(x, 5),
    "pooling": lambda x, t: ops.avg_pool2d(ops.upsample_nearest(x)),
    "products": lambda x, t: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))),
    "broadcast products": lambda x, t: ops.matmul(x, x[0, :1].transpose(0, 2, 1)),
    "shared input": lambda x, t: ops.linear(x, WEIGHT, T[:1].repeat(5)) * ops.linear(x, WEIGHT.T),
    "loss": lambda x, t: ops.reshape(ops.mse_loss(x, ops.exp(x)), (1,)),
    "constant output added": lambda x, t: x + ops.exp(pydiff.Tensor(X)),
    "square of one array": lambda x, t: ops.multiply(ops.exp(x), ops.exp(x)),
    "two uses": lambda x, t: (lambda y: ops.silu(y) + y)(ops.linear(x, WEIGHT)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_ops(name, dtype):
    def model(x, t):
        return MODELS[name](ops.as_tensor("test", x), ops.as_tensor("test", t))

    if dtype is np.float64 and name in (
        "concat of channels",
        "shared input",
        "two uses",
        "constant output added",
    ):
        pytest.skip("its weights are float32")
    check(model, X.astype(dtype), T.astype(dtype))


def test_images_may_be_flat():
    check(lambda x, t: ops.linear(x, WEIGHT), X[0, 0], T)


def test_integers_pick_rows():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    plan = pydiff.compile(
        lambda x, t, rows: ops.gather(table, rows) + x, X[0, 0, :2, :3], T, rows=np.array([1, 3])
    )
    np.testing.assert_array_equal(plan(np.zeros((2, 3), np.float32), T, rows=[3, 0]), table[[3, 0]])
    with pytest.raises(ValueError, match="index 4 "):
        plan(np.zeros((2, 3), np.float32), T, rows=[4, 0])
    with pytest.raises(DtypeError, match="rows has dtype float64"):
        plan(np.zeros((2, 3), np.float32), T, rows=[0.0, 1.0])
    with pytest.raises(PlanError, match="takes x, t, rows"):
        plan(np.zeros((2, 3), np.float32), T)


# ---- what a plan would freeze


def outside(x, t):
    """Time features in plain NumPy."""
    return ops.multiply(x, np.sin(t)[:, None, None, None])


def test_numpy_between_input_and_output_is_found():
    with pytest.raises(PlanError, match=r"argument 'b' of multiply .* would freeze"):
        pydiff.compile(outside, X, T)


def test_a_number_computed_from_an_input_is_found():
    with pytest.raises(PlanError, match="would freeze"):
        pydiff.compile(lambda x, t: ops.multiply(x, float(t[0])), X, T)


def test_a_hardly_visible_dependence_is_found():
    """Far below rounding in the output, and still seen."""
    with pytest.raises(PlanError, match="would freeze"):
        pydiff.compile(lambda x, t: ops.add(x, np.float32(1e-12) * t[:, None, None, None]), X, T)


def test_branches_on_an_input_are_found():
    with pytest.raises(PlanError, match="different steps"):
        pydiff.compile(lambda x, t: ops.exp(x) if t[0] == 2 else ops.silu(x), X, T)


def test_an_output_that_no_call_made_is_refused():
    with pytest.raises(PlanError, match="comes from no call"):
        pydiff.compile(lambda x, t: np.tanh(x), X, T)


def test_random_numbers_and_training_are_refused():
    class Noisy(nn.Module):
        def __init__(self):
            self.dropout = nn.Dropout(0.5)

        def forward(self, x, t):
            return self.dropout(ops.as_tensor("test", x))

    with pytest.raises(PlanError, match=r"model\.eval\(\)"):
        pydiff.compile(Noisy(), X, T)
    check(lambda x, t: ops.exp(Noisy().eval()(x, t)))


def test_hidden_state_is_found():
    calls = []

    def model(x, t):
        calls.append(1)
        return ops.multiply(x, np.float32(len(calls)))

    with pytest.raises(PlanError, match="would freeze"):
        pydiff.compile(model, X, T)


def test_a_failed_trace_leaves_nothing_behind():
    def broken(x, t):
        ops.exp(x)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        pydiff.compile(broken, X, T)
    assert backend.registry.active() is backend.registry.implementation()
    np.testing.assert_array_equal(backend.exp(X), ops.exp(X).data)


# ---- how arrays are known


def test_memory_that_is_used_again_is_another_array():
    """Results that nobody holds are freed and their addresses come back within one trace."""

    def model(x, t):
        for _ in range(50):
            x = ops.exp(ops.tanh(x)) * np.float32(0.5)
        return x

    graph, _ = trace(model, {"x": X, "t": T}, {})
    assert len(graph.nodes) == 150
    check(model)


def test_constant_parts_are_folded():
    scale = pydiff.Tensor(np.float32(2.0))
    graph, _ = trace(lambda x, t: x * ops.exp(ops.negative(scale)), {"x": X, "t": T}, {})
    assert [node.op for node in graph.nodes] == ["multiply"]


def test_a_trace_concerns_its_own_thread_only():
    from threading import Thread

    seen = []

    def model(x, t):
        thread = Thread(target=lambda: seen.append(backend.exp(X)))
        thread.start()
        thread.join()
        return ops.exp(x)

    graph, _ = trace(model, {"x": X, "t": T}, {})
    assert len(graph.nodes) == 1 and len(seen) == 1
