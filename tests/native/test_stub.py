"""The stub says what the binary has, and the binary has every kernel of kernels.def."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_calls import CALLS

from pydiff import _native

SOURCES = Path(__file__).parents[2]
STUB = SOURCES / "pydiff" / "_native.pyi"
KERNELS = SOURCES / "csrc" / "kernels.def"


def _kernels() -> list[str]:
    return re.findall(r"^KERNEL\(\w+, (\w+), \w+\)", KERNELS.read_text(), re.MULTILINE)


def _public(namespace: object) -> dict[str, object]:
    known = ("__init__", "__len__")
    return {k: v for k, v in vars(namespace).items() if k in known or not k.startswith("_")}


def _parameters(function: Callable[..., object]) -> list[str]:
    head = function.__doc__.splitlines()[0]
    return re.findall(r"(\w+): ", head.partition(" -> ")[0])


def _binary() -> dict[str, list[str]]:
    functions = {k: v for k, v in _public(_native).items() if not isinstance(v, type)}
    return {k: _parameters(v) for k, v in functions.items() if callable(v)}


def _stubs(body: list[ast.stmt]) -> dict[str, list[str]]:
    return {f.name: [a.arg for a in f.args.args] for f in body if isinstance(f, ast.FunctionDef)}


def test_the_stub_equals_the_binary():
    tree = ast.parse(STUB.read_text())
    assert _stubs(tree.body) == _binary()
    classes = {node.name: _stubs(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}
    types = {k: v for k, v in _public(_native).items() if isinstance(v, type)}
    assert classes == {
        name: {k: _parameters(v) for k, v in _public(type_).items()}
        for name, type_ in types.items()
    }


@pytest.mark.parametrize("name", _kernels())
def test_every_kernel_is_bound_and_called_by_these_tests(name: str):
    assert name in _binary()
    assert name in CALLS


def test_no_kernel_is_called_that_does_not_exist():
    assert set(CALLS) == set(_kernels())
