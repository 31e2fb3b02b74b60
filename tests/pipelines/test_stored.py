"""A pipeline from a folder holds its weights once, packed; the network comes when asked for."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_unet import UNET

from pydiff import schedules
from pydiff.errors import CheckpointError
from pydiff.nn import UNet2D
from pydiff.pipelines import Pipeline

pytest.importorskip("pydiff._native", reason="the native module is not built")


@pytest.fixture
def folder(tmp_path):
    model = UNet2D(seed=5, num_class_embeds=3, **UNET)
    Pipeline(model, schedules.cosine(40), spacing="trailing").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_images_are_those_of_the_network(folder):
    pipeline = Pipeline.from_pretrained(folder)
    drawn = pipeline(5, 3)
    assert pipeline._stored is not None
    again = Pipeline.from_pretrained(folder)
    np.testing.assert_allclose(drawn, again(5, 3, compile=False), atol=1e-5)
    assert again._stored is None
    np.testing.assert_array_equal(again(5, 3), drawn)


def test_the_network_has_its_weights_when_asked_for(folder):
    pipeline = Pipeline.from_pretrained(folder)
    pipeline(2, 2)
    expected = UNet2D.from_pretrained(folder / "unet").state_dict()
    for name, array in pipeline.model.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])
    assert pipeline.model_hash() == Pipeline.from_pretrained(folder).model_hash()


def test_the_folder_may_go(folder):
    pipeline = Pipeline.from_pretrained(folder)
    shutil.rmtree(folder)
    assert np.isfinite(pipeline(2, 2)).all()
    assert np.isfinite(pipeline.model.conv_in.weight.data).all()


def test_weights_that_do_not_fit_are_refused_at_once(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    arrays = load_file(path)
    save_file({k: v for k, v in arrays.items() if k != "conv_in.bias"}, path)
    with pytest.raises(CheckpointError, match=r"missing \(1\):\n  conv_in\.bias"):
        Pipeline.from_pretrained(folder)
    save_file(arrays | {"conv_in.bias": np.zeros(8, np.int64)}, path)
    with pytest.raises(CheckpointError, match=r"conv_in\.bias has dtype I64"):
        Pipeline.from_pretrained(folder)


def test_changes_to_the_network_count(folder):
    pipeline = Pipeline.from_pretrained(folder)
    before = pipeline(2, 2)
    pipeline.model.conv_out.bias.data += 1
    assert np.abs(pipeline(2, 2) - before).max() > 0.01
