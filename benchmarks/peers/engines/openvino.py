"""OpenVINO for latency, in float32; bfloat16 beside it for information, as it is another precision.

Inputs and outputs are shared with NumPy, not copied. ONEDNN_MAX_CPU_ISA=AVX2 takes its convolutions
and matrix products to AVX2 (seen in the primitive types of `get_runtime_model`); its own
element-wise kernels stay on AVX-512, which the AVX2 table leaves it as an advantage.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pydiff

from ...timing import Run
from .base import FORWARD, Engine, channels_first, channels_last, inputs
from .onnx_file import PACKAGES, onnx_file


def _prepare(precision: str, folder: Path, task: str, batch: int) -> Run | None:
    if task != FORWARD:
        return None
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": pydiff.num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.Core().compile_model(str(onnx_file(folder, batch)), "CPU", options)
    request = model.create_infer_request()
    x, t, _ = inputs(folder, batch)
    feed = {"x": channels_first(x), "t": t}
    return lambda: channels_last(request.infer(feed, share_inputs=True, share_outputs=True)["y"])


_NEEDS = ("openvino", *PACKAGES)
ENGINES = (
    Engine("OpenVINO", partial(_prepare, "f32"), _NEEDS, _NEEDS, avx2=True),
    Engine(
        "OpenVINO bf16", partial(_prepare, "bf16"), _NEEDS, _NEEDS, counted=False, tolerance=0.1
    ),
)
