"""Every engine, pydiff first. To add one: a file with `ENGINES`, and its name here."""

from . import mnn, ncnn, onnx_runtime, openvino, ours, pytorch
from .base import Engine

ENGINES: tuple[Engine, ...] = tuple(
    engine
    for module in (ours, pytorch, onnx_runtime, openvino, mnn, ncnn)
    for engine in module.ENGINES
)
