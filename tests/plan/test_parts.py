"""A batch in parts, one for each thread: the bits of the whole, and only where that is safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from unet_cases import SMALL, Case

import pydiff
from pydiff import _native, nn, ops
from pydiff.plan.build import LEAST_SHARE


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = pydiff.num_threads()
    pydiff.set_num_threads(2)
    yield
    pydiff.set_num_threads(before)


def whole(plan: Any) -> Any:
    return replace(plan, _parts=None)


@pytest.mark.parametrize("algorithm", ["auto", "exact"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("times", ["one", "each"])
def test_parts_have_the_bits_of_the_whole(
    build: Any, algorithm: str, dtype: type, times: str, rng: np.random.Generator
) -> None:
    model = build(Case(SMALL | {"num_class_embeds": 4}), dtype)
    x = rng.standard_normal((24, 12, 20, model.config["in_channels"])).astype(dtype)
    t = 500.0 if times == "one" else rng.uniform(0, 999, 24).astype(np.float32)
    labels = rng.integers(0, 4, 24)
    plan = pydiff.compile(model, x, t, conv_algorithm=algorithm, class_labels=labels)
    assert plan._parts is not None and plan._parts.count == 2
    expected = whole(plan)(x, t, class_labels=labels)
    np.testing.assert_array_equal(plan(x, t, class_labels=labels), expected)
    pydiff.set_num_threads(3)  # not those that it was compiled for
    np.testing.assert_array_equal(plan(x, t, class_labels=labels), expected)


def test_another_batch_is_cut_as_well(small: nn.UNet2D, rng: np.random.Generator) -> None:
    x = rng.standard_normal((16, 16, 16, small.config["in_channels"])).astype(np.float32)
    plan = pydiff.compile(small, x[:1], 7.0).for_batch(16)
    assert plan._parts is not None
    np.testing.assert_array_equal(plan(x, 7.0), whole(plan)(x, 7.0))


@pytest.mark.parametrize("images, threads", [(2 * LEAST_SHARE - 2, 2), (17, 2), (32, 1), (32, 8)])
def test_small_or_uneven_shares_stay_together(small: nn.UNet2D, images: int, threads: int) -> None:
    pydiff.set_num_threads(threads)
    x = np.zeros((images, 16, 16, small.config["in_channels"]), np.float32)
    assert pydiff.compile(small, x, 7.0)._parts is None


def test_models_that_may_mix_images_stay_together(rng: np.random.Generator) -> None:
    def model(x: Any, t: Any) -> Any:
        return x - ops.mean(x, axis=0, keepdims=True)

    x = rng.standard_normal((32, 4, 4, 2)).astype(np.float32)
    plan = pydiff.compile(model, x, 0.5)
    assert plan._parts is None
    np.testing.assert_allclose(plan(x, 0.5), x - x.mean(0), atol=1e-6)


def test_memory_known_before_covers_the_parts(small: nn.UNet2D) -> None:
    x = np.zeros((16, 16, 16, small.config["in_channels"]), np.float32)
    plan = pydiff.compile(small, x, 7.0)
    parts: Any = plan._parts
    assert plan.arena_bytes >= parts.count * parts.program.arena_bytes


@pytest.mark.parametrize("count, step", [(0, 64), (3, 64), (2, -64), (2, 128), (5000, 0)])
def test_parts_never_leave_the_arrays(small: nn.UNet2D, count: int, step: int) -> None:
    x = np.zeros((16, 16, 16, small.config["in_channels"]), np.float32)
    plan = pydiff.compile(small, x, 7.0)
    parts: Any = plan._parts
    arrays = [*plan._signature.arrays(x, 7.0, {}), np.empty(plan.output_shape, np.float32)]
    steps = [s + step - 64 for s in parts.steps] if count == 2 else parts.steps
    with pytest.raises(ValueError, match="parts do not make up the whole"):
        plan._program.native.run_parts(arrays, parts.program.native, count, steps)
    with pytest.raises(ValueError, match="parts do not make up the whole"):
        plan._program.native.run_parts(arrays, parts.program.native, 2, parts.steps[:-1])
    assert _native.num_threads() == 2
