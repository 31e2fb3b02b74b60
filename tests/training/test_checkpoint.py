"""A checkpoint is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pydiff.errors import CheckpointError
from pydiff.training import checkpoint as ckpt

CONTENT = {"state.json": b"{}", "model/weights.bin": bytes(range(256)) * 40, "empty.bin": b""}


def write(path, content=CONTENT):
    for name, data in content.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)


def test_saved_checkpoint_verifies_and_last_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        ckpt.save_checkpoint(tmp_path, step, write)
    assert sorted(os.listdir(tmp_path)) == ["step-000002", "step-000003"]
    newest = ckpt.newest_checkpoint(tmp_path)
    assert newest == tmp_path / "step-000003"
    for name, data in CONTENT.items():
        assert (newest / name).read_bytes() == data


def test_steps_beyond_six_digits_sort_as_numbers(tmp_path):
    ckpt.save_checkpoint(tmp_path, 999_999, write)
    ckpt.save_checkpoint(tmp_path, 1_000_000, write)
    assert ckpt.newest_checkpoint(tmp_path).name == "step-1000000"


@pytest.mark.parametrize("name", [*CONTENT, ckpt.MARKER])
@pytest.mark.parametrize("damage", ["truncate", "flip", "grow", "remove"])
def test_damaged_newest_falls_back_and_says_so(tmp_path, name, damage):
    ckpt.save_checkpoint(tmp_path, 1, write)
    file = ckpt.save_checkpoint(tmp_path, 2, write) / name
    data = file.read_bytes()
    if damage in ("truncate", "flip") and not data:
        pytest.skip("nothing to cut in an empty file")
    if damage == "truncate":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "grow":
        file.write_bytes(data + b"x")
    else:
        file.unlink()
    with pytest.warns(RuntimeWarning, match="step-000002.*falling back to .*step-000001"):
        assert ckpt.newest_checkpoint(tmp_path).name == "step-000001"


def test_every_truncation_of_the_marker_is_rejected(tmp_path):
    path = ckpt.save_checkpoint(tmp_path, 1, write)
    data = (path / ckpt.MARKER).read_bytes()
    for length in range(len(data)):
        (path / ckpt.MARKER).write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            ckpt.verify_checkpoint(path)


@pytest.mark.parametrize(
    "marker",
    [
        b"[]", b"null", b"1", b'{"format": 2, "files": {}}', b'{"format": 1}', b"\xff\xfe",
        b'{"format": 1, "files": [1]}', b'{"format": 1, "files": {"state.json": 3}}',
        b'{"format": 1, "files": {"state.json": ["2", "x"]}}', b"[" * 100_000,
        b'{"format": 1, "files": {"../../outside": [0, ""]}}', b" " * (2 << 20),
    ],
)  # fmt: skip
def test_hostile_markers_are_rejected(tmp_path, marker):
    path = ckpt.save_checkpoint(tmp_path, 1, write)
    (path / ckpt.MARKER).write_bytes(marker)
    with pytest.raises(CheckpointError):
        ckpt.verify_checkpoint(path)


def test_links_and_extra_files_are_rejected(tmp_path):
    path = ckpt.save_checkpoint(tmp_path / "a", 1, write)
    (path / "extra").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"unexpected.*extra"):
        ckpt.verify_checkpoint(path)
    (path / "extra").unlink()
    outside = tmp_path / "outside"
    (path / "state.json").rename(outside)
    (path / "state.json").symlink_to(outside)
    with pytest.raises(CheckpointError, match="link"):
        ckpt.verify_checkpoint(path)


def test_no_checkpoint_lists_what_was_rejected(tmp_path):
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        ckpt.newest_checkpoint(tmp_path / "absent")
    path = ckpt.save_checkpoint(tmp_path, 7, write)
    (path / ckpt.MARKER).unlink()
    with pytest.raises(CheckpointError, match=r"(?s)no complete.*step-000007 is incomplete"):
        ckpt.newest_checkpoint(tmp_path)


def test_saving_a_step_again_replaces_it(tmp_path):
    ckpt.save_checkpoint(tmp_path, 5, write)
    ckpt.save_checkpoint(tmp_path, 5, lambda path: write(path, {"other": b"new"}))
    assert (ckpt.newest_checkpoint(tmp_path) / "other").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["step-000005"]


def calls_of(name, tmp_path, monkeypatch):
    """How often a save into a folder that holds a checkpoint calls os.<name>."""
    ckpt.save_checkpoint(tmp_path / "count", 1, write)
    count, real = 0, getattr(os, name)

    def counting(*args, **kwargs):
        nonlocal count
        count += 1
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, counting)
        ckpt.save_checkpoint(tmp_path / "count", 2, write)
    return count


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("name", ["fsync", "rename", "replace", "open", "mkdir"])
def test_every_failing_call_leaves_the_old_checkpoint(tmp_path, monkeypatch, name, code):
    ckpt.save_checkpoint(tmp_path, 1, write)
    for nth in range(calls_of(name, tmp_path, monkeypatch)):
        left, real, failed = nth, getattr(os, name), False

        def failing(*args, _real=real, **kwargs):
            nonlocal left, failed
            left -= 1
            if left < 0 and not failed:
                failed = True
                raise OSError(code, os.strerror(code))
            return _real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                ckpt.save_checkpoint(tmp_path, 2, write)
            except OSError as error:
                assert os.strerror(code) in str(error)
                assert "step-000002" in str(error) and "bytes free" in str(error)
        ckpt.newest_checkpoint(tmp_path)
        assert not [entry for entry in os.listdir(tmp_path) if ".tmp" in entry or ".old" in entry]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_call_is_old_or_new(tmp_path):
    # in a process of its own, which is small and so forks quickly
    code = f"import test_checkpoint as t; t.kill_everywhere(t.Path({str(tmp_path)!r}))"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def kill_everywhere(folder):
    """Kill a save before and after its n-th call of each kind, for all n."""
    for name in ("open", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
        with pytest.MonkeyPatch.context() as patch:
            total = calls_of(name, folder / name, patch)
        for nth in range(total + 1):
            for after in (False, True):
                kill_one(folder / f"{name}-{nth}-{after}", name, nth, after, nth < total)


def kill_one(folder, name, nth, after, certain):
    for step in (1, 2):
        ckpt.save_checkpoint(folder, step, write)
    assert _save_in_child_killed_at(folder, name, nth, after) or not certain
    assert ckpt.newest_checkpoint(folder).name in ("step-000002", "step-000003")
    ckpt.save_checkpoint(folder, 4, write)
    assert not [entry for entry in os.listdir(folder) if entry.startswith(".")]


def _save_in_child_killed_at(folder, name, nth, after):
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left, real = nth, getattr(os, name)

    def deadly(*args, **kwargs):
        nonlocal left
        left -= 1
        if left < 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return real(*args, **kwargs)
        finally:
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, name, deadly)
    try:
        ckpt.save_checkpoint(folder, 3, write)
    finally:
        os._exit(0)


def test_read_only_folder_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="step-000001"):
        ckpt.save_checkpoint(tmp_path, 1, write)
    tmp_path.chmod(0o700)


def test_marker_lists_every_file_with_its_hash(tmp_path):
    path = ckpt.save_checkpoint(tmp_path, 1, write)
    files = json.loads((path / ckpt.MARKER).read_text())["files"]
    assert files == {name: [len(data), ckpt.sha256(path / name)] for name, data in CONTENT.items()}
