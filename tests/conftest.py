"""For every test: no network, one hypothesis profile, fixed seeds, the pydiff that is installed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import pydiff

os.environ["HF_HUB_OFFLINE"] = "1"  # for peers, and for the child processes that the guard misses

# A shell that starts tests in the background lets them, and so their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "pydiff", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("pydiff")


@pytest.fixture(autouse=True, scope="session")
def _children_import_the_same_package(tmp_path_factory):
    """A child started in the source tree would find the sources, which may not be built."""
    home = str(Path(pydiff.__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", home, prepend=os.pathsep)
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Connecting to anything but a local (Unix) socket raises."""

    def guarded(method):
        def call(self, *args):
            if self.family != getattr(socket, "AF_UNIX", None):
                raise AssertionError(f"a test used the network: {method.__name__}{args}")
            return method(self, *args)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260801)
