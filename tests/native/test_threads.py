"""Threads: bits do not depend on their number; forks, concurrent callers and Ctrl-C are safe."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from kernel_calls import CALLS, digest

from pydiff import _native

HERE = str(Path(__file__).parent)


@pytest.mark.parametrize("name", CALLS)
def test_bits_do_not_depend_on_the_number_of_threads(name: str, isa: str):
    digests = set()
    for threads in (1, 2, 3, 8):
        _native.set_num_threads(threads)
        digests.add(digest(name, np.float32))
    assert len(digests) == 1


def test_set_num_threads():
    _native.set_num_threads(3)
    assert _native.num_threads() == 3
    for n in (0, -1, 1025):
        with pytest.raises(ValueError, match="1 to 1024"):
            _native.set_num_threads(n)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_woken_threads_may_use_every_processor_again():
    """The pool keeps a thread off its waker's processor only until it is awake."""

    def masks() -> list[set[int]]:
        return [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]

    _native.set_num_threads(3)
    for _ in range(3):
        digest("matmul", np.float32)
        time.sleep(0.05)  # the pool's threads fall asleep
    digest("matmul", np.float32)
    end = time.monotonic() + 5
    while any(mask != os.sched_getaffinity(0) for mask in masks()) and time.monotonic() < end:
        time.sleep(0.01)
    assert all(mask == os.sched_getaffinity(0) for mask in masks())


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"PYDIFF_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    ],
)
def test_default_number_of_threads(variables: dict[str, str], expected: int):
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    code = "import pydiff._native as n; print(n.num_threads())"
    out = subprocess.check_output([sys.executable, "-c", code], env={**kept, **variables})
    assert int(out) == expected


def test_concurrent_callers_get_the_serial_bits():
    names = list(CALLS)
    expected = {name: digest(name, np.float32) for name in names}

    def work(first: int) -> bool:
        order = names[first:] + names[:first]
        return all(digest(name, np.float32) == expected[name] for name in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(0, 8 * 5, 5)))


def test_threads_may_change_during_a_call():
    """Scratch is sized by the number of threads at the start of a call."""
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for n in (1, 8, 3):
                _native.set_num_threads(n)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        assert len({digest("conv2d", np.float32) for _ in range(20)}) == 1
        assert len({digest("matmul", np.float32) for _ in range(20)}) == 1
    finally:
        stop.set()
        changer.join()


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from kernel_calls import CALLS, digest
from pydiff import _native
_native.set_num_threads(3)
names = ["sum", "normal", "conv2d", "gelu"]
before = [digest(n, np.float32) for n in names]
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if [digest(n, np.float32) for n in names] == before else 1)
    assert os.waitpid(child, 0)[1] == 0
assert [digest(n, np.float32) for n in names] == before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_the_same_and_does_not_hang():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, HERE], check=True, timeout=60)


INTERRUPT = """
import signal
import numpy as np
from pydiff import _native
_native.set_num_threads(1)
x, y = np.zeros((1 << 24, 1), np.float32), np.full((1 << 24, 1), 7, np.float32)
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.03)
try:
    _native.softmax(x, y)
except KeyboardInterrupt:
    print("unfinished" if (y == 7).any() else "finished")
_native.softmax(x, y)
assert (y == 1).all()
"""


def test_ctrl_c_stops_a_kernel_midway_and_the_next_call_works():
    command = [sys.executable, "-c", INTERRUPT]
    out = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    assert out.strip() == "unfinished"


def test_signals_that_raise_nothing_do_not_stop_a_kernel():
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        y = np.empty((4, 1 << 22))
        while not seen:
            _native.normal(y, 1, 0, 0, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    expected = np.empty((4, 1 << 22))
    _native.normal(expected, 1, 0, 0, 0)
    assert np.array_equal(y, expected)


def _floating_point_control() -> bytes:
    """fegetenv's block holds MXCSR (x86) or FPCR: rounding, flush-to-zero, exception masks."""
    block = ctypes.create_string_buffer(256)
    ctypes.CDLL(None).fegetenv(block)
    return block.raw[28:32] if platform.machine() == "x86_64" else block.raw[:4]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads MXCSR")
def test_kernels_leave_the_rounding_and_denormal_modes_alone(isa: str):
    control = int.from_bytes(_floating_point_control(), "little") & ~0x3F  # without sticky flags
    for name in CALLS:
        digest(name, np.float32)
    assert int.from_bytes(_floating_point_control(), "little") & ~0x3F == control
    tiny = np.full(100_003, np.finfo(np.float32).smallest_subnormal)
    y = np.empty_like(tiny)
    _native.add(tiny, tiny, y)
    assert np.array_equal(y, 2 * tiny)
