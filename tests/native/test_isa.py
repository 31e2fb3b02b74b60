"""Instruction sets: which one runs, how one is forced, and that v3 and v4 give the same bits."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from kernel_calls import CALLS, digest, outputs

from pydiff import _native

DTYPES = (np.float32, np.float64)


def _isa_of_process(forced: str) -> subprocess.CompletedProcess[str]:
    code = "import pydiff._native as n; print(n.isa())"
    environment = {**os.environ, "PYDIFF_ISA": forced}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_environment_forces_each_supported_set():
    for name in _native.supported_isas():
        assert _isa_of_process(name).stdout.strip() == name


def test_forcing_an_unknown_set_is_an_error_that_names_the_choice():
    result = _isa_of_process("v9")
    assert result.returncode != 0
    assert "PYDIFF_ISA" in result.stderr and "'v9'" in result.stderr
    assert ", ".join(_native.build_info()["isas"]) in result.stderr


def test_set_isa():
    for name in _native.supported_isas():
        _native.set_isa(name)
        assert _native.isa() == name
    with pytest.raises(ValueError, match="allowed"):
        _native.set_isa("avx9")


def test_the_best_set_is_the_default():
    if not os.environ.get("PYDIFF_ISA"):
        assert _native.isa() == _native.supported_isas()[-1]


@pytest.mark.skipif(
    not {"v3", "v4"} <= set(_native.supported_isas()), reason="needs AVX-512 and AVX2"
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_v3_and_v4_give_the_same_bits(name: str, dtype: type):
    digests = []
    for isa in ("v3", "v4"):
        _native.set_isa(isa)
        digests.append(digest(name, dtype))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_every_set_agrees_with_the_best(name: str, dtype: type):
    best = outputs(name, dtype)
    for isa in _native.supported_isas()[:-1]:
        _native.set_isa(isa)
        for y, expected in zip(outputs(name, dtype), best, strict=True):
            scale = np.abs(expected).max()
            assert np.abs(y - expected).max() <= 64 * np.finfo(dtype).eps * scale
