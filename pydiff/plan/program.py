"""The instructions of a plan, what is known about them before they run, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .graph import Array, Shape
from .memory import Lifetime


@dataclass(frozen=True)
class Instruction:
    """One kernel call of a plan.

    shape: of its result. algorithm: of a convolution. flops: multiplications and additions of the
    direct algorithm, 0 where few. bytes: read and written. fused: what else it does.
    """

    op: str
    shape: Shape
    algorithm: str
    flops: int
    bytes: int
    fused: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A native plan and what is known about it before it runs."""

    native: Any
    instructions: tuple[Instruction, ...]
    arena_bytes: int
    buffer_bytes: int  # what the buffers in the arena would take without sharing it
    weights: tuple[Array, ...]  # packed, and other constants
    placed: tuple[tuple[Lifetime, int], ...]  # lifetime and offset of each buffer of the arena


@dataclass(frozen=True)
class Parts:
    """A batch cut into `count` shares that run side by side, one thread each.

    steps: for each input and the output the bytes from one share to the next; 0 for what all share.
    """

    program: Program
    count: int
    steps: list[int]


class Timing(NamedTuple):
    """How long an instruction took."""

    instruction: Instruction
    seconds: float

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations per second; 0 where none were counted."""
        return self.instruction.flops / self.seconds / 1e9 if self.seconds else 0.0


HEAD = ("op", "output", "algorithm", "MFLOP", "KB", "with")


def table(instructions: Sequence[Instruction], arena_bytes: int, weight_bytes: int) -> str:
    """One line for each instruction, then totals. KB: 1000 bytes, read and written."""
    rows = [HEAD, *map(_cells, instructions)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "  ".join(
            cell.rjust(width) if i in (3, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    flops = sum(row.flops for row in instructions)
    moved = sum(row.bytes for row in instructions)
    return "\n".join(
        [
            *lines,
            f"{len(instructions)} instructions, {flops / 1e9:.2f} GFLOP, {moved / 1e6:.1f} MB read "
            f"and written, arena {arena_bytes / 2**20:.1f} MiB, weights "
            f"{weight_bytes / 2**20:.1f} MiB",
        ]
    )


def _cells(row: Instruction) -> tuple[str, ...]:
    flops = f"{row.flops / 1e6:.2f}" if row.flops else ""
    shape = "x".join(map(str, row.shape))
    return row.op, shape, row.algorithm, flops, f"{row.bytes / 1e3:.1f}", " ".join(row.fused)
