"""Rows as tables: engines down and items across for networks; the other way for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..table import figure, table
from .operators import OPERATORS, geometric_mean
from .race import OURS, Row


def text(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """Everything for a reader: the machine, one table per group, and who did not run."""
    parts = [_machine(machine)]
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        parts.append(_operators(members, machine) if group in OPERATORS else _networks(members))
    notes = dict.fromkeys(
        f"{row.item}: {name} -: {why}" for row in rows for name, why in row.notes.items()
    )
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _machine(machine: dict[str, Any]) -> str:
    peak, memory = machine.get("fma_gflops"), machine.get("memory_gbytes")
    return (
        f"{machine['processor']}, {machine['threads']} threads, pydiff on {machine['isa']}; "
        f"measured now: FMA peak {figure(peak, 0)} GFLOP/s, memory {figure(memory, 0)} GB/s"
    )


def _networks(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(n for row in rows for n in (*row.median_ms, *row.notes))
    header = [f"{rows[0].group}, ms", *(row.item.split(" ", 1)[1] for row in rows)]
    lines = [[name, *(figure(row.median_ms.get(name)) for row in rows)] for name in names]
    lines.append(["fastest peer", *(row.fastest_peer or "-" for row in rows)])
    lines.append(["fastest peer / pydiff", *(figure(row.ratio) for row in rows)])
    lines.append(["  quartiles of rounds", *(_quartiles(row) for row in rows)])
    return table(header, lines)


def _operators(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    names = list(dict.fromkeys(n for row in rows for n in row.median_ms))
    unit = "GFLOP/s" if rows[0].flop else "GB/s"
    peak = machine.get("fma_gflops" if rows[0].flop else "memory_gbytes")
    lines = []
    for row in rows:
        rates = row.rates()
        share = "-" if peak is None else f"{100 * rates[OURS] / peak:.0f} %"
        cells = (figure(rates.get(name), 1) for name in names)
        lines.append([row.item, *cells, share, figure(row.ratio), _quartiles(row)])
    result = table([unit, *names, "of peak", "ratio", "quartiles"], lines)
    ratios = [row.ratio for row in rows if row.ratio is not None]
    if len(ratios) > 1:
        result += f"\ngeometric mean of the ratios: {geometric_mean(ratios):.2f}"
    return result


def _quartiles(row: Row) -> str:
    return "-" if row.ratio_quartiles is None else "{:.2f}-{:.2f}".format(*row.ratio_quartiles)


def line(row: Row) -> str:
    """One row as soon as it is there."""
    return f"{row.item}: pydiff {row.median_ms[OURS]:.2f} ms, ratio {figure(row.ratio)}"
