"""The same networks, weights and inputs in pydiff and in its peers, interleaved in one run.

    python -m benchmarks.peers                           every item
    python -m benchmarks.peers forward cifar10 --batch 1 --rounds 20
    python -m benchmarks.peers conv --json conv.json
    PYDIFF_ISA=v3 python -m benchmarks.peers forward --avx2

The ratio is the time of the fastest float32 peer over the time of pydiff: above 1, pydiff is
faster. Every engine gets pydiff's number of threads; rounds go A B A B, so that a noisy neighbour
meets all alike, each turn on a process at rest (benchmarks/timing.py says how); medians are shown.
An output that differs from pydiff's by more than 1e-3 of its maximum ends the run: exit status 1.
"pydiff eager" and bfloat16 are shown and never counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import machine
from ..models import MODELS
from ..table import at_least_one
from . import networks, operators, report
from .engines import ENGINES
from .engines.base import FORWARD, TRAIN
from .engines.pytorch import AVX2
from .race import OURS, Disagreement, Row


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.avx2:
        if machine.isa() != "v3":
            parser.error("--avx2 compares on AVX2: set PYDIFF_ISA=v3")
        os.environ.update(AVX2)
    if not _items(options) and not _operators(options):
        parser.error("no item has this task, model and batch")
    facts = machine.describe()
    rows = []
    try:
        for row in _rows(options):
            rows.append(row)
            print(report.line(row), file=sys.stderr, flush=True)
    except Disagreement as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if options.json != "-":
        print(report.text(rows, facts))
    if options.json:
        _write_json(options.json, rows, facts, options.avx2)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", nargs="?", choices=[FORWARD, TRAIN, *operators.OPERATORS])
    parser.add_argument("model", nargs="?", choices=sorted(MODELS))
    parser.add_argument("--batch", type=int, help="only items of this batch size")
    parser.add_argument("--rounds", type=at_least_one, default=9, help="default 9")
    parser.add_argument(
        "--engines",
        type=_engine_names,
        default=_peer_names(),
        help=f"what runs beside pydiff, separated by commas: {', '.join(_peer_names())}",
    )
    parser.add_argument("--avx2", action="store_true", help="hold everyone to AVX2")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="to FILE, or to stdout for the table"
    )
    return parser


def _peer_names() -> list[str]:
    return [engine.name for engine in ENGINES if engine.name != OURS]


def _items(options: argparse.Namespace) -> list[networks.Item]:
    return [
        item
        for item in networks.ITEMS
        if options.task in (None, item.task)
        and options.model in (None, item.model)
        and options.batch in (None, item.batch)
    ]


def _operators(options: argparse.Namespace) -> list[str]:
    if (options.model, options.batch) != (None, None):
        return []
    return [name for name in operators.OPERATORS if options.task in (None, name)]


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    items = _items(options)
    chosen = [engine for engine in ENGINES if engine.name in (OURS, *options.engines)]
    engines = networks.installed(chosen, options.avx2) if items else []
    for model, group in itertools.groupby(items, lambda item: item.model):
        with networks.saved_model(model) as folder:
            for item in group:
                yield networks.measure(item, folder, engines, options.rounds)
    for name in _operators(options):
        for shape in operators.OPERATORS[name].shapes:
            yield operators.measure(name, shape, options.rounds)


def _engine_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(_peer_names()):
        raise argparse.ArgumentTypeError(f"no engine {', '.join(sorted(unknown))}")
    return names


def _write_json(target: str, rows: list[Row], facts: dict, avx2: bool) -> None:
    versions = {}
    for engine in ENGINES:
        if not engine.missing():
            versions |= engine.versions()
    document = {
        "machine": facts,
        "versions": versions,
        "avx2": avx2,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    if target == "-":
        print(json.dumps(document))
    else:
        Path(target).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
