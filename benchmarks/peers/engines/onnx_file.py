"""The model as an ONNX file, which three engines read. Exported once per batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import pytorch

PACKAGES = ("torch", "diffusers", "onnx")


def onnx_file(folder: Path, batch: int) -> Path:
    """folder/batch<N>.onnx: x (N, C, H, W) float32, t (N,) int64 -> y like x; written if absent."""
    path = folder / f"batch{batch}.onnx"
    if not path.exists():
        import torch

        x, t, _ = pytorch.tensors(folder, batch)
        torch.onnx.export(
            noise_predictor(folder),
            (x, t),
            str(path),
            input_names=["x", "t"],
            output_names=["y"],
            dynamo=False,
            opset_version=17,
        )
    return path


def noise_predictor(folder: Path) -> Any:
    """The folder's model as a torch module (x, t) -> y that can be traced."""
    import torch

    class NoisePredictor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = pytorch.load(folder).eval()

        def forward(self, x: Any, t: Any) -> Any:
            return self.model(x, t, return_dict=False)[0]

    return NoisePredictor()
