"""Which engines take part, and what becomes of those that cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import networks
from benchmarks.peers.engines import ENGINES
from benchmarks.peers.engines.base import Engine, Unable

HERE = Path()


def working(folder, task, batch):
    return lambda: np.zeros(1)


def refusing(folder, task, batch):
    raise Unable("one image at a time")


def broken(folder, task, batch):
    print("pages of a converter")
    raise RuntimeError("first line\nsecond line")


def test_missing_engines_are_named_with_the_command(capsys):
    absent = Engine("ghost", working, ("ghost-package", "torch"), ("no_such_module",))
    assert networks.installed([absent, Engine("here", working)])[0].name == "here"
    error = capsys.readouterr().err
    assert "ghost left out" in error and "pip install ghost-package torch" in error


def test_avx2_leaves_out_what_cannot_be_held_to_it(capsys):
    engines = [Engine("held", working, avx2=True), Engine("free", working)]
    assert [e.name for e in networks.installed(engines, avx2=True)] == ["held"]
    assert "free left out" in capsys.readouterr().err


def test_an_engine_that_cannot_is_noted_and_one_without_the_task_is_silent():
    engines = [
        Engine("works", working, counted=False, tolerance=0.5),
        Engine("refuses", refusing),
        Engine("breaks", broken),
        Engine("idle", lambda folder, task, batch: None),
    ]
    entrants, notes = networks.prepare(engines, HERE, "forward", 2)
    assert list(entrants) == ["works"]
    assert (entrants["works"].counted, entrants["works"].tolerance) == (False, 0.5)
    assert notes == {"refuses": "one image at a time", "breaks": "RuntimeError: first line"}


def test_an_error_of_pydiff_is_raised():
    with pytest.raises(RuntimeError, match="first line"):
        networks.prepare([Engine("pydiff", broken)], HERE, "forward", 1)


def test_preparation_is_quiet_unless_it_fails(capfd):
    def noisy(folder, task, batch):
        print("pages")
        return working(folder, task, batch)

    networks.prepare([Engine("noisy", noisy)], HERE, "forward", 1)
    assert capfd.readouterr() == ("", "")
    networks.prepare([Engine("breaks", broken)], HERE, "forward", 1)
    assert "pages of a converter" in capfd.readouterr().err


def test_every_engine_has_its_own_name_and_pydiff_is_first():
    names = [engine.name for engine in ENGINES]
    assert len(names) == len(set(names)) and names[0] == "pydiff"


@pytest.mark.parametrize(
    "argv",
    [
        ["fly"],
        ["forward", "big"],
        ["forward", "--batch", "3"],
        ["--engines", "ghost"],
        ["--rounds", "0"],
    ],
)
def test_bad_usage_exits_with_2(argv, monkeypatch):
    monkeypatch.setattr(command.machine, "describe", dict)
    with pytest.raises(SystemExit) as exit_:
        command.main(argv)
    assert exit_.value.code == 2


def test_pydiff_runs_its_own_items(tmp_path):
    """The one engine that is always there, end to end but for the clock."""
    with networks.saved_model("small") as folder:
        for task in ("forward", "train"):
            entrants, notes = networks.prepare(ENGINES[:1], folder, task, 1)
            assert np.isfinite(entrants["pydiff"].run()).all() and not notes
    assert not folder.exists()
