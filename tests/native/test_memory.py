"""Arrays from the pool: ordinary, recycled, bounded, safe on threads, in forks and at exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pydiff import _native, config
from pydiff.backend import cpu

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
KIB, MIB = 1 << 10, 1 << 20
POOLED = 64 * KIB
WINDOW = 16384  # requests


def take(n: int) -> np.ndarray:
    return _native.empty((n,), np.dtype(np.uint8))


def lent() -> int:
    return _native.memory()["lent"]


@pytest.fixture(autouse=True)
def _nothing_kept():
    _native.empty_cache()
    yield
    _native.empty_cache()


@pytest.mark.parametrize("dtype", [F32, F64, np.dtype(np.int64), np.dtype(bool)])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (7, 9), (300, 400), (3, 1, 1000, 1001)])
def test_arrays_are_ordinary(shape: tuple[int, ...], dtype: np.dtype):
    made = _native.empty(shape, dtype)
    for x in (made, _native.empty_like(made)):
        assert type(x) is np.ndarray and x.shape == shape and x.dtype is dtype
        assert x.base is None and x.flags.owndata and x.flags.c_contiguous and x.flags.writeable
        x[...] = 1
        assert (x == 1).all()


def test_empty_like_is_contiguous_whatever_it_is_like():
    x = np.zeros((300, 400))[::2, ::-3].T
    y = _native.empty_like(x)
    assert y.shape == x.shape and y.flags.c_contiguous


def test_large_arrays_lie_on_cache_lines():
    for n in (POOLED, 3 * MIB + 5):
        assert take(n).ctypes.data % 64 == 0


def test_memory_is_used_again():
    first = take(MIB)
    where, fresh = first.ctypes.data, _native.memory()["fresh"]
    del first
    for n in (MIB, MIB - 100, MIB * 9 // 10):
        assert take(n).ctypes.data == where
    assert _native.memory()["fresh"] == fresh


def test_a_loop_that_repeats_itself_allocates_nothing():
    """Sizes that have their peaks at different times, as activations and gradients have."""

    def step() -> None:
        rising = [take(int(POOLED * 1.3**i)) for i in range(12)]
        while rising:
            rising.pop()
            falling = [take(int(POOLED * 1.2**i)) for i in range(len(rising), 12)]
        assert falling

    step()
    step()
    fresh = _native.memory()["fresh"]
    for _ in range(5):
        step()
    assert _native.memory()["fresh"] == fresh


def test_at_most_an_eighth_is_wasted():
    for n in [POOLED, POOLED + 1, 100_000, MIB, MIB + 1, 9 * MIB // 8 + 1, 5_000_001]:
        before = lent()
        x = take(n)
        assert n <= lent() - before <= n * 9 // 8 + 1
        del x
        assert lent() == before


def test_small_arrays_are_left_to_numpy():
    before = _native.memory()
    x = take(POOLED - 1)
    assert _native.memory() == before
    del x


def test_no_more_is_kept_than_the_bound():
    for i in range(200):
        take(POOLED + i * 40_000)
        use = _native.memory()
        assert use["lent"] + use["kept"] <= use["bound"]
    most = POOLED + 199 * 40_000
    assert use["bound"] <= (lent() + most * 9 // 8) * 3 // 2


def test_an_old_peak_is_forgotten():
    peak = [take(8 * MIB) for _ in range(4)]
    del peak
    assert _native.memory()["kept"] >= 32 * MIB
    for _ in range(2 * WINDOW):
        take(POOLED)
    assert _native.memory()["kept"] < MIB


def test_empty_cache_gives_everything_back():
    kept = take(3 * MIB)
    kept[:] = 7
    cpu.contiguous(np.ones((1000, 500)))
    assert _native.memory()["kept"] >= 4_000_000
    config.empty_cache()
    assert _native.memory()["kept"] == 0
    assert (kept == 7).all()


@pytest.mark.parametrize("before", [10, POOLED, 3 * MIB])
@pytest.mark.parametrize("after", [0, 10, POOLED + 1, 3 * MIB - 1, 9 * MIB])
def test_resize_keeps_the_contents(before: int, after: int):
    x = take(max(before, POOLED))
    x.resize(before, refcheck=False)
    x[:] = np.arange(before) % 251
    x.resize(after, refcheck=False)
    n = min(before, after)
    np.testing.assert_array_equal(x[:n], np.arange(n) % 251)
    assert not x[n:].any()  # NumPy's promise


def test_the_handler_is_ours_for_one_array_only():
    take(MIB)
    before = lent()
    other = np.empty(MIB)
    assert lent() == before
    copy = take(MIB).copy()
    assert lent() == before
    assert other.size and copy.size


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((1 << 45,), MemoryError),
        ((1 << 40, 1 << 15), MemoryError),
        ((1 << 62,), ValueError),
        ((1 << 62, 1 << 62), ValueError),
        ((1 << 70,), OverflowError),
        ((-1,), ValueError),
        ((2.5,), TypeError),
        ([3], TypeError),
        ((1,) * 33, TypeError),
    ],
)
def test_what_cannot_be_is_an_error(shape: object, error: type[Exception]):
    before = lent()
    with pytest.raises(error):
        _native.empty(shape, F32)
    assert lent() == before
    assert take(MIB).size == MIB


def test_other_arguments_are_refused():
    for arguments in [((3,),), ((3,), "f4"), ((3,), None), ((3,), F32, 1)]:
        with pytest.raises(TypeError):
            _native.empty(*arguments)
    with pytest.raises(TypeError):
        _native.empty_like([1.0])


def test_views_keep_the_memory():
    x = take(MIB)
    view, before = x[10:20], lent()
    del x
    assert lent() == before
    del view
    assert lent() < before


def test_threads_free_each_others_arrays():
    def make(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        made = [take(int(n)) for n in rng.integers(1, 4 * POOLED, 50)]
        for i, x in enumerate(made):
            x[:] = (seed + i) % 256
        return made

    def check(item: tuple[int, list[np.ndarray]]) -> bool:
        seed, arrays = item
        good = all((x == (seed + i) % 256).all() for i, x in enumerate(arrays))
        arrays.clear()
        return good

    before = lent()
    with ThreadPoolExecutor(4) as makers, ThreadPoolExecutor(4) as checkers:
        assert all(checkers.map(check, enumerate(makers.map(make, range(60)))))
    assert lent() == before


def test_an_array_may_die_on_another_thread():
    box, before = [take(MIB)], lent()
    gone = weakref.ref(box[0])
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert gone() is None and lent() < before


FORK = """
import os, threading
import numpy as np
from pydiff import _native
u8 = np.dtype(np.uint8)
kept = [_native.empty((1 << 20,), u8) for _ in range(8)]
for x in kept: x[:] = 3
stop = threading.Event()
def churn():
    while not stop.is_set(): _native.empty((1 << 20,), u8)
threads = [threading.Thread(target=churn) for _ in range(3)]
for t in threads: t.start()
try:
    for _ in range(30):
        child = os.fork()
        if child == 0:
            good = all((x == 3).all() for x in kept)
            kept.clear()
            fresh = [_native.empty((1 << 20,), u8) for _ in range(16)]
            for x in fresh: x[:] = 4
            _native.empty_cache()
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
finally:
    stop.set()
    for t in threads: t.join()
assert all((x == 3).all() for x in kept)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_while_other_threads_allocate():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)


EXIT = """
import builtins, sys, threading
import numpy as np
from pydiff import _native
array = _native.empty((1 << 20,), np.dtype(np.float32))
array[:] = 1
builtins.kept = array  # outlives the module that made it
kept = [_native.empty((1 << 18,), np.dtype(np.float64)) for _ in range(10)]
sys.modules["cycle"] = (kept, sys.modules)
del sys.modules["pydiff._native"], _native
"""


def test_arrays_outlive_everything():
    result = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
