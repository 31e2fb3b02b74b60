"""SIGINT outside a deferred section acts at once, inside it at its end."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pydiff.training.interrupt import InterruptGuard


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_outside_a_deferred_section_it_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), InterruptGuard().installed():
        interrupt()
        for _ in range(10**6):
            pass
        pytest.fail("not interrupted")


def test_inside_it_waits_for_the_end_of_the_outermost():
    done = []
    guard = InterruptGuard()
    with pytest.raises(KeyboardInterrupt), guard.installed(), guard.deferred():
        with guard.deferred():
            interrupt()
            done.append(1)
        done.append(2)
    assert done == [1, 2]


def test_the_previous_handler_comes_back_and_is_the_one_called():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *args: seen.append(args[0]))
    try:
        guard = InterruptGuard()
        with guard.installed(), guard.deferred():
            interrupt()
            assert seen == []
        assert seen == [signal.SIGINT]
        interrupt()
        assert seen == [signal.SIGINT] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_handler_alone():
    handler = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with InterruptGuard().installed() as guard, guard.deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handler]
