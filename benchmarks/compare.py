"""Has a ratio become worse? Two JSON files of `benchmarks.peers` or `benchmarks.memory`.

    python -m benchmarks.compare old.json new.json --threshold 0.1

Ratios are compared, never times: both engines of a ratio met the same machine. Exit status 1 if
any ratio of the new file is below the old one by more than the threshold (0.1: by more than a
tenth), 2 if a file cannot be read or has no rows. Items of one file alone are named.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .table import figure, table

Ratios = dict[str, float]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--threshold", type=_fraction, default=0.1, help="default 0.1")
    options = parser.parse_args(argv)
    try:
        old, new = load(options.old), load(options.new)
    except ValueError as error:
        parser.error(str(error))
    worse = regressions(old, new, options.threshold)
    print(text(old, new, worse))
    return 1 if worse else 0


def _fraction(word: str) -> float:
    value = float(word)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{word} is not in [0, 1)")
    return value


def load(path: Path) -> Ratios:
    """Item -> ratio; items that no peer ran have none. Raises ValueError."""
    try:
        rows = json.loads(path.read_text())["rows"]
        ratios = {row["item"]: row["ratio"] for row in rows}
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no rows of benchmarks ({error})") from error
    if not ratios:
        raise ValueError(f"{path}: no rows")
    return {item: float(ratio) for item, ratio in ratios.items() if ratio is not None}


def regressions(old: Ratios, new: Ratios, threshold: float) -> list[str]:
    """Items of both whose new ratio is below (1 - threshold) times the old one."""
    return [item for item in old if item in new and new[item] < (1 - threshold) * old[item]]


def text(old: Ratios, new: Ratios, worse: list[str]) -> str:
    """A line per item of either file."""
    lines = []
    for item in dict.fromkeys((*old, *new)):
        before, now = old.get(item), new.get(item)
        if before is None or now is None:
            change, remark = "-", "only in the old file" if now is None else "only in the new file"
        else:
            change, remark = f"{100 * (now / before - 1):+.0f} %", "WORSE" if item in worse else ""
        lines.append([item, figure(before), figure(now), change, remark])
    return table(["ratio", "old", "new", "change", ""], lines)


if __name__ == "__main__":
    raise SystemExit(main())
