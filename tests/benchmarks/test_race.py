"""The logic of a race, with engines that only pretend to work."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.peers import race as race_module
from benchmarks.peers import report
from benchmarks.peers.operators import geometric_mean
from benchmarks.peers.race import Disagreement, Entrant, race

OUTPUT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def entrant(output=OUTPUT, **options) -> Entrant:
    return Entrant(lambda: output, **options)


@pytest.fixture
def times(monkeypatch):
    """Milliseconds that each engine is said to take, instead of a clock."""
    said: dict[str, list[float]] = {}
    monkeypatch.setattr(
        race_module, "interleave", lambda runs, rounds: {name: said[name] for name in runs}
    )
    return said


def test_a_slower_peer_loses(times):
    times |= {"pydiff": [10, 11, 9], "a": [20, 22, 18], "b": [30, 33, 27]}
    row = race("item", {name: entrant() for name in times}, 3)
    assert row.fastest_peer == "a"
    assert row.ratio == pytest.approx(2.0)
    assert row.ratio_quartiles == pytest.approx([2.0, 2.0])


def test_a_faster_peer_wins(times):
    times |= {"pydiff": [10], "a": [5]}
    row = race("item", {name: entrant() for name in times}, 1)
    assert (row.ratio, row.ratio_quartiles) == (0.5, [0.5, 0.5])


def test_one_slow_round_does_not_decide(times):
    times |= {"pydiff": [10, 10, 1000], "a": [20, 20, 20]}
    assert race("item", {name: entrant() for name in times}, 3).ratio == 2.0


def test_the_uncounted_are_shown_and_never_make_the_ratio(times):
    times |= {"pydiff": [10], "bf16": [1], "a": [20]}
    entrants = {"pydiff": entrant(), "bf16": entrant(counted=False), "a": entrant()}
    row = race("item", entrants, 1)
    assert (row.fastest_peer, row.ratio, row.median_ms["bf16"]) == ("a", 2.0, 1)


def test_no_peer_no_ratio(times):
    times |= {"pydiff": [10], "pydiff eager": [20]}
    entrants = {"pydiff": entrant(), "pydiff eager": entrant(counted=False)}
    row = race("item", entrants, 1)
    assert (row.fastest_peer, row.ratio, row.ratio_quartiles) == (None, None, None)


@pytest.mark.parametrize(
    "output", [OUTPUT * 1.002, np.where(OUTPUT > 0.9, np.nan, OUTPUT), OUTPUT[:2], -OUTPUT]
)
def test_another_output_is_an_error(output):
    with pytest.raises(Disagreement, match="a differs from pydiff"):
        race("item", {"pydiff": entrant(), "a": entrant(output)}, 1)


def test_the_second_call_is_checked_too():
    outputs = iter([OUTPUT, OUTPUT + 1])
    with pytest.raises(Disagreement):
        race("item", {"pydiff": entrant(), "a": Entrant(lambda: next(outputs))}, 1)


def test_a_first_call_that_was_made_already_is_not_made_again(times):
    times |= {"pydiff": [1], "a": [1]}
    calls = []
    made = Entrant(lambda: calls.append(1) or OUTPUT, first=OUTPUT)
    race("item", {"pydiff": entrant(), "a": made}, 1)
    assert calls == [1]
    with pytest.raises(Disagreement):
        race("item", {"pydiff": entrant(), "a": entrant(first=OUTPUT + 1)}, 1)


def test_a_reused_output_array_is_compared_by_its_value_at_the_call():
    memory = np.empty_like(OUTPUT)
    values = iter([OUTPUT, OUTPUT + 1])

    def run() -> np.ndarray:
        memory[...] = next(values)
        return memory

    with pytest.raises(Disagreement):
        race("item", {"pydiff": entrant(), "a": Entrant(run)}, 1)


def test_a_wider_tolerance_is_the_entrants_own(times):
    times |= {"pydiff": [1], "bf16": [1]}
    entrants = {"pydiff": entrant(), "bf16": entrant(OUTPUT * 1.05, tolerance=0.1)}
    assert race("item", entrants, 1).errors["bf16"] == pytest.approx(0.05, rel=1e-3)


def test_the_report_shows_times_reasons_and_the_geometric_mean(times):
    machine = {"processor": "p", "threads": 2, "isa": "v4", "fma_gflops": None}
    times |= {"pydiff": [10], "a": [20]}
    network = race("forward m b1", {n: entrant() for n in times}, 1, "forward", notes={"b": "no"})
    rows = [network]
    for ratio in (2, 8):
        times["a"] = [10 * ratio]
        rows.append(race(f"conv {ratio}", {n: entrant() for n in times}, 1, "conv", flop=1e9))
    text = report.text(rows, machine)
    assert "forward m b1: b -: no" in text
    assert "geometric mean of the ratios: 4.00" in text
    assert "100.0" in text  # GFLOP/s of 1e9 flop in 10 ms
    assert json.loads(json.dumps([dataclasses.asdict(row) for row in rows]))[0]["ratio"] == 2.0


def test_geometric_mean():
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
