"""`pydiff demo`: train on handwritten digits from scratch and draw some."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from .report import Report

HELP = "train a small model on digits, draw some, and show what came out"
DESCRIPTION = """\
Train a class-conditional U-Net of 0.7 M parameters on 1,500 handwritten digits of 8 x 8 pixels,
from random weights, then sample it with DDIM and DDPM. Everything lands in one folder:
pictures, an animation of the denoising, the loss curve, checkpoints, and the model itself.
"""
EPILOG = """\
examples:
  pydiff demo                       the whole thing, about 90 s on two cores
  pydiff demo --steps 300           quicker and blurrier
  pydiff sample pydiff-demo         more images from what was trained
"""
STEPS, BATCH, LEARNING_RATE = 900, 128, 2e-3
GRID = 100  # images on a sheet: ten of each digit
DDIM_STEPS, DDPM_STEPS = 50, 250


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="pydiff-demo", help="folder (default ./pydiff-demo)")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"training steps (default {STEPS})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")


def run(args: argparse.Namespace, report: Report) -> int:
    from ..training import clear_run

    start, out = time.perf_counter(), Path(args.out)
    clear_run(out)
    trainer = build(args, out)
    report.line(
        f"training {trainer.model.num_parameters():,} parameters for {args.steps} steps of {BATCH} "
        f"digits, on {_threads()} ..."
    )
    trainer.train(progress=False if args.json else None)
    rate = args.steps * BATCH / trainer.seconds
    report.line(f"trained in {trainer.seconds:.1f} s ({rate:.0f} images/s)")
    result = draw(trainer, args.seed, out, report)
    seconds = time.perf_counter() - start
    report.line(f"done in {seconds:.1f} s; everything is in {out.resolve()}")
    report.line(f"more: pydiff sample {out} --label 7")
    report.result({"steps": args.steps, "train_seconds": trainer.seconds,
                   "seconds": seconds, "out": out, **result})  # fmt: skip
    return 0


def build(args: argparse.Namespace, out: Path) -> Any:
    """The trainer of the demo."""
    from .. import data
    from ..diffusion import schedules
    from ..nn import UNet2D
    from ..training import TrainConfig, Trainer
    from .presets import unet_config

    config = TrainConfig(
        steps=args.steps,
        batch_size=BATCH,
        lr=LEARNING_RATE,
        seed=args.seed,
        class_conditional=True,
        checkpoint_every=500,
    )
    model = UNet2D(seed=args.seed, **unet_config("small", (8, 8, 1), num_classes=10))
    return Trainer(model, schedules.cosine(), data.digits("train"), config=config, folder=out)


def draw(trainer: Any, seed: int, out: Path, report: Report) -> dict[str, Any]:
    """Save the model, sheets by DDIM and DDPM, an animation and the loss curve."""
    from ..io import save_animation, save_grid
    from ..pipelines import Pipeline
    from .sample import Frames

    pipeline = Pipeline(trainer.averaged_model(), trainer.schedule, spacing="trailing")
    pipeline.save_pretrained(out)
    files, frames = [], Frames()
    for sampler, steps, callback in (("ddim", DDIM_STEPS, frames), ("ddpm", DDPM_STEPS, None)):
        start = time.perf_counter()
        images = pipeline(GRID, steps, sampler, seed=seed, callback=callback, batch_size=GRID)
        seconds = time.perf_counter() - start
        metadata = {"seed": seed, "index": 0, "steps": steps, "sampler": sampler,
                    "model_hash": pipeline.model_hash()}  # fmt: skip
        path = out / f"samples_{sampler}.png"
        files.append(save_grid(images, path, columns=10, scale=6, metadata=metadata))
        report.line(f"{GRID} digits by {sampler}, {steps} steps: {seconds:.1f} s -> {files[-1]}")
    files.append(save_animation(frames.batches(), out / "denoising.gif", columns=10, scale=4))
    report.line(f"the same digits coming out of the noise -> {files[-1]}")
    curve = trainer.draw_loss_curve()
    if curve is not None:
        files.append(curve)
        report.line(f"loss curve -> {curve}")
    return {"files": files, "model_hash": pipeline.model_hash()}


def _threads() -> str:
    from ..config import num_threads

    count = num_threads()
    return f"{count} thread{'s' * (count != 1)}"
