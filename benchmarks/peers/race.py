"""One race: engines that must agree, timed in turns, and the fastest peer's time to pydiff's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..timing import Run, interleave, medians

OURS = "pydiff"  # the entrant that the ratio is of


class Disagreement(Exception):
    """An engine's output differs from pydiff's."""


@dataclass(frozen=True)
class Entrant:
    """One engine of a race.

    run: the call that is timed. output: what it returns -> an array in the layout of pydiff's.
    counted: whether it is a peer whose time makes the ratio; others are shown for information.
    tolerance: largest allowed difference from pydiff's output, relative to that output's maximum.
    first: a copy of what the first call gave, if that was made already.
    """

    run: Run
    counted: bool = True
    tolerance: float = 1e-3
    output: Callable[[Any], np.ndarray] = np.asarray
    first: np.ndarray | None = None


@dataclass
class Row:
    """What a race gives; as JSON, `vars(row)`.

    ratio: time of the fastest counted peer / time of pydiff; above 1, pydiff is faster. None where
        no peer ran. ratio_quartiles: of the same two engines, round by round.
    flop, bytes: the work of one call, where it is known.
    notes: engine -> why it did not run.
    """

    item: str
    group: str
    rounds: int
    median_ms: dict[str, float]
    times_ms: dict[str, list[float]]
    errors: dict[str, float]
    fastest_peer: str | None
    ratio: float | None
    ratio_quartiles: list[float] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    flop: float | None = None
    bytes: float | None = None

    def rates(self) -> dict[str, float]:
        """GFLOP/s or GB/s of each engine."""
        work = self.flop or self.bytes or 0.0
        return {name: 1e-6 * work / ms for name, ms in self.median_ms.items()}


def race(
    item: str,
    entrants: Mapping[str, Entrant],
    rounds: int,
    group: str = "",
    **facts: Any,
) -> Row:
    """Check that all agree with entrants["pydiff"], then time them. Raises Disagreement.

    The first two calls are checked, so that a training step's second loss tells whether its first
    update was right; they are also the warm-up.
    """
    errors = disagreements(item, entrants)
    times = interleave({name: entrant.run for name, entrant in entrants.items()}, rounds)
    middle = medians(times)
    peers = {n: ms for n, ms in middle.items() if n != OURS and entrants[n].counted}
    fastest = min(peers, key=peers.__getitem__, default=None)
    row = Row(item, group, rounds, middle, times, errors, fastest, None, **facts)
    if fastest is not None:
        row.ratio = middle[fastest] / middle[OURS]
        row.ratio_quartiles = _quartiles(times[fastest], times[OURS])
    return row


def disagreements(item: str, entrants: Mapping[str, Entrant]) -> dict[str, float]:
    """Largest difference of each engine from pydiff, relative to pydiff's maximum."""
    outputs = {  # copies, as the next call may write into the same memory
        name: [called(entrant) if entrant.first is None else entrant.first, called(entrant)]
        for name, entrant in entrants.items()
    }
    errors = {}
    for name, entrant in entrants.items():
        for ours, theirs in zip(outputs[OURS], outputs[name], strict=True):
            error = difference(ours, theirs)
            if not error <= entrant.tolerance:  # NaN is a disagreement too
                raise Disagreement(
                    f"{item}: {name} differs from pydiff by {error:.1e} of the maximum; "
                    f"allowed: {entrant.tolerance:.0e}"
                )
            errors[name] = max(error, errors.get(name, 0.0))
    del errors[OURS]
    return errors


def called(entrant: Entrant) -> np.ndarray:
    """A copy of what a call gives."""
    return np.array(entrant.output(entrant.run()))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |theirs - ours| / max |ours|; infinite for another shape."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(theirs - ours).max() / max(np.abs(ours).max(), np.finfo(np.float32).tiny))


def _quartiles(peer: list[float], ours: list[float]) -> list[float]:
    """The 25th and 75th percentile of the ratios of the rounds."""
    ratios = [a / b for a, b in zip(peer, ours, strict=True)]
    cuts = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return [cuts[0], cuts[2]]
