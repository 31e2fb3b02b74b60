"""Peak resident memory of drawing images: 5 DDIM steps at batch 16 of the CIFAR-10 U-Net.

    python -m benchmarks.memory
    python -m benchmarks.memory --model small --batch 4 --json

Each engine loads the same weights from its own kind of file and draws from the same noise in a
fresh process, which imports what the engine needs and nothing else; the pictures must agree. The
peak is the kernel's high-water mark of that process. pydiff goes through
`Pipeline.from_pretrained`; the others run the plain loop of `memory_child.py`: from an ONNX file,
from a TorchScript file (PyTorch without diffusers), and from the folder by diffusers.
The ratio is the smallest peak of a peer over pydiff's: above 1, pydiff needs less.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import pydiff

from . import machine
from .models import MODELS
from .peers.engines import onnx_file, pytorch
from .peers.engines.base import channels_first
from .peers.quiet import quiet
from .peers.race import OURS, difference
from .table import at_least_one, figure, table

CHILD = Path(__file__).with_name("memory_child.py")
TOLERANCE = 1e-3  # of the pictures' maximum
STEPS = 5


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="pydiff-memory-") as folder:
        with quiet():
            files = write_files(Path(folder), options.model, options.batch)
        peaks, notes = measure(Path(folder), files)
    for name, why in notes.items():
        print(f"benchmarks: {name} left out: {why}", file=sys.stderr)
    row = summary(f"memory {options.model} b{options.batch}", peaks, notes)
    if options.json != "-":
        print(text(row))
    if options.json:
        document = json.dumps({"machine": machine.describe(peaks=False), "rows": [row]}, indent=1)
        print(document) if options.json == "-" else Path(options.json).write_text(document + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=sorted(MODELS), default="cifar10")
    parser.add_argument("--batch", type=at_least_one, default=16)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="to FILE, or to stdout for the table"
    )
    return parser


def write_pipeline(folder: Path, model: str, batch: int) -> Path:
    """A pipeline with random weights, and run.npz for the engines that know no pipelines."""
    pipeline = pydiff.Pipeline(pydiff.nn.UNet2D(**MODELS[model]), pydiff.schedules.linear(1000))
    pipeline.save_pretrained(folder / "pipeline")
    _write_run(folder, pipeline, batch)
    return folder / "pipeline"


def write_files(folder: Path, model: str, batch: int) -> dict[str, Path]:
    """Engine of memory_child.py -> the file it loads. Those that need torch only if it is there."""
    files = {OURS: write_pipeline(folder, model, batch)}
    if not all(importlib.util.find_spec(name) for name in onnx_file.PACKAGES):
        return files
    unet = folder / "pipeline" / "unet"
    script = folder / "model.pt"
    _trace(unet, batch, script)
    onnx = onnx_file.onnx_file(unet, batch)
    return files | {
        "onnx_runtime": onnx,
        "openvino": onnx,
        "torch": script,
        "diffusers": unet,
    }


def _write_run(folder: Path, pipeline: Any, batch: int) -> None:
    """run.npz: the noise, as the pipeline draws it, and alpha and sigma along its steps."""
    grid, schedule = pipeline.grid(STEPS), pipeline.scheduler.schedule
    noise = pydiff.random.normal(0, (batch, *pipeline.image_shape))
    np.savez(
        folder / "run.npz",
        x=channels_first(noise),
        t=np.array(grid[:-1], np.int64),
        alpha=np.array([schedule.alpha(t) for t in grid], np.float32),
        sigma=np.array([schedule.sigma(t) for t in grid], np.float32),
    )


def _trace(unet: Path, batch: int, target: Path) -> None:
    import torch

    x, t, _ = pytorch.tensors(unet, batch)
    with torch.no_grad():
        model = torch.jit.trace(onnx_file.noise_predictor(unet), (x, t), check_trace=False)
    model.save(str(target))


def measure(folder: Path, files: dict[str, Path]) -> tuple[dict[str, float], dict[str, str]]:
    """Peak megabytes of each engine, and why others have none. SystemExit if pictures differ."""
    peaks, notes = {}, {}
    home = str(Path(pydiff.__file__).parents[1])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    for name, file in files.items():
        command = [sys.executable, str(CHILD), name, str(file), str(folder)]
        child = subprocess.run(
            [*command, str(pydiff.num_threads())],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        if child.returncode:
            notes[name] = (child.stderr.strip() or f"status {child.returncode}").split("\n")[-1]
            continue
        peaks[name] = int(child.stdout.split()[-1]) / 1e6
        error = difference(np.load(folder / f"{OURS}.npy"), np.load(folder / f"{name}.npy"))
        if not error <= TOLERANCE:
            raise SystemExit(
                f"benchmarks: the pictures of {name} differ from pydiff's: {error:.1e}"
            )
    if OURS in notes:
        raise SystemExit(f"benchmarks: pydiff: {notes[OURS]}")
    return peaks, notes


def summary(item: str, peaks: dict[str, float], notes: dict[str, str]) -> dict[str, Any]:
    """A row like those of `benchmarks.peers`, for `benchmarks.compare`."""
    peers = {name: value for name, value in peaks.items() if name != OURS}
    best = min(peers, key=peers.__getitem__, default=None)
    ratio = None if best is None else peers[best] / peaks[OURS]
    return {"item": item, "peak_mb": peaks, "best_peer": best, "ratio": ratio, "notes": notes}


def text(row: dict[str, Any]) -> str:
    """One line per engine: its peak, and that over pydiff's."""
    ours = row["peak_mb"][OURS]
    lines = [[n, figure(mb, 0), figure(mb / ours)] for n, mb in row["peak_mb"].items()]
    lines.append(["least of the peers / pydiff", "", figure(row["ratio"])])
    return table([row["item"], "peak, MB", "of pydiff's"], lines)


if __name__ == "__main__":
    raise SystemExit(main())
