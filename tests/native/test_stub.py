"""The stub says what the binary has, and the binary has every kernel of kernels.def."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from kernel_calls import CALLS

from pydiff import _native

SOURCES = Path(__file__).parents[2]
STUB = SOURCES / "pydiff" / "_native.pyi"
KERNELS = SOURCES / "csrc" / "kernels.def"


def _kernels() -> list[str]:
    return re.findall(r"^KERNEL\(\w+, (\w+), \w+\)", KERNELS.read_text(), re.MULTILINE)


def _binary() -> dict[str, list[str]]:
    functions = {k: v for k, v in vars(_native).items() if callable(v) and not k.startswith("_")}
    heads = {k: v.__doc__.splitlines()[0] for k, v in functions.items()}
    return {k: re.findall(r"(\w+): ", head.partition(" -> ")[0]) for k, head in heads.items()}


def test_the_stub_equals_the_binary():
    tree = ast.parse(STUB.read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {f.name: [a.arg for a in f.args.args] for f in functions} == _binary()


@pytest.mark.parametrize("name", _kernels())
def test_every_kernel_is_bound_and_called_by_these_tests(name: str):
    assert name in _binary()
    assert name in CALLS


def test_no_kernel_is_called_that_does_not_exist():
    assert set(CALLS) == set(_kernels())
