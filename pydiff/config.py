"""Process-wide settings and memory. The backend applies them; nothing here is native."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .checks import is_integer
from .errors import ConfigError

MAX_THREADS = 1024

CONV_ALGORITHMS = ("auto", "exact")

_num_threads: int | None = None
_conv_algorithm: str | None = None
_subscribers: list[Callable[[int], object]] = []
_caches: list[Callable[[], object]] = []


def num_threads() -> int:
    """Number of threads that kernels use.

    The value given to `set_num_threads`; else `PYDIFF_NUM_THREADS` or `OMP_NUM_THREADS`; else the
    processors that this process may use. Results never depend on it.
    """
    global _num_threads
    if _num_threads is None:
        _num_threads = _from_environment() or _available_processors()
    return _num_threads


def set_num_threads(n: int) -> None:
    """Use `n` threads (1 to 1024) from now on. Raises ConfigError outside that range."""
    global _num_threads
    _num_threads = _checked("set_num_threads", n)
    for apply in _subscribers:
        apply(_num_threads)


def conv_algorithm() -> str:
    """How convolutions are computed: "auto" or "exact".

    The value given to `set_conv_algorithm`; else `PYDIFF_CONV_ALGORITHM`; else "auto", which takes
    Winograd's algorithms for 3x3 kernels where they are faster (errors: docs/performance.md).
    "exact" always multiplies directly.
    """
    global _conv_algorithm
    if _conv_algorithm is None:
        name = os.environ.get("PYDIFF_CONV_ALGORITHM") or "auto"
        _conv_algorithm = _checked_algorithm("PYDIFF_CONV_ALGORITHM", name)
    return _conv_algorithm


def set_conv_algorithm(name: str) -> None:
    """Compute convolutions by "auto" or "exact" from now on. Raises ConfigError for other names."""
    global _conv_algorithm
    _conv_algorithm = _checked_algorithm("set_conv_algorithm", name)


def _checked_algorithm(where: str, name: str) -> str:
    if name not in CONV_ALGORITHMS:
        raise ConfigError(f"{where}: {name!r}; allowed: {', '.join(CONV_ALGORITHMS)}")
    return name


def on_num_threads(apply: Callable[[int], object]) -> None:
    """Call `apply(n)` now and whenever the number of threads changes."""
    _subscribers.append(apply)
    apply(num_threads())


def empty_cache() -> None:
    """Give memory that is kept for coming arrays back to the operating system.

    Results and scratch come from blocks that are kept when their arrays die, since fresh pages cost
    a training step a tenth of its time. Together with the arrays in use they never exceed one and
    a half times the most that was in use at once during the last 16384 to 32768 requests; this
    forgets that peak as well. Arrays in use are not touched. From any thread, at any time.
    """
    for release in _caches:
        release()


def on_empty_cache(release: Callable[[], object]) -> None:
    """Call `release()` in `empty_cache`."""
    _caches.append(release)


def _checked(where: str, n: Any) -> int:
    if not is_integer(n) or not 1 <= n <= MAX_THREADS:
        raise ConfigError(f"{where}: the number of threads is {n!r}; allowed: 1 to {MAX_THREADS}")
    return int(n)


def _from_environment() -> int | None:
    for key in ("PYDIFF_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(key, "").split(",")[0].strip()  # OpenMP allows one number per level
        if text.isdigit():
            return _checked(key, int(text))
        if text and key.startswith("PYDIFF"):
            raise ConfigError(f"{key}={text!r} is no number; allowed: 1 to {MAX_THREADS}")
    return None


def _available_processors() -> int:
    """Processors of the affinity mask, cut to the quota of a container (cgroup v2)."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no cgroup, or a quota of "max"
        pass
    return min(count, MAX_THREADS)
