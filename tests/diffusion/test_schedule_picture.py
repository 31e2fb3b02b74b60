"""The picture of schedules."""

from __future__ import annotations

import sys
import warnings

import pytest

from pydiff import schedules


def test_every_schedule_draws(tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = {
            "linear": schedules.linear(),
            "geometric": schedules.geometric(),
            "vp": schedules.vp(),
            "ve": schedules.ve(),
            "flow": schedules.flow(),
            "edm": schedules.edm(),
        }
    schedules.save_picture(every, tmp_path / "all.png")
    assert image.open(tmp_path / "all.png").size == (1320, 480)
    schedules.save_picture(schedules.cosine(), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'pydiff\[plot\]'"):
        schedules.save_picture(schedules.linear(), tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()
