"""The comparison of two files of ratios, of memory and of scaling."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks import compare, memory, scaling, timing
from benchmarks.table import figure, table


@pytest.fixture
def write(tmp_path):
    def write(name, **ratios):
        path = tmp_path / name
        path.write_text(json.dumps({"rows": [{"item": i, "ratio": r} for i, r in ratios.items()]}))
        return str(path)

    return write


@pytest.mark.parametrize(("new", "code"), [(1.79, 1), (1.81, 0), (2.0, 0), (9.0, 0)])
def test_the_threshold_bites(write, new, code):
    old, now = write("old", a=2.0, b=1.0), write("new", a=new, b=1.0)
    assert compare.main([old, now, "--threshold", "0.1"]) == code


def test_items_of_one_file_are_named_and_do_not_fail(write, capsys):
    old, new = write("old", a=2.0, gone=1.0), write("new", a=2.0, fresh=1.0)
    assert compare.main([old, new]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "only in the old file" in lines["gone"] and "only in the new file" in lines["fresh"]


def test_an_item_without_a_ratio_counts_as_absent(write):
    assert compare.main([write("old", a=2.0, b=2.0), write("new", a=2.0, b=None)]) == 0


def test_the_table_marks_what_is_worse(write, capsys):
    compare.main([write("old", a=2.0, b=2.0), write("new", a=1.0, b=3.0)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["a"].endswith("-50 %  WORSE") and lines["b"].rstrip().endswith("+50 %")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": []}', '{"rows": [{"item": "a"}]}'])
def test_a_file_that_is_none_exits_with_2(write, tmp_path, text):
    (tmp_path / "bad").write_text(text)
    for arguments in ([write("old", a=1.0), str(tmp_path / "bad")], ["/nowhere", "/nowhere"]):
        with pytest.raises(SystemExit) as exit_:
            compare.main(arguments)
        assert exit_.value.code == 2


@pytest.mark.parametrize("threshold", ["-0.1", "1", "nan", "ten"])
def test_a_bad_threshold_exits_with_2(write, threshold):
    path = write("old", a=1.0)
    with pytest.raises(SystemExit) as exit_:
        compare.main([path, path, f"--threshold={threshold}"])
    assert exit_.value.code == 2


def test_the_least_peak_of_a_peer_makes_the_ratio_of_memory():
    row = memory.summary("m", {"pydiff": 100.0, "a": 300.0, "b": 250.0}, {"c": "absent"})
    assert (row["best_peer"], row["ratio"]) == ("b", 2.5)
    assert "2.50" in memory.text(row)
    assert memory.summary("m", {"pydiff": 100.0}, {})["ratio"] is None


def test_scaling_says_where_the_cost_of_an_image_rises():
    assert scaling.rises({1: 10.0, 2: 9.0, 4: 9.4, 8: 9.9}) == {8: pytest.approx(1.1)}
    assert "never rises" in scaling.verdict("x", {1: 10.0, 2: 9.0, 4: 9.4})
    assert "rises with the batch at 8 (1.10x)" in scaling.verdict("x", {1: 10.0, 2: 9.0, 8: 9.9})


def test_rounds_are_interleaved(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "settle", lambda: order.append("rest") or True)
    monkeypatch.setattr(timing, "TURN", 0.0)  # one call a turn
    monkeypatch.setattr(timing, "WARM", 0.0)  # and one before it
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = timing.interleave(runs, 3)
    calls = [n for n in order if n != "rest"]
    assert calls == ["a", "b"] + ["a", "a", "b", "b"] * 3  # the first of each is a trial
    assert all(len(values) == 3 for values in times.values())
    assert all("rest" in pair or len(set(pair)) == 1 for pair in itertools.pairwise(order))


def test_tables_align():
    assert table(["a", "b"], [["long name", figure(1.234)], ["x", figure(None)]]) == (
        "a             b\nlong name  1.23\nx             -"
    )
