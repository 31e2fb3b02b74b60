"""ONNX Runtime, all graph optimisations on, its threads spinning as it ships them."""

from __future__ import annotations

from pathlib import Path

import pydiff

from ...timing import Run
from .base import FORWARD, Engine, channels_first, channels_last, inputs
from .onnx_file import PACKAGES, onnx_file


def _prepare(folder: Path, task: str, batch: int) -> Run | None:
    if task != FORWARD:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = pydiff.num_threads()
    path = str(onnx_file(folder, batch))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x, t, _ = inputs(folder, batch)
    feed = {"x": channels_first(x), "t": t}
    return lambda: channels_last(session.run(None, feed)[0])


ENGINES = (
    Engine(
        "ONNX Runtime",
        _prepare,
        ("onnxruntime", *PACKAGES),
        ("onnxruntime", *PACKAGES),
    ),
)
