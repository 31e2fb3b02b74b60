from __future__ import annotations

import pytest

from pydiff.io.figure import plotting_available
from pydiff.training.plots import _smoothed, save_loss_curve


def test_a_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    assert plotting_available()
    records = [{"step": step, "loss": 1.0 / step} for step in range(1, 30)]
    save_loss_curve(records, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_running_mean_is_unbiased_from_the_start():
    assert _smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert _smoothed([1.0, 2.0])[1] == pytest.approx((0.8 * 1 + 2) / 1.8)
