"""`pydiff sample`: pictures from a trained model."""

from __future__ import annotations

import argparse
import time
from typing import Any

from .report import Report

HELP = "draw images from a folder or from the built-in digits model"
DESCRIPTION = """\
Draw images from a trained model: a folder of diffusers (DDPM or DDIM pipeline), one that
`pydiff train` wrote, or, without a folder, the built-in model of handwritten digits.

Each PNG carries seed, index, steps, sampler and model hash as text. Image i is the same however
many are drawn beside it.
"""
EPILOG = """\
examples:
  pydiff sample --num 100 --grid digits.png      a sheet of 0 1 2 ... 9 in columns
  pydiff sample --label 7 --seed 3               sixteen sevens
  pydiff sample run --sampler ddpm --steps 250   from your own model
  pydiff sample --animate denoising.gif
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", help="model folder (default: built-in digits)")
    parser.add_argument("--num", type=int, default=16, help="number of images (default 16)")
    parser.add_argument("--steps", type=int, default=50, help="sampling steps (default 50)")
    parser.add_argument("--sampler", help="its name (default: the model's own, or ddim)")
    parser.add_argument("--eta", type=float, help="noise of ddim and others, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="0 to 2^64 - 1 (default 0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first image")
    parser.add_argument("--label", type=int, help="class of all images (default 0, 1, 2, ...)")
    parser.add_argument(
        "--batch-size", type=int, help="images per model call (default: what 64 MiB hold)"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="call the model step by step, without a plan"
    )
    parser.add_argument("--out", default="samples", help="folder of the PNGs (default ./samples)")
    parser.add_argument("--grid", metavar="FILE", help="one sheet in place of single images")
    parser.add_argument("--animate", metavar="FILE", help="also a .gif, .png or .webp of the run")
    parser.add_argument("--scale", type=int, help="enlarge pixels (default: to at least 64)")


def run(args: argparse.Namespace, report: Report) -> int:
    from ..io import save_animation, save_grid, save_images
    from ..pipelines import Pipeline, digits

    pipeline = Pipeline.from_pretrained(args.folder) if args.folder else digits()
    scale = args.scale or max(1, 64 // pipeline.image_shape[0])
    frames = Frames() if args.animate else None
    start = time.perf_counter()
    images = pipeline(
        num_images=args.num,
        num_inference_steps=args.steps,
        sampler=args.sampler,
        eta=args.eta,
        seed=args.seed,
        class_labels=args.label,
        callback=frames,
        progress=not args.json,
        batch_size=args.batch_size,
        first_image=args.first,
        compile=not args.no_compile,
    )
    seconds = time.perf_counter() - start
    metadata = _metadata(args, pipeline)
    if args.grid:
        files = [save_grid(images, args.grid, scale=scale, metadata=metadata)]
    else:
        files = save_images(
            images, args.out, first_index=args.first, metadata=metadata, scale=scale
        )
    if frames is not None:
        files.append(save_animation(frames.batches(), args.animate, scale=scale))
    rate = args.num / seconds
    report.line(f"{args.num} images in {seconds:.2f} s ({rate:.1f} images/s)")
    report.line(f"wrote {files[0]}" + (f" ... {files[-1]}" if len(files) > 1 else ""))
    report.result({**metadata, "files": files, "seconds": seconds, "images_per_second": rate})
    return 0


class Frames:
    """Collects the states of a run as images in [0, 1], one frame per step over all batches."""

    def __init__(self) -> None:
        self._steps: dict[int, list[Any]] = {}

    def __call__(self, step: int, t: Any, x: Any, x0: Any) -> None:
        from ..data import denormalise

        self._steps.setdefault(step, []).append(denormalise(x))

    def batches(self) -> list[Any]:
        """One (N, H, W, C) array per step."""
        import numpy as np

        return [np.concatenate(parts) for _, parts in sorted(self._steps.items())]


def _metadata(args: argparse.Namespace, pipeline: Any) -> dict[str, Any]:
    name = pipeline.sampler(args.sampler, args.eta).name
    metadata = {
        "seed": args.seed,
        "index": args.first,
        "steps": args.steps,
        "sampler": name if args.eta is None else f"{name}(eta={args.eta:g})",
        "model_hash": pipeline.model_hash(),
        "software": "pydiff",
    }
    return metadata if args.label is None else {**metadata, "label": args.label}
