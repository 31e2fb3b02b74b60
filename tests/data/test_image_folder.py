"""Folders of images, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pydiff.data import folder
from pydiff.errors import ConfigError, DataError


def fill(root: Path, count: int, size: tuple[int, int] = (8, 8)) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (i, 0, 255)).save(root / f"{i:03d}.png")


def test_images_in_the_order_of_their_paths(tmp_path: Path) -> None:
    fill(tmp_path / "b", 2, (16, 12))
    fill(tmp_path / "a", 3)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a.png").write_text("what file managers leave behind")
    (tmp_path / "c.png").mkdir()
    data = folder(tmp_path, 8)
    assert data.images.shape == (5, 8, 8, 3) and data.images.dtype == np.float32
    assert data.images.min() == -1.0 and data.images.max() == 1.0
    names = [str(file.relative_to(tmp_path)) for file in data.files]
    assert names == ["a/000.png", "a/001.png", "a/002.png", "b/000.png", "b/001.png"]
    np.testing.assert_allclose(data.images[:, 0, 0, 0], np.array([0, 1, 2, 0, 1]) / 127.5 - 1)
    assert data.labels is None and data.classes == () and data.skipped == ()


def test_labels_from_sub_folders(tmp_path: Path) -> None:
    fill(tmp_path / "cats", 2)
    fill(tmp_path / "ants" / "red", 3)
    data = folder(tmp_path, (4, 6), channels=1, labels=True)
    assert data.images.shape == (5, 4, 6, 1)
    assert data.classes == ("ants", "cats")
    np.testing.assert_array_equal(data.labels, [0, 0, 0, 1, 1])
    fill(tmp_path, 1)
    with pytest.raises(DataError, match="no sub-folder"):
        folder(tmp_path, 8, labels=True)


def test_unreadable_files_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    content = (tmp_path / "050.png").read_bytes()
    (tmp_path / "050.png").write_bytes(content[: len(content) // 2])
    data = folder(tmp_path, 8)
    assert len(data.images) == len(data.files) == 99
    assert [file.name for file, _ in data.skipped] == ["050.png"]
    assert "050.png" in data.skipped[0][1]
    assert data.images[50, 0, 0, 0] == pytest.approx(51 / 127.5 - 1)  # no gap, nothing shifted


def test_more_than_one_per_cent_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    for i in (3, 4):
        (tmp_path / f"{i:03d}.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"2 of 100 files are unreadable.*003\.png"):
        folder(tmp_path, 8)


def test_what_cannot_be_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="not a folder"):
        folder(tmp_path / "missing", 8)
    with pytest.raises(DataError, match="holds no files"):
        folder(tmp_path, 8)
    fill(tmp_path, 1)
    monkeypatch.setattr("pydiff.data.image_folder.MAX_BYTES", 8 * 8 * 3 * 4 - 1)
    with pytest.raises(DataError, match="need 768 bytes, limit 767"):
        folder(tmp_path, 8)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 1.5}, {"size": 8, "channels": 2}])
def test_bad_options_are_errors_not_skipped_files(tmp_path: Path, options: Any) -> None:
    fill(tmp_path, 1)
    with pytest.raises(ConfigError):
        folder(tmp_path, **options)
