"""Tables of text, the first column to the left, figures to the right; and counts as options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of equally wide columns, two spaces apart, under the header."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(_line(cells, widths) for cells in (header, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def figure(value: float | None, digits: int = 2) -> str:
    """The number, or - where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def at_least_one(word: str) -> int:
    """For argparse: a positive integer."""
    if int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is below 1")
    return int(word)
