"""MNN from the ONNX file. Its precision "high" is float32 throughout.

The converter's command line installs a package and reports to its makers when it is imported, so
the function behind it is called instead, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import pydiff

from ...timing import Run
from .base import FORWARD, Engine, Unable, channels_first, channels_last, inputs
from .onnx_file import PACKAGES, onnx_file

CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


def _prepare(folder: Path, task: str, batch: int) -> Run | None:
    if task != FORWARD:
        return None
    import MNN

    path = _converted(folder, batch)
    settings = {"backend": "CPU", "numThread": pydiff.num_threads(), "precision": "high"}
    runtime = MNN.nn.create_runtime_manager((settings,))
    net = MNN.nn.load_module_from_file(str(path), ["x", "t"], ["y"], runtime_manager=runtime)
    x, t, _ = inputs(folder, batch)
    images = channels_first(x)
    feed = [
        MNN.expr.const(images, list(images.shape), MNN.expr.NCHW, MNN.expr.float),
        MNN.expr.const(t.astype(np.int32), list(t.shape), MNN.expr.NCHW, MNN.expr.int),
    ]

    def forward() -> np.ndarray:
        y = MNN.expr.convert(net.forward(feed)[0], MNN.expr.NCHW).read()
        return channels_last(y.reshape(images.shape))

    return forward


def _converted(folder: Path, batch: int) -> Path:
    path = folder / f"batch{batch}.mnn"
    source = onnx_file(folder, batch)
    arguments = ["-f", "ONNX", "--modelFile", source, "--MNNModel", path, "--bizCode", "pydiff"]
    subprocess.run([sys.executable, "-c", CONVERT, *arguments], check=False)
    if not path.exists():
        raise Unable("its converter does not take the model")
    return path


ENGINES = (Engine("MNN", _prepare, ("MNN", *PACKAGES), ("MNN", "_tools", *PACKAGES)),)
