"""Random shapes that several families share."""

from __future__ import annotations

from ..case import Draw, Rng

# 1, primes, and both sides of the vector widths 4, 8 and 16.
SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17)
EMPTY = Draw(0), Draw(3, 0), Draw(0, 5, 2)
LARGE = Draw(5, 7, 1031)  # some 36,000 elements: more than one task of a kernel


def size(rng: Rng, high: int = 17) -> int:
    """A size from 1 to `high`, awkward ones preferred."""
    return min(int(rng.choice(SIZES)), high)


def shape(rng: Rng, low: int = 0, high: int = 4) -> tuple[int, ...]:
    """A shape of `low` to `high` dimensions and at most a few hundred elements."""
    return tuple(size(rng, 5) for _ in range(rng.integers(low, high + 1)))


def broadcast(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast."""
    full = shape(rng)
    a, b = (tuple(n if rng.random() < 0.7 else 1 for n in full) for _ in range(2))
    cut = int(rng.integers(0, len(full) + 1))
    return (a, b[cut:]) if rng.random() < 0.5 else (a[cut:], b)
