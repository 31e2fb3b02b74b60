"""The same U-Net, weights and inputs in pydiff and in PyTorch, interleaved in one run.

    python -m benchmarks.peers                      # every work item, a table on stdout
    python -m benchmarks.peers forward small --batch 64 --rounds 20 --json

The ratio is the time of the fastest peer over the time of pydiff: above 1, pydiff is faster.
Rounds go A B A B, so that a noisy neighbour meets all engines alike; medians are reported.
An engine whose output differs from pydiff's by more than 1e-3 of its maximum is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pydiff
from benchmarks.models import MODELS

Run = Callable[[], np.ndarray]  # one timed call; returns what is compared between the engines
WORK = [
    ("forward", "small", 1),
    ("forward", "small", 64),
    ("forward", "cifar10", 1),
    ("forward", "cifar10", 16),
    ("train", "small", 64),
    ("train", "cifar10", 16),
]


def _inputs(config: dict[str, Any], batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = (batch, config["sample_size"], config["sample_size"], config["in_channels"])
    x = pydiff.random.normal(0, shape)
    target = pydiff.random.normal(1, shape)
    return x, np.linspace(10, 990, batch).astype(np.int64), target


def _pydiff_engines(model: Any, task: str, batch: int) -> dict[str, Run]:
    x, t, target = _inputs(model.config, batch)
    if task == "forward":

        def forward() -> np.ndarray:
            with pydiff.no_grad():
                return np.asarray(model(x, t).data)

        return {"pydiff": forward}
    optimizer = pydiff.nn.AdamW(model.parameters(), lr=1e-4)

    def step() -> np.ndarray:
        optimizer.zero_grad()
        loss = pydiff.ops.mse_loss(model(x, t), target)
        loss.backward()
        optimizer.step()
        return np.asarray(loss.data)

    return {"pydiff": step}


def _torch_engines(folder: str, task: str, batch: int) -> dict[str, Run]:
    try:
        import torch
        from diffusers import UNet2DModel
    except ImportError:
        print(
            "torch and diffusers are not installed: timing pydiff alone "
            "(pip install torch==2.13.0 diffusers)",
            file=sys.stderr,
        )
        return {}
    torch.set_num_threads(pydiff.num_threads())
    engines = {}
    for name, layout in (
        ("torch", torch.contiguous_format),
        ("torch channels_last", torch.channels_last),
    ):
        model = UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False).to(
            memory_format=layout
        )
        engines[name] = _torch_run(torch, model, layout, task, batch)
    return engines


def _torch_run(torch: Any, model: Any, layout: Any, task: str, batch: int) -> Run:
    x, t, target = (torch.from_numpy(a) for a in _inputs(dict(model.config), batch))
    x, target = (a.permute(0, 3, 1, 2).contiguous(memory_format=layout) for a in (x, target))
    if task == "forward":
        model.eval()

        def forward() -> np.ndarray:
            with torch.inference_mode():
                return model(x, t, return_dict=False)[0].permute(0, 2, 3, 1).numpy()

        return forward
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)

    def step() -> np.ndarray:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x, t, return_dict=False)[0], target)
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

    return step


def measure(task: str, model_name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds per call of every engine, and the ratio of the best peer to pydiff."""
    model = pydiff.nn.UNet2D(**MODELS[model_name])
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        engines = _pydiff_engines(model, task, batch) | _torch_engines(folder, task, batch)
    first = {name: run() for name, run in engines.items()}  # also the warm-up
    for name, output in first.items():
        error = np.abs(output - first["pydiff"]).max() / np.abs(first["pydiff"]).max()
        if not error <= 1e-3:
            raise SystemExit(f"{name} differs from pydiff by {error:.1e} of the maximum")
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    peers = [value for name, value in medians.items() if name != "pydiff"]
    return {
        "task": task,
        "model": model_name,
        "batch": batch,
        "rounds": rounds,
        "median_ms": medians,
        "ratio": min(peers) / medians["pydiff"] if peers else None,
    }


def _print_row(row: dict[str, Any]) -> None:
    times = "  ".join(f"{name} {ms:.2f}" for name, ms in row["median_ms"].items())
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    print(
        f"{row['task']:8} {row['model']:8} batch {row['batch']:<3} ratio {ratio:>5}   ms: {times}"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", nargs="?", choices=["forward", "train"])
    parser.add_argument("model", nargs="?", choices=sorted(MODELS))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(argv)
    rows = []
    for task, model, batch in WORK:
        if options.task not in (None, task) or options.model not in (None, model):
            continue
        if options.batch not in (None, batch):
            continue
        rows.append(measure(task, model, batch, options.rounds))
        if not options.json:
            _print_row(rows[-1])
    if options.json:
        machine = {"processor": platform.processor(), "cores": os.cpu_count()}
        print(json.dumps({"machine": machine, "threads": pydiff.num_threads(), "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
