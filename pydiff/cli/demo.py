"""`pydiff demo`: train on handwritten digits from scratch and draw some, or on points."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from .report import Report

HELP = "train a small model on digits or on points, and show what came out"
DESCRIPTION = """\
Without a word, or with `digits`: train a class-conditional U-Net of 0.7 M parameters on 1,500
handwritten digits of 8 x 8 pixels, from random weights, then sample it with DDIM and DDPM.
Everything lands in one folder: pictures, an animation of the denoising, the loss curve,
checkpoints, and the model itself.

toy: learn points in the plane; draw data, samples and density, the score as a vector field, and
the particles on their way from noise to data. `--data two_pixels` are images of two grey pixels.
ncsn: the same at geometric noise levels, sampled by annealed Langevin dynamics.
geometric: the schedule beta_t = b (1-b)^(T-1-t) over b and T: what never becoming noise costs.
"""
EPILOG = """\
examples:
  pydiff demo                       the whole thing, about 90 s on two cores
  pydiff demo --steps 300           quicker and blurrier
  pydiff sample pydiff-demo         more images from what was trained
  pydiff demo toy --data two_pixels
  pydiff demo toy --data checkerboard --sde sub_vp --sampler predictor_corrector
  pydiff demo ncsn --data moons
  pydiff demo geometric
"""
STEPS, BATCH, LEARNING_RATE = 900, 128, 2e-3
GRID = 100  # images on a sheet: ten of each digit
DDIM_STEPS, DDPM_STEPS = 50, 250
PROCESSES = ("linear", "cosine", "vp", "sub_vp", "ve", "edm", "flow")  # of pydiff.schedules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", choices=("digits", "toy", "ncsn", "geometric"), default="digits",
        help="(default digits)",
    )  # fmt: skip
    parser.add_argument("--out", help="folder (default ./pydiff-demo, for points ./pydiff-WHAT)")
    parser.add_argument("--steps", type=int, help=f"training steps (default {STEPS} for digits)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    points = parser.add_argument_group("options of toy and ncsn")
    points.add_argument(
        "--data", default="swiss_roll", help="a set of pydiff.data.toy (swiss_roll)"
    )
    points.add_argument("--sde", default="vp", choices=PROCESSES, help="of toy (default vp)")
    points.add_argument("--sampler", default="heun", help="of toy (default heun)")


def run(args: argparse.Namespace, report: Report) -> int:
    args.out = args.out or f"pydiff-{'demo' if args.what == 'digits' else args.what}"
    if args.what == "digits":
        return run_digits(args, report)
    if args.what == "geometric":
        from . import demo_geometric

        return demo_geometric.run(args, report)
    from . import demo_toy

    return (demo_toy.run_ncsn if args.what == "ncsn" else demo_toy.run)(args, report)


def run_digits(args: argparse.Namespace, report: Report) -> int:
    """Train on the digits and draw some."""
    from ..training import clear_run

    args.steps = STEPS if args.steps is None else args.steps
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
