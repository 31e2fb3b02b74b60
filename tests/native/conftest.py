"""The tests of the native module: `kernel_calls` is importable, settings are restored."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pydiff import _native

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _settings_restored():
    isa, threads = _native.isa(), _native.num_threads()
    yield
    _native.set_isa(isa)
    _native.set_num_threads(threads)


@pytest.fixture(params=_native.supported_isas())
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this machine can run, selected."""
    _native.set_isa(request.param)
    return request.param
