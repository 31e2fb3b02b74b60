"""PyTorch with diffusers' U-Net: eager in both layouts, and compiled by Inductor.

torch.compile runs the channels_last model. For inference its weights are frozen, so that Inductor
packs them for oneDNN beforehand: faster than the default on the larger network.
AdamW is the fastest of its three implementations, found on the model's own parameters.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pydiff

from ...timing import Run, seconds
from .base import (
    FORWARD,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Engine,
    channels_first,
    channels_last,
    inputs,
)

PACKAGES = ("torch", "diffusers")
AVX2 = {  # oneDNN, ATen and MKL read these when they are loaded
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def load(folder: Path, layout: str = "contiguous_format") -> Any:
    """diffusers' UNet2DModel of the folder in that memory format, for pydiff's threads."""
    import torch
    from diffusers import UNet2DModel

    torch.set_num_threads(pydiff.num_threads())
    model = UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False)
    return model.to(memory_format=getattr(torch, layout))


def tensors(folder: Path, batch: int, layout: str = "contiguous_format") -> list[Any]:
    """x, t and target of `inputs` as (N, C, H, W) tensors in that memory format."""
    import torch

    x, t, target = inputs(folder, batch)
    images = [
        torch.from_numpy(channels_first(a)).contiguous(memory_format=getattr(torch, layout))
        for a in (x, target)
    ]
    return [images[0], torch.from_numpy(t), images[1]]


def _prepare(layout: str, compiled: bool, folder: Path, task: str, batch: int) -> Run:
    model = load(folder, layout).train(task != FORWARD)
    call = _compile(model, task) if compiled else model
    x, t, target = tensors(folder, batch, layout)
    return _forward(call, x, t) if task == FORWARD else _training(model, call, x, t, target)


def _compile(model: Any, task: str) -> Any:
    import torch
    from torch._inductor import config

    torch._dynamo.reset()  # the models of other items count as recompilations
    config.freezing = task == FORWARD
    if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        config.cpp.simdlen = 256
    return torch.compile(model, dynamic=False)


def _forward(call: Any, x: Any, t: Any) -> Run:
    import torch

    def forward() -> np.ndarray:
        with torch.no_grad():
            return channels_last(call(x, t, return_dict=False)[0].numpy())

    return forward


def _training(model: Any, call: Any, x: Any, t: Any, target: Any) -> Run:
    import torch

    optimizer = _fastest_adamw(torch, model)

    def step() -> np.ndarray:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(call(x, t, return_dict=False)[0], target)
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

    return step


def _fastest_adamw(torch: Any, model: Any) -> Any:
    times = {}
    for kind in ("fused", "foreach", None):
        options = {"foreach": False} if kind is None else {kind: True}
        trial = torch.optim.AdamW(model.parameters(), lr=0.0, **options)  # changes no weight
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        trial.step()  # allocates the moments
        times[tuple(options.items())] = min(seconds(trial.step) for _ in range(3))
        trial.zero_grad()
    options = dict(min(times, key=times.__getitem__))
    return torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, **options
    )


ENGINES = tuple(
    Engine(name, partial(_prepare, layout, compiled), PACKAGES, PACKAGES, avx2=True)
    for name, layout, compiled in (
        ("torch", "contiguous_format", False),
        ("torch channels_last", "channels_last", False),
        ("torch.compile", "channels_last", True),
    )
)
