"""The engine end to end: U-Net, training step, samplers, memory. `pytest benchmarks`."""

from __future__ import annotations

import numpy as np
import pytest

import pydiff
from benchmarks import memory
from benchmarks.models import MODELS
from pydiff.autograd import record, rule
from pydiff.samplers import SAMPLERS

WORK = [("small", 1), ("small", 64), ("cifar10", 1), ("cifar10", 16)]


def model_and_inputs(name: str, batch: int):
    config = MODELS[name]
    shape = (batch, config["sample_size"], config["sample_size"], config["in_channels"])
    return pydiff.nn.UNet2D(**config), pydiff.random.normal(0, shape)


def forward(model, x, t):
    """A call (x, t): the compiled plan where there is one, as `Pipeline` and peers have it."""
    if hasattr(pydiff, "compile"):
        return pydiff.compile(model.eval(), x, t)

    def call(x, t):
        with pydiff.no_grad():
            return model(x, t).data

    return call


@pytest.mark.parametrize(("name", "batch"), WORK)
def test_forward(benchmark, report_rate, name, batch):
    model, x = model_and_inputs(name, batch)
    benchmark.group = "forward"
    benchmark(forward(model, x, 500), x, 500)
    report_rate("images/s", batch)


@pytest.mark.parametrize(("name", "batch"), WORK)
def test_training_step(benchmark, report_rate, name, batch):
    model, x = model_and_inputs(name, batch)
    optimizer = pydiff.nn.AdamW(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        pydiff.ops.mse_loss(model(x, 500), x).backward()
        optimizer.step()

    benchmark.group = "training step"
    benchmark(step)
    report_rate("images/s", batch)


@rule("nothing", "x, weight", saves="x, weight")
def nothing_backward(ctx, dy):
    _ = ctx.saved
    return dy, None


@pytest.mark.parametrize("elements", [4, 4096, 1 << 20])
@pytest.mark.parametrize("saved", [0, 1, 2])
def test_tape(benchmark, report_rate, saved, elements):
    """Recording 1000 ops that compute nothing, and the walk back; so many saved arrays each."""
    leaf = pydiff.Tensor(np.zeros(elements, np.float32), requires_grad=True)
    weight, dy = pydiff.Tensor(leaf.data.copy()), leaf.data.copy()

    def run():
        x = leaf
        for _ in range(1000):
            x = record("nothing", leaf.data, (x, weight), (x, weight)[:saved])
        x.backward(dy)
        leaf.zero_grad()

    benchmark.group = "tape"
    benchmark(run)
    report_rate("ops/s", 1000)


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler(benchmark, report_rate, sampler, steps):
    model, x = model_and_inputs("small", 16)
    denoiser = pydiff.Denoiser(forward(model, x, 500), pydiff.schedules.linear(1000))
    benchmark.group = f"sample in {steps} steps"
    benchmark(pydiff.sample, denoiser, x.shape, sampler=sampler, steps=steps)
    report_rate("images/s", len(x))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_alone(benchmark, sampler):
    """The loop around a network that costs nothing."""
    denoiser = pydiff.Denoiser(lambda x, t: x, pydiff.schedules.linear(1000))
    benchmark.group = "sample without a network"
    benchmark(pydiff.sample, denoiser, (16, 32, 32, 3), sampler=sampler, steps=10)


@pytest.mark.parametrize("name", MODELS)
def test_memory(benchmark, tmp_path, name):
    """A fresh process that loads a pipeline and draws 16 images in 5 steps; its peak, in MB."""
    files = {"pydiff": memory.write_pipeline(tmp_path, name, 16)}
    benchmark.group = "memory"
    peaks, _ = benchmark.pedantic(memory.measure, (tmp_path, files), rounds=1)
    benchmark.extra_info["peak_MB"] = round(peaks["pydiff"], 1)
