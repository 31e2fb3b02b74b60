"""U-Net evaluations and training steps, by every engine that is installed."""

from __future__ import annotations

import dataclasses
import gc
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydiff

from ..models import MODELS
from .engines.base import FORWARD, TRAIN, Engine, Unable
from .quiet import quiet
from .race import OURS, Entrant, Row, called, race


@dataclass(frozen=True)
class Item:
    """A task on a model of `MODELS` with a batch size."""

    task: str
    model: str
    batch: int

    def __str__(self) -> str:
        return f"{self.task} {self.model} b{self.batch}"


ITEMS = (
    Item(FORWARD, "small", 1),
    Item(FORWARD, "small", 64),
    Item(FORWARD, "cifar10", 1),
    Item(FORWARD, "cifar10", 16),
    Item(TRAIN, "small", 64),
    Item(TRAIN, "cifar10", 16),
)


def installed(engines: Sequence[Engine], avx2: bool = False) -> list[Engine]:
    """Those that can run here; stderr names the others, and how to get them."""
    present = []
    for engine in engines:
        if missing := engine.missing():
            how = f"no {', '.join(missing)} (pip install {' '.join(engine.packages)})"
            print(f"benchmarks: {engine.name} left out: {how}", file=sys.stderr)
        elif avx2 and not engine.avx2:
            print(f"benchmarks: {engine.name} left out: not held to AVX2", file=sys.stderr)
        else:
            present.append(engine)
    return present


@contextmanager
def saved_model(name: str) -> Iterator[Path]:
    """A temporary folder with the weights, to which engines add files of their own."""
    with tempfile.TemporaryDirectory(prefix="pydiff-peers-") as folder:
        pydiff.nn.UNet2D(**MODELS[name]).save_pretrained(folder)
        yield Path(folder)


def prepare(
    engines: Sequence[Engine], folder: Path, task: str, batch: int
) -> tuple[dict[str, Entrant], dict[str, str]]:
    """Those that run the task, called once, and why others do not. Raises pydiff's own errors."""
    entrants, notes = {}, {}
    for engine in engines:
        try:
            with quiet():
                run = engine.prepare(folder, task, batch)
                if run is not None:
                    entrant = Entrant(run, engine.counted, engine.tolerance)
                    entrants[engine.name] = dataclasses.replace(entrant, first=called(entrant))
        except Unable as reason:
            notes[engine.name] = str(reason)
        except Exception as error:
            if engine.name == OURS:
                raise
            notes[engine.name] = f"{type(error).__name__}: {error}".split("\n")[0]
    return entrants, notes


def measure(item: Item, folder: Path, engines: Sequence[Engine], rounds: int) -> Row:
    """The race of one item on the model in the folder."""
    entrants, notes = prepare(engines, folder, item.task, item.batch)
    try:
        return race(str(item), entrants, rounds, item.task, notes=notes)
    finally:
        entrants.clear()
        gc.collect()
