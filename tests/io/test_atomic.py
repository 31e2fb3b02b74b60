"""A write leaves the old content or the new one, and no temporary file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pydiff.io.atomic import WriteError, atomic_folder, atomic_write


def test_writes_bytes_and_through_a_function(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", b"one")
    atomic_write(tmp_path / "a", lambda path: path.write_text("two"))
    assert (tmp_path / "a").read_text() == "two"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_content(tmp_path: Path, error: BaseException) -> None:
    def writer(path: Path) -> None:
        path.write_text("half")
        raise error

    atomic_write(tmp_path / "a", b"old")
    with pytest.raises(type(error)):
        atomic_write(tmp_path / "a", writer)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_full_names_path_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    atomic_write(tmp_path / "a", b"old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(WriteError, match=r"a: No space left .*\(3 bytes written, .* bytes free"):
        atomic_write(tmp_path / "a", b"new")
    with pytest.raises(WriteError, match="3 bytes written"), atomic_folder(tmp_path / "b") as new:
        (new / "c").write_bytes(b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"):
        atomic_write(tmp_path / "missing" / "a", b"")


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "good") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        assert not (tmp_path / "good").exists()
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "bad") as folder:
        (folder / "file").write_text("x")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["good"]
    assert (tmp_path / "good" / "sub" / "file").read_text() == "x"


def test_folder_does_not_replace_a_full_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "file").write_text("old")
    with pytest.raises(WriteError), atomic_folder(tmp_path / "a") as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
