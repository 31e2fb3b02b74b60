"""ncnn through TorchScript and pnnx, weights and arithmetic in float32.

Its networks know no batch: images go through one by one, each with all threads.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

import pydiff

from ...timing import Run
from .base import FORWARD, Engine, Unable, channels_first, channels_last, inputs
from .onnx_file import noise_predictor
from .pytorch import PACKAGES, tensors


def _prepare(folder: Path, task: str, batch: int) -> Run | None:
    if task != FORWARD:
        return None
    import ncnn

    net = _network(folder)
    x, t, _ = inputs(folder, batch)
    images, times = channels_first(x), t.astype(np.float32)[:, None]

    def one(image: np.ndarray, time: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))  # borrows the memory of the array
        extractor.input("in1", ncnn.Mat(time))
        return np.array(extractor.extract("out0")[1])

    return lambda: channels_last(
        np.stack([one(image, time) for image, time in zip(images, times, strict=True)])
    )


def _network(folder: Path) -> object:
    import ncnn

    param = folder / "torchscript.ncnn.param"
    if not param.exists():
        _convert(folder)
    net = ncnn.Net()
    net.opt.num_threads = pydiff.num_threads()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    net.opt.use_vulkan_compute = False
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise Unable("it does not load the converted model")
    return net


def _convert(folder: Path) -> None:
    """A float t, as ncnn has no cast from integers; numbers below 2^24 are exact in float32."""
    import pnnx
    import torch

    path = folder / "torchscript.pt"
    x, t, _ = tensors(folder, 1)
    t = t.float()
    with torch.no_grad():
        torch.jit.trace(noise_predictor(folder), (x, t), check_trace=False).save(str(path))
    shape = ",".join(map(str, x.shape))
    arguments = [f"inputshape=[{shape}]f32,[1]f32", "fp16=0"]
    subprocess.run([pnnx.EXEC_PATH, path.name, *arguments], cwd=folder, check=False)
    if not (folder / "torchscript.ncnn.param").exists():
        raise Unable("pnnx does not take the model")


_NEEDS = ("ncnn", "pnnx", *PACKAGES)
ENGINES = (Engine("ncnn", _prepare, _NEEDS, _NEEDS),)
