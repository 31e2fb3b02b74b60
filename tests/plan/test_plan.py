"""A plan computes what its model computes, in any mode, from any thread, and says what it is."""

from __future__ import annotations

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from unet_cases import CASES, LARGE, inputs, largest

import pydiff
from pydiff import config, schedules
from pydiff.errors import ConfigError, DtypeError, PlanError, ShapeError

X = np.random.RandomState(3).standard_normal((4, 8, 8, 3)).astype(np.float32)
T = np.array([3, 741, 20, 999])


def given(case, dtype):
    """x, t and keyword inputs of a case."""
    arrays = inputs(case)
    labels = arrays["class_labels"]
    return (
        arrays["x"].astype(dtype),
        arrays["t"],
        {} if labels is None else {"class_labels": labels},
    )


def eager(model, x, t, **labels):
    with pydiff.no_grad():
        return model(x, t, **labels).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_a_plan_equals_its_model(name, dtype, build):
    model = build(CASES[name], dtype)
    x, t, labels = given(CASES[name], dtype)
    plan = pydiff.compile(model, np.zeros_like(x), t, **labels)
    y = plan(x, t, **labels)
    assert y.dtype == dtype and y.shape == plan.output_shape
    # one rounding apart at most in the activation of the time embedding, which a sum of
    # thousands of terms carries to the output
    assert largest(y, eager(model, x, t, **labels)) < 40 * np.finfo(dtype).eps
    np.testing.assert_array_equal(plan(x, t, **labels), y)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_image_i_does_not_depend_on_the_batch(labelled, n):
    together = pydiff.compile(labelled, X, T, class_labels=0)(X, T, class_labels=[0, 1, 2, 3])
    plan = pydiff.compile(labelled, X[:n], T[:n], class_labels=0)
    alone = plan(X[:n], T[:n], class_labels=np.arange(n))
    np.testing.assert_allclose(alone, together[:n], rtol=0, atol=2e-5)


def test_exact_plans_multiply_directly_and_give_the_same_bits_in_any_batch(small):
    plan = pydiff.compile(small, X, T, conv_algorithm="exact")
    assert {i.algorithm for i in plan.instructions} == {"", "direct"}
    assert config.conv_algorithm() == "auto"
    alone = pydiff.compile(small, X[:1], T[:1], conv_algorithm="exact")
    np.testing.assert_array_equal(alone(X[2:3], T[2]), plan(X, T)[2:3])
    with pytest.raises(ConfigError, match="conv_algorithm"):
        pydiff.compile(small, X, T, conv_algorithm="fast")


def test_numbers_and_other_dtypes_are_taken_as_the_model_takes_them(small):
    plan = pydiff.compile(small, X, 5)
    expected = plan(X, np.full(4, 500))
    for t in (500, 500.0, np.int32(500), np.full(4, 500.0), np.array([500])):
        np.testing.assert_array_equal(plan(X, t), expected)
    np.testing.assert_array_equal(plan(X.astype(np.float64), 500), expected)
    np.testing.assert_array_equal(plan(np.asfortranarray(X), 500), expected)
    np.testing.assert_array_equal(plan(pydiff.Tensor(X), 500), expected)
    np.testing.assert_allclose(plan(X, 2.5), eager(small, X, 2.5), atol=2e-5)


def test_a_denoiser_takes_a_plan(small):
    plan = pydiff.compile(small, X, 1)
    sampled = [
        pydiff.sample(pydiff.Denoiser(f, schedules.cosine(50)), X.shape, steps=5, x_init=X * 1.0)
        for f in (plan, small)
    ]
    assert largest(*sampled) < 1e-4
    wide = pydiff.Denoiser(plan, schedules.cosine(50))
    assert pydiff.sample(wide, X.shape, steps=3, x_init=X.astype(np.float64)).dtype == np.float64


# ---- errors


def test_wrong_inputs_are_refused(small):
    plan = pydiff.compile(small, X, T)
    with pytest.raises(ShapeError, match=r"for_batch.*compile"):
        plan(X[:2], T[:2])
    with pytest.raises(ShapeError, match="for_batch"):
        plan(np.zeros((4, 16, 16, 3), np.float32), T)
    with pytest.raises(ShapeError, match="expected"):
        plan(X[..., :2], T)
    with pytest.raises(ShapeError, match="t has shape"):
        plan(X, T[:3])
    with pytest.raises(DtypeError, match="x has dtype int64"):
        plan(X.astype(int), T)
    with pytest.raises(ConfigError, match="finite"):
        plan(X, np.nan)
    with pytest.raises(ConfigError, match="no classes"):
        plan(X, T, class_labels=0)


def test_labels_are_checked_in_every_call(labelled):
    plan = pydiff.compile(labelled, X, T, class_labels=0)
    for labels in (4, [0, 1, 2, -1], 2**40):
        with pytest.raises(ConfigError, match="allowed: 0 to 3"):
            plan(X, T, class_labels=labels)
    with pytest.raises(ConfigError, match="class_labels is missing"):
        plan(X, T)
    with pytest.raises(DtypeError, match="integers"):
        plan(X, T, class_labels=0.5)


