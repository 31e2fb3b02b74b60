"""Training and sampling give the same bits for any number of threads."""

from __future__ import annotations

import hashlib

import pytest
from training_runs import UNET, fingerprint, make_trainer

from pydiff import backend, config, schedules
from pydiff.nn import UNet2D
from pydiff.pipelines import Pipeline

THREADS = (1, 2, 3, 8)


@pytest.fixture(autouse=True)
def _restore():
    pytest.importorskip("pydiff._native")
    before = config.num_threads()
    with backend.use("cpu"):
        yield
    config.set_num_threads(before)


def for_each_thread_count(function):
    results = {}
    for count in THREADS:
        config.set_num_threads(count)
        results[count] = function()
    return results


def test_twenty_training_steps():
    def train():
        # channels and batch that no block size divides, so that every kernel meets its tails
        trainer = make_trainer(
            steps=20, batch_size=7, unet={"block_out_channels": [12, 20], "sample_size": 12}
        )
        trainer.train()
        return fingerprint(trainer)

    results = for_each_thread_count(train)
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_samples(sampler):
    unet = {**UNET, "block_out_channels": [32, 64], "sample_size": 16, "layers_per_block": 2}
    pipeline = Pipeline(UNet2D(seed=1, **unet), schedules.cosine(), spacing="trailing")

    def draw():
        images = pipeline(5, 6, sampler, seed=11)
        return hashlib.sha256(images.tobytes()).hexdigest()

    results = for_each_thread_count(draw)
    assert len(set(results.values())) == 1, results


def test_a_large_convolution_step():
    """Sizes at which every kernel splits its work."""

    def train():
        import numpy as np

        unet = {"block_out_channels": [32, 64], "sample_size": 32, "num_class_embeds": None}
        images = np.linspace(-1, 1, 8 * 32 * 32, dtype=np.float32).reshape(8, 32, 32, 1)
        trainer = make_trainer(
            data=images, unet=unet, steps=2, warmup_steps=0, batch_size=8, grad_accumulation=1,
            class_conditional=False,
        )  # fmt: skip
        trainer.train()
        return fingerprint(trainer)

    results = for_each_thread_count(train)
    assert len(set(results.values())) == 1, results
