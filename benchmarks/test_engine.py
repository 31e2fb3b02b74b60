"""The engine end to end: U-Net forward, training step, samplers. `pytest benchmarks`."""

from __future__ import annotations

import pytest

import pydiff
from benchmarks.models import MODELS
from pydiff.samplers import SAMPLERS

WORK = [("small", 1), ("small", 64), ("cifar10", 1), ("cifar10", 16)]


def model_and_inputs(name: str, batch: int):
    config = MODELS[name]
    shape = (batch, config["sample_size"], config["sample_size"], config["in_channels"])
    return pydiff.nn.UNet2D(**config), pydiff.random.normal(0, shape)


def forward(model):
    def call(x, t):
        with pydiff.no_grad():
            return model(x, t).data

    return call


@pytest.mark.parametrize(("name", "batch"), WORK)
def test_forward(benchmark, name, batch):
    model, x = model_and_inputs(name, batch)
    benchmark.group = "forward"
    benchmark.extra_info["images"] = batch
    benchmark(forward(model), x, 500)


@pytest.mark.parametrize(("name", "batch"), WORK)
def test_training_step(benchmark, name, batch):
    model, x = model_and_inputs(name, batch)
    optimizer = pydiff.nn.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        pydiff.ops.mse_loss(model(x, 500), x).backward()
        optimizer.step()

    benchmark.group = "training step"
    benchmark.extra_info["images"] = batch
    benchmark(step)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ten_steps_of_a_sampler(benchmark, sampler):
    model, x = model_and_inputs("small", 16)
    denoiser = pydiff.Denoiser(forward(model), pydiff.schedules.linear(1000))
    benchmark.group = "sample"
    benchmark.extra_info["images"] = len(x)
    benchmark(pydiff.sample, denoiser, x.shape, sampler=sampler, steps=10)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_alone(benchmark, sampler):
    """The loop around a network that costs nothing."""
    denoiser = pydiff.Denoiser(lambda x, t: x, pydiff.schedules.linear(1000))
    benchmark.group = "sample without a network"
    benchmark(pydiff.sample, denoiser, (16, 32, 32, 3), sampler=sampler, steps=10)
