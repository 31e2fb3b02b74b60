"""Pipelines sample by compiled plans: the same images, plans kept by batch size, never stale."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_unet import UNET

import pydiff
from pydiff import backend, schedules
from pydiff.nn import UNet2D
from pydiff.pipelines import Pipeline
from pydiff.pipelines import plans as kept_plans

pytest.importorskip("pydiff._native", reason="the native module is not built")


@pytest.fixture
def pipeline():
    model = UNet2D(seed=2, num_class_embeds=4, **UNET)
    return Pipeline(model, schedules.cosine(40), spacing="trailing")


@pytest.fixture
def compiled(monkeypatch):
    """The shapes that plans were compiled for, as they are compiled."""
    shapes = []

    def compile(model, x, t, **inputs):
        shapes.append(x.shape)
        return pydiff.compile(model, x, t, **inputs)

    monkeypatch.setattr(kept_plans, "compile", compile)
    return shapes


def test_images_are_those_of_the_model_itself(pipeline):
    for sampler in ("ddim", "ddpm"):
        compiled, eager = (pipeline(3, 5, sampler, compile=flag) for flag in (True, False))
        np.testing.assert_allclose(compiled, eager, atol=1e-5)


def test_a_plan_is_compiled_once_and_others_share_its_weights(pipeline, compiled):
    for n in (3, 3, 2, 5, 3):
        pipeline(n, 2)
    assert compiled == [(1, 8, 8, 1)]  # says how many images fit into 64 MiB
    pipeline(5, 2, batch_size=2)
    assert compiled == [(1, 8, 8, 1)]


def test_changed_weights_are_compiled_anew(pipeline, compiled):
    """Bounds: rounding, which large weights and three steps amplify, and a real change."""
    before = pipeline(2, 3)
    optimizer = pydiff.nn.AdamW(pipeline.model.parameters(), lr=0.1)
    for change in ("assigned", "written", "stepped", "loaded"):
        weight = pipeline.model.conv_in.weight
        if change == "assigned":
            weight.data = weight.data * 2
        elif change == "written":
            weight.data[...] *= 2
        elif change == "stepped":
            weight.grad = np.ones_like(weight.data)
            optimizer.step()
        else:
            state = pipeline.model.state_dict()
            pipeline.model.load_state_dict({k: v * 1.1 for k, v in state.items()})
        after = pipeline(2, 3)
        np.testing.assert_allclose(after, pipeline(2, 3, compile=False), atol=1e-3)
        assert np.abs(after - before).max() > 1e-2
        before = after
    assert len(compiled) == 5
    pipeline.model = UNet2D(seed=9, num_class_embeds=4, **UNET).eval()
    np.testing.assert_allclose(pipeline(2, 3), pipeline(2, 3, compile=False), atol=1e-3)


def test_only_a_few_batch_sizes_are_kept(pipeline):
    for n in range(1, 8):
        pipeline(n, 1)
    assert len(pipeline._plans._plans) == 4


def test_without_kernels_the_model_is_called(pipeline, compiled):
    with backend.use("reference"):
        images = pipeline(1, 2)
    assert compiled == []
    np.testing.assert_allclose(images, pipeline(1, 2), atol=1e-4)


def test_a_model_that_cannot_be_compiled_is_called_with_a_warning():
    model = UNet2D(seed=2, dropout=0.5, **UNET)
    pipeline = Pipeline(model, schedules.cosine(40), spacing="trailing")
    model.train()  # now it draws random numbers
    with pytest.warns(UserWarning, match="without a plan"):
        pipeline(1, 2)
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(pipeline(1, 2)).all()


def test_the_setting_for_convolutions_is_heeded(pipeline):
    before = pydiff.config.conv_algorithm()
    try:
        pipeline(1, 1)
        pydiff.config.set_conv_algorithm("exact")
        pipeline(1, 1)
    finally:
        pydiff.config.set_conv_algorithm(before)
    kept = list(pipeline._plans._plans.values())
    assert len(kept) == 2
    assert {i.algorithm for i in kept[1].instructions} == {"", "direct"}


def test_threads_wait_for_the_plan_that_one_of_them_compiles(pipeline, compiled):
    with ThreadPoolExecutor(6) as pool:
        images = list(pool.map(lambda _: pipeline(2, 3), range(6)))
    assert compiled == [(1, 8, 8, 1)]
    for other in images[1:]:
        np.testing.assert_array_equal(other, images[0])
