"""What `import pydiff` costs, what it loads, and what happens without the native module."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import pydiff

PACKAGE = Path(pydiff.__file__).parent
HEAVY = (
    "PIL",
    "safetensors",
    "tqdm",
    "matplotlib",
    "torch",
    "sklearn",
    "argparse",
    "pydiff._native",
)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYDIFF_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True
    )


def test_import_costs_at_most_60_ms_over_numpy():
    """The promise is about a machine at rest: the median of nine processes, measured inside."""
    code = (
        "import numpy, time; start = time.perf_counter(); import pydiff; "
        "print(time.perf_counter() - start)"
    )
    seconds = statistics.median(float(python(code).stdout) for _ in range(9))
    assert seconds <= 0.060


def test_import_loads_nothing_heavy():
    code = f"import sys, pydiff; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_the_engine_loads_no_image_library_and_no_plotting():
    code = (
        "import json, sys, pydiff; pydiff.nn.UNet2D, pydiff.sample, pydiff.Denoiser, pydiff.ops; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(python(code).stdout))
    assert loaded.isdisjoint({"PIL", "tqdm", "matplotlib", "torch", "sklearn"})


@pytest.mark.parametrize("name", pydiff.__all__)
def test_every_public_name_resolves(name):
    assert getattr(pydiff, name) is not None
    assert name in dir(pydiff)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'torch'"):
        _ = pydiff.torch


@pytest.fixture(scope="module")
def pure(tmp_path_factory) -> str:
    """A copy of the package in which nothing native was built."""
    folder = tmp_path_factory.mktemp("pure")
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(PACKAGE, folder / "pydiff", ignore=ignored)
    return str(folder)


USE = "import pydiff; print(pydiff.ops.add(1.0, 2.0).item(), pydiff.backend.name())"
# Where pydiff is installed with -e, its finder has the native module for the copy as well.
PURE = f"import sys; sys.modules['pydiff._native'] = None; {USE}"


def test_without_the_native_module_the_reference_runs_with_one_warning(pure):
    result = python(f"{PURE}; pydiff.ops.exp(1.0)", PYTHONPATH=pure, PYTHONSAFEPATH="1")
    assert result.stdout.split() == ["3.0", "reference"]
    assert result.stderr.count("RuntimeWarning: pydiff: the native module is missing") == 1


def test_choosing_the_reference_is_silent(pure):
    result = python(PURE, PYTHONPATH=pure, PYTHONSAFEPATH="1", PYDIFF_BACKEND="reference")
    assert result.stdout.split() == ["3.0", "reference"]
    assert result.stderr == ""


def test_choosing_cpu_without_the_native_module_is_an_error(pure):
    result = python(PURE, PYTHONPATH=pure, PYTHONSAFEPATH="1", PYDIFF_BACKEND="cpu")
    assert result.returncode != 0
    assert "ModuleNotFoundError: import of pydiff._native halted" in result.stderr


def test_an_unknown_backend_is_named():
    result = python(USE, PYDIFF_BACKEND="cuda")
    assert "ConfigError: backend 'cuda' does not exist; allowed: cpu, reference" in result.stderr


def test_tests_cannot_use_the_network():
    with socket.socket() as probe, pytest.raises(AssertionError, match="used the network"):
        probe.connect(("127.0.0.1", 9))
