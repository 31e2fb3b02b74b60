"""Ctrl-C ends an evaluation at once; other threads go on meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import pydiff
from pydiff import ops

INTERRUPT = """
import signal, time
import numpy as np
import pydiff
from pydiff import ops

pydiff.set_num_threads({threads})

def model(x, t):
    for _ in range({calls}):
        x = ops.tanh(x)
    return x

model.independent_images = True
x = np.ones(({images}, 256, 256, 16 // {images}), np.float32)
plan = pydiff.compile(model, x, 1.0)
start = time.perf_counter()
whole = plan(x, 1.0)
whole_seconds = time.perf_counter() - start
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, whole_seconds / 4)
start = time.perf_counter()
try:
    plan(x, 1.0)
except KeyboardInterrupt:
    stopped = time.perf_counter() - start
    print("early" if stopped < 0.9 * whole_seconds else f"late: {{stopped}} of {{whole_seconds}}")
assert (plan(x, 1.0) == whole).all()
"""


@pytest.mark.parametrize("images, threads", [(1, 1), (16, 2)])  # whole, in parts
def test_ctrl_c_ends_an_evaluation_and_the_next_one_works(images: int, threads: int):
    text = INTERRUPT.format(calls=1600, images=images, threads=threads)
    command = [sys.executable, "-c", text]
    result = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert result.stdout.strip() == "early"


def test_other_python_threads_run_meanwhile():
    """A thread that only counts gets on while another one evaluates a plan."""

    def model(x, t):
        for _ in range(1000):
            x = ops.tanh(x)
        return x

    x = np.ones((1, 256, 256, 4), np.float32)
    plan = pydiff.compile(model, x, 1.0)
    running, counts = threading.Event(), []

    def count() -> None:
        n = 0
        while not running.is_set():
            n += 1
            time.sleep(0)
        counts.append(n)

    thread = threading.Thread(target=count)
    thread.start()
    plan(x, 1.0)
    running.set()
    thread.join()
    assert counts[0] > 5  # with the GIL held: 1 or 2