def test_the_native_plan_trusts_no_index(labelled):
    plan = pydiff.compile(labelled, X, T, class_labels=0)
    arrays = plan._signature.arrays(X, T, {"class_labels": 0})
    arrays[2][1] = 4
    with pytest.raises(ValueError, match=r"index 4 at position 1 is outside \[0, 4\)"):
        plan._run(arrays, None)
    with pytest.raises(ValueError, match="wrong size"):
        plan._run([arrays[0][:2], *arrays[1:]], None)
    with pytest.raises(TypeError, match="float32"):
        plan._run([arrays[0].astype(np.float64), *arrays[1:]], None)


def test_empty_inputs_are_refused(small):
    with pytest.raises(ShapeError, match="holds nothing"):
        pydiff.compile(small, X[:0], 1)


def test_the_reference_backend_is_refused(small):
    with pydiff.backend.use("reference"), pytest.raises(PlanError, match="'reference'"):
        pydiff.compile(small, X, T)


# ---- a snapshot that cannot change


def test_a_plan_is_a_snapshot_of_the_weights(small):
    plan = pydiff.compile(small, X, T)
    before = plan(X, T)
    for parameter in small.parameters():
        parameter.data *= 2
    np.testing.assert_array_equal(plan(X, T), before)
    assert largest(pydiff.compile(small, X, T)(X, T), before) > 0.1
    del small
    gc.collect()
    np.testing.assert_array_equal(plan(X, T), before)


def test_a_plan_cannot_be_changed(small):
    plan = pydiff.compile(small, X, T)
    with pytest.raises(AttributeError):
        plan.dtype = np.float64
    with pytest.raises(AttributeError):
        plan.instructions[0].flops = 1
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(plan)


def test_the_result_is_fresh_memory(small):
    plan = pydiff.compile(small, X, T)
    first = plan(X, T)
    kept = first.copy()
    plan(-X, T)
    np.testing.assert_array_equal(first, kept)


# ---- other batch sizes


def test_plans_of_other_batches_share_the_weights(labelled):
    plan = pydiff.compile(labelled, X, T, class_labels=0)
    pair = plan.for_batch(2)
    assert pair.batch == 2 and plan.for_batch(4) is plan
    labels = {"class_labels": [3, 1]}
    expected = eager(labelled, X[:2], T[:2], **labels)
    assert largest(pair(X[:2], T[:2], **labels), expected) < 1e-5

    def addresses(p):
        keep = p._program.weights
        return {array.ctypes.data for array in keep if array.nbytes > 64 * 4}

    assert addresses(pair) == addresses(plan)
    for n in (0, -1, True, 2.0):
        with pytest.raises(ConfigError, match="for_batch"):
            plan.for_batch(n)


def test_no_plan_of_another_batch_once_the_weights_have_changed(small):
    plan = pydiff.compile(small, X, T)
    small.conv_in.weight.data[0, 0, 0, 0] += 1  # in place, told nobody
    with pytest.raises(PlanError, match="weights have changed"):
        plan.for_batch(2)


# ---- what it says of itself


def test_flops_of_the_cifar10_network(build):
    """12.11 GFLOP in convolutions and linear layers, and 0.34 in the products of attention."""
    case = LARGE["CIFAR-10 at full size"]
    plan = pydiff.compile(build(case), *given(case, np.float32)[:2])
    attention = sum(i.flops for i in plan.instructions if i.op == "attention")
    assert (plan.flops - attention) / 1e9 == pytest.approx(12.11, rel=0.001)
    assert attention == 4 * (5 * 256**2 + 16**2) * 256
    assert plan.peak_bytes == plan.arena_bytes + plan.weight_bytes
    ops = "attention contiguous conv2d group_norm matmul sinusoids upsample_nearest"
    assert " ".join(sorted({i.op for i in plan.instructions})) == ops


def test_a_plan_prints_itself(small):
    plan = pydiff.compile(small, X, T)
    lines = str(plan).splitlines()
    assert len(lines) == len(plan.instructions) + 2
    assert lines[0].split() == ["op", "output", "algorithm", "MFLOP", "KB", "with"]
    assert lines[-1].startswith(f"{len(plan.instructions)} instructions, ")
    assert "x (4, 8, 8, 3)" in repr(plan)


def test_profile_times_every_instruction(small):
    plan = pydiff.compile(small, X, T)
    timings = plan.profile(X, T, repeats=2)
    assert [t.instruction for t in timings] == list(plan.instructions)
    assert all(t.seconds > 0 and (t.gflops > 0) == (t.instruction.flops > 0) for t in timings)


# ---- threads


def test_threads_share_one_plan(labelled):
    plan = pydiff.compile(labelled, X, T, class_labels=0)
    jobs = [(X + i, T, i % 4) for i in range(16)]
    alone = [plan(x, t, class_labels=label) for x, t, label in jobs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            together = pool.map(lambda job: plan(job[0], job[1], class_labels=job[2]), jobs)
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_array_equal(a, b)


def test_threads_compile_side_by_side(small):
    expected = pydiff.compile(small, X, T)(X, T)
    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(lambda _: pydiff.compile(small, X, T), range(4)))
    for plan in plans:
        np.testing.assert_array_equal(plan(X, T), expected)


@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
def test_a_plan_keeps_the_instruction_set_it_was_compiled_for(small, isa):
    from pydiff import _native

    if isa not in _native.supported_isas():
        pytest.skip(f"{isa} cannot run here")
    before = _native.isa()
    try:
        _native.set_isa(isa)
        plan = pydiff.compile(small, X, T)
        y = plan(X, T)
    finally:
        _native.set_isa(before)
    np.testing.assert_array_equal(plan(X, T), y)
