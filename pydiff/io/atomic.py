"""Writing files so that a reader sees the old content or the new one, never a half.

A temporary file in the same folder is written, synced and renamed over the target, then the folder
is synced; rename is atomic on POSIX file systems (rename(2)) only within one file system.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import PydiffError


class WriteError(PydiffError, OSError):
    """A file could not be written; the old content is intact and the temporary file removed."""


def atomic_write(path: str | os.PathLike[str], content: bytes | Callable[[Path], None]) -> None:
    """Replace the file `path` by `content`: bytes, or a function that writes the path it is given.

    Raises WriteError naming path, bytes written and bytes free; `path` then holds what it held.
    """
    target = Path(path)
    temporary = _temporary(target)
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise WriteError(_describe(error, target, temporary)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new temporary folder to fill; on success it appears as `path`, else it is removed.

    `path` must not exist, or be an empty folder: a folder cannot be replaced atomically.
    Raises WriteError like `atomic_write`.
    """
    target = Path(path)
    temporary = _temporary(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in sorted(temporary.rglob("*"), reverse=True):
            _sync(file)
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise WriteError(_describe(error, target, temporary)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp.{os.urandom(4).hex()}")


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder, and needs no sync of it
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(error: OSError, target: Path, temporary: Path) -> str:
    files = [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]
    written = sum(file.stat().st_size for file in files if file.is_file())
    folder = next(parent for parent in target.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    reason = error.strerror or str(error)
    return f"cannot write {target}: {reason} ({written:,} bytes written, {free:,} bytes free)"
