"""Checkpoint folders that are whole or absent, whatever moment the process dies at.

A checkpoint is written into a temporary folder next to its final place, with `COMPLETE`, which
lists the size and SHA-256 of each file, last; all is fsynced, then renamed (see `io.atomic`).
A reader believes only a folder whose `COMPLETE` agrees with its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..io.atomic import atomic_folder
from ..io.config import parse_object, read_limited

MARKER = "COMPLETE"
KEEP = 2
_MAX_MARKER_BYTES = 1 << 20
_STEP_NAME = re.compile(r"step-(\d{6,})\Z")
_LEFTOVER_NAME = re.compile(r"\.step-\d{6,}\.(tmp|old)\.[0-9a-f]+\Z")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lives in `folder`."""
    return folder / f"step-{step:06d}"


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoint folders in `folder`, whole or not, newest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _STEP_NAME.match(path.name)]
    return sorted(found, key=_step_of, reverse=True)


def save_checkpoint(folder: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Make the checkpoint of `step`: `write(path)` fills an empty folder. Keeps the last two.

    Raises WriteError (an OSError) naming the checkpoint and the free space; older checkpoints stay
    intact and nothing of the failed one is left behind.
    """
    final = checkpoint_path(folder, step)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with atomic_folder(final) as temporary:
        write(temporary)
        _write_marker(temporary)
        _step_aside(final)
    remove_leftovers(folder)
    not_newer = [path for path in list_checkpoints(folder) if _step_of(path) <= step]
    for old in not_newer[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(folder: Path) -> Path:
    """The newest whole checkpoint in `folder`; warns about each newer one that is not.

    Raises CheckpointError if there is none, with the reason for each that was rejected.
    """
    reasons = []
    for path in list_checkpoints(folder):
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            warnings.warn(f"{reason}; falling back to {path}", RuntimeWarning, stacklevel=2)
        return path
    detail = "".join(f"\n  {reason}" for reason in reasons)
    raise CheckpointError(f"no complete checkpoint in {folder}{detail}")


def verify_checkpoint(path: Path) -> None:
    """Raise CheckpointError unless `path` holds exactly the files of its marker, bit for bit."""
    try:
        expected = _read_marker(path)
        present = {file.relative_to(path).as_posix() for file in _files(path)} - {MARKER}
        _check_names(path, set(expected), present)
        for name, (size, digest) in expected.items():
            if (found := (path / name).stat().st_size) != size:
                raise CheckpointError(f"checkpoint {path}: {name} has {found} bytes, not {size}")
            if sha256(path / name) != digest:
                raise CheckpointError(f"checkpoint {path}: {name} does not have its SHA-256")
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def remove_leftovers(folder: Path) -> None:
    """Delete what saves left behind: folders of killed ones, and those that made room."""
    for path in folder.iterdir():
        if _LEFTOVER_NAME.match(path.name):
            shutil.rmtree(path, ignore_errors=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _step_of(path: Path) -> int:
    match = _STEP_NAME.match(path.name)
    return int(match.group(1)) if match else -1


def _files(path: Path) -> Iterator[Path]:
    for root, _, names in os.walk(path):
        yield from (Path(root) / name for name in names)


def _write_marker(path: Path) -> None:
    entries = {
        file.relative_to(path).as_posix(): [file.stat().st_size, sha256(file)]
        for file in sorted(_files(path))
    }
    (path / MARKER).write_text(json.dumps({"format": 1, "files": entries}, indent=1))


def _read_marker(path: Path) -> dict[str, tuple[int, str]]:
    marker = path / MARKER
    if not marker.is_file() or marker.is_symlink():
        raise CheckpointError(f"checkpoint {path} is incomplete: it has no {MARKER}")
    text = read_limited(marker, _MAX_MARKER_BYTES, CheckpointError)
    content = parse_object(text, str(marker), CheckpointError)
    try:
        if content.get("format") != 1:
            raise ValueError("not format 1")
        return {str(name): _entry(value) for name, value in dict(content["files"]).items()}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path}: {MARKER} is malformed ({error!r})") from error


def _entry(value: Any) -> tuple[int, str]:
    size, digest = value
    if type(size) is not int or not isinstance(digest, str):
        raise ValueError("an entry is not [bytes, sha256]")
    return size, digest


def _check_names(path: Path, expected: set[str], present: set[str]) -> None:
    missing, extra = sorted(expected - present), sorted(present - expected)
    if missing or extra:
        raise CheckpointError(f"checkpoint {path}: files missing {missing}, unexpected {extra}")
    for name in present:
        if (path / name).is_symlink():
            raise CheckpointError(f"checkpoint {path}: {name} is a link")


def _step_aside(final: Path) -> None:
    """A folder cannot replace a non-empty one, so an older attempt at this step makes room."""
    if final.exists():
        os.rename(final, final.with_name(f".{final.name}.old.{os.urandom(4).hex()}"))
