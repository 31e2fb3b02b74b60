"""Silence: exporters and converters write pages, some of them from C++."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing reaches stdout and stderr, from C++ and child processes neither, unless it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with (
                _redirected(file.fileno()),
                contextlib.redirect_stdout(file),
                contextlib.redirect_stderr(file),
            ):
                yield
        except Exception:
            file.seek(0)  # flushes it first
            print(file.read()[-2000:], file=sys.stderr)
            raise


@contextlib.contextmanager
def _redirected(target: int) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    for number in saved:
        os.dup2(target, number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)
