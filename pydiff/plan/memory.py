"""Places in one arena for buffers that do not all live at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Lifetime:
    """A buffer of `size` bytes that is touched from instruction `first` to `last`, inclusive."""

    size: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """An offset for each buffer, so that no two that live at once overlap; and the arena's size.

    Greedy by size (Pisarchyk & Lee 2020, arXiv:2001.03288, algorithm 3): the largest buffer first,
    each into the smallest gap that holds it between those placed already. Offsets are aligned.
    """
    offsets = [0] * len(lifetimes)
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].size, lifetimes[i].first))
    placed: list[int] = []
    for i in order:
        taken = sorted(
            (offsets[j], offsets[j] + _aligned(lifetimes[j].size))
            for j in placed
            if lifetimes[i].meets(lifetimes[j])
        )
        offsets[i] = _smallest_gap(taken, _aligned(lifetimes[i].size))
        placed.append(i)
    ends = (o + _aligned(life.size) for o, life in zip(offsets, lifetimes, strict=True))
    return offsets, max(ends, default=0)


def _smallest_gap(taken: list[tuple[int, int]], size: int) -> int:
    """Where `size` bytes fit most tightly between sorted spans; behind the last one if nowhere."""
    best, best_gap, end = -1, 0, 0
    for begin, finish in taken:
        gap = begin - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, finish)
    return best if best >= 0 else end


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
