"""`pydiff bench`: how fast a model evaluates and samples on this machine."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .report import Report

HELP = "time U-Net evaluations and sampling"
DESCRIPTION = """\
Time one U-Net evaluation and the images per second of a sampler: medians over --repeats runs,
after a warm-up run, with random weights unless a folder is given.
"""
EPILOG = """\
examples:
  pydiff bench                                     the model of the demo, batch 64
  pydiff bench --model cifar10 --batch 1
  pydiff bench --model run --sampler ddpm --steps 250 --threads 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="small", help="small, medium, cifar10 or a folder")
    parser.add_argument("--batch", type=int, default=64, help="images per call (default 64)")
    parser.add_argument("--sampler", default="ddim", help="ddim or ddpm (default ddim)")
    parser.add_argument("--steps", type=int, default=50, help="sampling steps (default 50)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default 5)")


def run(args: argparse.Namespace, report: Report) -> int:
    from .. import backend
    from ..config import num_threads
    from ..random import normal

    pipeline = _pipeline(args.model)
    model = pipeline.model
    shape = (args.batch, *pipeline.image_shape)
    x = normal(0, shape)
    denoise = pipeline.denoiser(_labels(pipeline, args.batch))
    t = pipeline.scheduler.schedule.num_train_timesteps // 2
    evaluation = _median(lambda: denoise(x, t), args.repeats)
    sampling = _median(lambda: pipeline(args.batch, args.steps, args.sampler,
                                        batch_size=args.batch), args.repeats)  # fmt: skip
    values = {
        "model": args.model,
        "parameters": model.num_parameters(),
        "image_shape": list(pipeline.image_shape),
        "batch": args.batch,
        "backend": backend.name(),
        "threads": num_threads(),
        "evaluation_seconds": evaluation,
        "evaluation_seconds_per_image": evaluation / args.batch,
        "sampler": args.sampler,
        "steps": args.steps,
        "images_per_second": args.batch / sampling,
        "repeats": args.repeats,
    }
    report.line(f"model       {args.model}: {values['parameters']:,} parameters, {shape[1:]}")
    report.line(f"machine     {values['threads']} threads, backend {values['backend']}")
    report.line(f"evaluation  {1e3 * evaluation:.2f} ms for a batch of {args.batch}")
    report.line(
        f"sampling    {values['images_per_second']:.2f} images/s ({args.sampler}, "
        f"{args.steps} steps)"
    )
    report.line(f"medians of {args.repeats} runs after a warm-up")
    report.result(values)
    return 0


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
