"""`pydiff bench`: how fast a model evaluates and samples on this machine."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import bench_samplers
from .report import Report

HELP = "time U-Net evaluations and sampling, and show where the time goes; or grade all samplers"
DESCRIPTION = """\
Without a word, or with `model`: time one U-Net evaluation and the images per second of a sampler,
medians over --repeats runs after a warm-up run, with random weights unless a folder is given. Then
a roofline: for every kind of instruction of the compiled plan its time, its rate, and that as a
share of what this machine reaches at most, measured in the same run. Winograd convolutions (F)
multiply less than is counted, so they may exceed 100 %.

With `samplers`: measure every sampler against exact answers; for each one the order declared and
measured, evaluations per step, errors at 10, 20 and 50 evaluations, and how far 100,000 samples of
a mixture lie from exact ones. The exit code is 1 if an order is off by more than 0.25.
"""
EPILOG = """\
examples:
  pydiff bench                                     the model of the demo, batch 64
  pydiff bench --model cifar10 --batch 1
  pydiff bench --model run --sampler ddpm --steps 250 --threads 1
  pydiff bench --model cifar10 --batch 16 --top 40 --json
  pydiff bench samplers                            all of them, one or two minutes
  pydiff bench samplers --quick --only ddim heun
  pydiff bench samplers --markdown docs/samplers.md --picture docs/samplers.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", choices=("model", "samplers"), default="model", help="(default model)"
    )
    parser.add_argument("--model", default="small", help="small, medium, cifar10 or a folder")
    parser.add_argument("--batch", type=int, default=64, help="images per call (default 64)")
    parser.add_argument("--sampler", default="ddim", help="ddim or ddpm (default ddim)")
    parser.add_argument("--steps", type=int, default=50, help="sampling steps (default 50)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default 5)")
    parser.add_argument("--top", type=int, default=12, help="rows of the roofline (default 12)")
    bench_samplers.add_arguments(parser.add_argument_group("options of samplers"))


def run(args: argparse.Namespace, report: Report) -> int:
    if args.what == "samplers":
        return bench_samplers.run(args, report)
    from .. import backend
    from ..config import num_threads
    from ..plan import compile
    from ..random import normal

    pipeline = _pipeline(args.model)
    x, t = normal(0, (args.batch, *pipeline.image_shape)), 500
    labels = _labels(pipeline, args.batch)
    inputs = {} if labels is None else {"class_labels": labels}
    plan = compile(pipeline.model, x, t, **inputs)
    evaluation = _median(lambda: plan(x, t, **inputs), args.repeats)
    sampling = _median(lambda: pipeline(args.batch, args.steps, args.sampler,
                                        batch_size=args.batch), args.repeats)  # fmt: skip
    rows = roofline(plan.profile(x, t, repeats=args.repeats, **inputs))
    peak, bandwidth = _peaks()
    values = {
        "model": args.model,
        "parameters": pipeline.model.num_parameters(),
        "image_shape": list(pipeline.image_shape),
        "batch": args.batch,
        "backend": backend.name(),
        "threads": num_threads(),
        "evaluation_seconds": evaluation,
        "evaluation_seconds_per_image": evaluation / args.batch,
        "evaluation_flops": plan.flops,
        "peak_bytes": plan.peak_bytes,
        "machine_flops_per_second": peak,
        "machine_bytes_per_second": bandwidth,
        "sampler": args.sampler,
        "steps": args.steps,
        "images_per_second": args.batch / sampling,
        "repeats": args.repeats,
        "roofline": rows,
    }
    _print(report, values, args.top)
    report.result(values)
    return 0


def roofline(timings: Sequence[Any]) -> list[dict[str, Any]]:
    """The instructions of a profile, alike ones together, longest first: op, algorithm, shape of
    the result, how many, seconds, FLOPs and bytes of all of them."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for instruction, seconds in timings:
        key = instruction.op, instruction.algorithm, instruction.shape
        row = rows.setdefault(key, {"op": key[0], "algorithm": key[1], "shape": list(key[2])})
        added = {"count": 1, "seconds": seconds, "flops": instruction.flops,
                 "bytes": instruction.bytes}  # fmt: skip
        for name, value in added.items():
            row[name] = row.get(name, 0) + value
    return sorted(rows.values(), key=lambda row: -row["seconds"])


def _peaks() -> tuple[float, float]:
    from ..backend import machine

    return machine.fma_peak(), machine.bandwidth()


def _print(report: Report, values: dict[str, Any], top: int) -> None:
    evaluation, peak = values["evaluation_seconds"], values["machine_flops_per_second"]
    rate, shape = values["evaluation_flops"] / evaluation, tuple(values["image_shape"])
    report.line(f"model       {values['model']}: {values['parameters']:,} parameters, {shape}")
    report.line(
        f"machine     {values['threads']} threads, backend {values['backend']}: at most "
        f"{peak / 1e9:.0f} GFLOP/s, {values['machine_bytes_per_second'] / 1e9:.0f} GB/s"
    )
    report.line(
        f"evaluation  {1e3 * evaluation:.2f} ms for a batch of {values['batch']}: "
        f"{rate / 1e9:.0f} GFLOP/s, {100 * rate / peak:.0f} % of the peak; "
        f"{values['peak_bytes'] / 2**20:.0f} MiB"
    )
    report.line(
        f"sampling    {values['images_per_second']:.2f} images/s ({values['sampler']}, "
        f"{values['steps']} steps)"
    )
    report.line(f"medians of {values['repeats']} runs after a warm-up\n")
    rows = values["roofline"]
    total = sum(row["seconds"] for row in rows)
    report.line(HEAD)
    for row in rows[:top]:
        report.line(_roofline_line(row, total, peak, values["machine_bytes_per_second"]))
    rest = sum(row["seconds"] for row in rows[top:])
    if rest:
        report.line(f"{len(rows) - top} more kinds {1e3 * rest:17.3f} {100 * rest / total:5.1f}")


HEAD = (
    "instruction               result               n       ms     %  GFLOP/s  % peak   GB/s  % mem"
)


def _roofline_line(row: dict[str, Any], total: float, peak: float, bandwidth: float) -> str:
    name = f"{row['op']} {row['algorithm']}"
    shape = "x".join(map(str, row["shape"]))
    flops, moved = row["flops"] / row["seconds"], row["bytes"] / row["seconds"]
    work = f"{flops / 1e9:8.0f} {100 * flops / peak:7.0f}" if flops else " " * 16
    return (
        f"{name:25} {shape:18} {row['count']:3} {1e3 * row['seconds']:8.3f} "
        f"{100 * row['seconds'] / total:5.1f} {work} {moved / 1e9:6.0f} "
        f"{100 * moved / bandwidth:6.0f}"
    )


def _pipeline(name: str) -> Any:
    from ..diffusion import schedules
    from ..nn import UNet2D
    from ..pipelines import Pipeline
    from .presets import BENCH_SHAPES, PRESETS, unet_config

    if name not in PRESETS and Path(name).is_dir():
        return Pipeline.from_pretrained(name)
    config = unet_config(name, BENCH_SHAPES.get(name, (8, 8, 1)))
    return Pipeline(UNet2D(**config), schedules.linear())


def _labels(pipeline: Any, count: int) -> Any:
    import numpy as np

    classes = pipeline.num_classes
    return None if classes is None else np.arange(count) % classes


def _median(call: Callable[[], Any], repeats: int) -> float:
    call()
    times = []
    for _ in range(max(1, repeats)):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
