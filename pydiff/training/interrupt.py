"""Ctrl-C that never leaves the training state half changed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class InterruptGuard:
    """While `installed()`, SIGINT is held back inside `deferred()` and raised at its end.

    Elsewhere the handler that was there before runs at once, as if nothing were installed. Only
    the main thread may set handlers, and only it receives signals; in others this does nothing.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._pending: tuple[int, FrameType | None] | None = None
        self._previous: object = None

    @contextlib.contextmanager
    def installed(self) -> Iterator[InterruptGuard]:
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            yield self
            return
        self._previous = previous
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._pending is not None:
                pending, self._pending = self._pending, None
                self._deliver(*pending)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._pending = (number, frame)
        else:
            self._deliver(number, frame)

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(number, frame)
