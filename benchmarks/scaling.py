"""Time per image over the batch size and over the image size, as a picture and as JSON.

    python -m benchmarks.scaling --output scaling.png
    python -m benchmarks.scaling --output scaling.png --peers --json scaling.json

The CIFAR-10 U-Net at batches of 1 to 64 images of 32x32, and at single images of 16x16 to 128x128.
All points of a curve take turns, so that drift of the machine bends none of them. It also says
whether the cost of an image rises with the batch: by more than 5 % over that of a smaller batch.
--peers adds PyTorch (channels_last) and ONNX Runtime, where they are installed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pydiff

from . import machine
from .models import MODELS
from .peers import networks
from .peers.engines import ENGINES
from .peers.engines.base import FORWARD, Engine
from .peers.race import OURS, disagreements
from .table import at_least_one, figure, table
from .timing import interleave, medians

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (16, 32, 64, 128)
PEERS = ("torch channels_last", "ONNX Runtime")
RISE = 0.05  # above the cheapest smaller batch

Curves = dict[str, dict[int, float]]  # engine -> batch or size -> milliseconds per image


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    wanted = (OURS, *(PEERS if options.peers else ()))
    engines = networks.installed([engine for engine in ENGINES if engine.name in wanted])
    batches = [n for n in BATCHES if n <= options.max_batch]
    sizes = [n for n in SIZES if n <= options.max_size]
    over_batch = curves(options.model, engines, [(n, 32) for n in batches], options.rounds)
    over_size = curves(options.model, engines, [(1, n) for n in sizes], options.rounds)
    per_batch: Curves = {n: {b: ms for (b, _), ms in c.items()} for n, c in over_batch.items()}
    per_size: Curves = {n: {s: ms for (_, s), ms in c.items()} for n, c in over_size.items()}
    verdicts = {name: verdict(name, curve) for name, curve in per_batch.items()}
    print(
        _table("ms an image, batch", per_batch), _table("ms an image, size", per_size), sep="\n\n"
    )
    print("\n" + "\n".join(verdicts.values()))
    if options.output:
        draw(options.output, per_batch, per_size, options.model)
    if options.json:
        document = {
            "machine": machine.describe(),
            "model": options.model,
            "ms_per_image": {"batch": per_batch, "size": per_size},
            "rises": {name: rises(curve) for name, curve in per_batch.items()},
        }
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", metavar="PNG", help="draw the curves (needs matplotlib)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)}")
    parser.add_argument("--model", choices=sorted(MODELS), default="cifar10")
    parser.add_argument("--rounds", type=at_least_one, default=7)
    parser.add_argument("--max-batch", type=at_least_one, default=BATCHES[-1])
    parser.add_argument("--max-size", type=_size, default=SIZES[-1])
    return parser


def _size(word: str) -> int:
    if int(word) < SIZES[0]:
        raise argparse.ArgumentTypeError(f"{word} is below {SIZES[0]}")
    return int(word)


def curves(
    model: str, engines: Sequence[Engine], points: Sequence[tuple[int, int]], rounds: int
) -> dict[str, dict[tuple[int, int], float]]:
    """Engine -> (batch, size) -> median milliseconds per image."""
    runs, result = {}, {}
    with tempfile.TemporaryDirectory(prefix="pydiff-scaling-") as root:
        for batch, size in points:
            folder = Path(root) / str(size)
            if not folder.exists():
                pydiff.nn.UNet2D(**MODELS[model] | {"sample_size": size}).save_pretrained(folder)
            entrants, _ = networks.prepare(engines, folder, FORWARD, batch)
            disagreements(f"batch {batch}, size {size}", entrants)
            runs |= {(name, batch, size): entrant.run for name, entrant in entrants.items()}
        for (name, batch, size), ms in medians(interleave(runs, rounds)).items():
            result.setdefault(name, {})[batch, size] = ms / batch
    return result


def rises(curve: dict[int, float]) -> dict[int, float]:
    """Batch -> time per image over the cheapest smaller batch, where that is above 1 + RISE."""
    cheapest, found = float("inf"), {}
    for batch, ms in sorted(curve.items()):
        if ms > (1 + RISE) * cheapest:
            found[batch] = ms / cheapest
        cheapest = min(cheapest, ms)
    return found


def verdict(name: str, curve: dict[int, float]) -> str:
    """One sentence on how the cost of an image goes with the batch."""
    last = max(curve)
    start = f"{name}: an image of a batch of {last} costs {curve[last] / curve[min(curve)]:.2f} "
    where = ", ".join(f"{batch} ({ratio:.2f}x)" for batch, ratio in rises(curve).items())
    rest = f"rises with the batch at {where}" if where else "never rises with the batch"
    return f"{start}of a single one; the cost of an image {rest}"


def _table(title: str, points: Curves) -> str:
    keys = list(dict.fromkeys(key for curve in points.values() for key in curve))
    rows = [[name, *(figure(curve.get(key)) for key in keys)] for name, curve in points.items()]
    return table([title, *map(str, keys)], rows)


def draw(path: str, per_batch: Curves, per_size: Curves, model: str) -> None:
    """Two panels, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure_, panels = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    figure_.suptitle(f"{model} U-Net, float32, {pydiff.num_threads()} threads")
    titles = ("batch size (32x32 images)", "height = width, pixels (batch 1)")
    for axes, points, label in zip(panels, (per_batch, per_size), titles, strict=True):
        for name, curve in points.items():
            style = {"linewidth": 2.5} if name == OURS else {"linewidth": 1.2, "linestyle": "--"}
            axes.plot(list(curve), list(curve.values()), marker="o", label=name, **style)
        ticks = sorted({key for curve in points.values() for key in curve})
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="ms per image")
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.grid(alpha=0.3)
        axes.legend()
    figure_.savefig(path, dpi=150)
    pyplot.close(figure_)


if __name__ == "__main__":
    raise SystemExit(main())
