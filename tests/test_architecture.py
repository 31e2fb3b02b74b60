"""The rules of the house: imports point down, lists agree, files stay short and documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pydiff
from pydiff import ops
from pydiff.backend import reference, spec
from pydiff.testing.cases import GRADIENT_CASES, KERNEL_CASES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pydiff"
CSRC = ROOT / "csrc"

# A file imports lower layers and its own package only.
LAYERS = {
    "errors": -2,
    "_native": -1,
    "checks": -1,
    "config": 0,
    "backend": 1,
    "random": 2,
    "io": 2,
    "autograd": 2,
    "measures": 3,
    "ops": 3,
    "nn": 4,
    "diffusion": 4,
    "data": 4,
    "plan": 5,
    "samplers": 5,
    "schedulers": 6,
    "training": 6,
    "testing": 7,
    "pipelines": 8,
    "cli": 9,
    "__main__": 10,
}
COMPOSED = {"accumulate", "concat", "contiguous", "pad"}  # of the contract, over one kernel
# Kernels beside it: copies; the form of a weight that only the kernels know; a measurement.
PRIVATE_KERNELS = {"strided_copy", "conv2d_pack", "fma_peak"}
NO_GRADIENT = {"Tensor", "as_tensor", "astype"}  # in ops, but no op of its own to check


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


Walk = Callable[[ast.AST], Iterator[ast.AST]]

MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from runtime_nodes(child)


def imports(name: str, walk: Walk = ast.walk) -> Iterator[str]:
    """Modules of pydiff that module `name` imports, inside functions too."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pydiff"))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            for alias in node.names if base.startswith("pydiff") else ():
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES or inner == "pydiff._native" else base


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_room_has_a_layer():
    assert {room(name) for name in MODULES} - {""} <= set(LAYERS)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "pydiff"])
def test_imports_point_down(name):
    for target in imports(name):
        if target == "pydiff":  # the lazy top: its version, nothing else
            assert room(name) in ("cli", "__main__", "io", "training", "pipelines")
        elif room(target) != room(name):
            assert LAYERS[room(target)] < LAYERS[room(name)], f"{name} imports {target}"


def test_the_top_imports_nothing():
    assert list(imports("pydiff", runtime_nodes)) == []


def test_type_checkers_see_the_names_of_the_top():
    nodes = ast.walk(ast.parse(MODULES["pydiff"].read_text()))
    aliases = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(["__version__", *(alias.asname for alias in aliases if alias.asname)]) == sorted(
        pydiff.__all__
    )


def test_no_cycles():
    graph = {name: set(imports(name, runtime_nodes)) - {name, "pydiff"} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done and name in graph:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_few_files_know_the_native_module():
    users = {name for name in MODULES if "pydiff._native" in imports(name)}
    names = ("cpu", "cpu_numbers", "machine", "spec.checks")
    backend = {f"pydiff.backend.{name}" for name in names}
    plans = {f"pydiff.plan.{name}" for name in ("calls", "lower", "trace", "weights")}
    assert users == backend | plans | {"pydiff.autograd.arrays", "pydiff.cli.doctor"}


# ---------------------------------------------------------------- lists


def kernels() -> list[tuple[str, str]]:
    """(family, name) of kernels.def."""
    text = (CSRC / "kernels.def").read_text()
    return re.findall(r"^KERNEL\((\w+), (\w+), \w+\)", text, re.MULTILINE)


def test_every_kernel_is_in_the_contract_and_back():
    names = [name for _, name in kernels()]
    assert len(names) == len(set(names))
    assert set(names) - PRIVATE_KERNELS == set(spec.__all__) - COMPOSED


def test_every_family_has_its_file():
    for family in {family for family, _ in kernels()}:
        assert (CSRC / "kernels" / f"{family}.cpp").exists()


def public_functions(module: ModuleType) -> dict[str, int]:
    """Name of every public function of a backend -> number of its parameters."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {n: len(inspect.signature(f).parameters) for n, f in functions if n[0] != "_"}


def test_reference_implements_the_contract():
    assert sorted(public_functions(reference)) == sorted(spec.__all__)


def test_cpu_implements_the_contract_like_the_reference():
    pytest.importorskip("pydiff._native", reason="the native module is not built")
    assert public_functions(importlib.import_module("pydiff.backend.cpu")) == (
        public_functions(reference)
    )


def test_every_function_of_the_contract_has_one_case():
    assert sorted(case.name for case in KERNEL_CASES) == sorted(spec.__all__)


def test_every_op_has_one_case_with_gradients():
    variants = {"gelu_tanh"}  # gelu(approximate="tanh")
    names = [case.name for case in GRADIENT_CASES if case.name not in variants]
    assert sorted(names) == sorted(set(ops.__all__) - NO_GRADIENT)


def test_the_binary_has_every_kernel():
    native = pytest.importorskip("pydiff._native", reason="the native module is not built")
    assert {name for _, name in kernels()} <= set(dir(native))


# ---------------------------------------------------------------- length and documentation


def sources(*patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize(
    ("limit", "paths"),
    [
        (400, sources("pydiff/**/*.py", "tests/**/*.py", "benchmarks/**/*.py", "setup.py")),
        (600, sources("csrc/**/*.cpp", "csrc/**/*.h")),
    ],
)
def test_files_are_short(limit, paths):
    assert paths
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {path: n for path, n in long.items() if n > limit} == {}


def test_functions_fit_on_a_screen():
    """At most 50 lines after the docstring."""
    long = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
                if node.end_lineno - first.lineno >= 50:
                    long.append(f"{name}.{node.name}: {node.end_lineno - first.lineno + 1} lines")
    assert long == []


def test_every_module_says_what_it_is_for():
    trees = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


PACKAGES = [
    name
    for name, path in MODULES.items()
    if path.name == "__init__.py" and "__all__" in path.read_text() and name != "pydiff.backend"
]


@pytest.mark.parametrize("name", PACKAGES)
def test_everything_public_has_a_docstring(name):
    module = importlib.import_module(name)
    values = {public: getattr(module, public) for public in module.__all__}
    functions = {n for n, v in values.items() if inspect.isfunction(v) and not v.__doc__}
    classes = {n for n, v in values.items() if inspect.isclass(v) and not vars(v).get("__doc__")}
    assert functions | classes == set()


# ---------------------------------------------------------------- instruction sets

# v3 and above: VEX-encoded instructions (names in v, but for verr and verw) and BMI, LZCNT, MOVBE.
ABOVE_BASELINE = re.compile(
    r"v(?!err|erw)\w+|mulx|andn|sarx|shlx|shrx|rorx|bextr|bls\w+|pdep|pext|bzhi|lzcnt|movbe"
)
ABOVE_NAMESPACE = re.compile(r"2v[34]")  # mangled pydiff::v3 and pydiff::v4, in arguments too


@pytest.fixture(scope="module")
def instructions() -> dict[str, set[str]]:
    """Symbol of the native module -> mnemonics above the baseline in it."""
    native = pytest.importorskip("pydiff._native", reason="the native module is not built")
    objdump = shutil.which("objdump") or pytest.skip("objdump is not installed")
    command = [objdump, "-d", "--no-show-raw-insn", native.__file__]
    found: dict[str, set[str]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.endswith(">:\n"):
                symbol = line[line.index("<") + 1 : -3]
                mnemonics = found.setdefault(symbol, set())
            elif line.startswith("  ") and "\t" in line:
                mnemonic = line.split("\t", 1)[1].split(None, 1)[0]
                if ABOVE_BASELINE.fullmatch(mnemonic):
                    mnemonics.add(mnemonic)
    if not any("v2" in symbol for symbol in found):
        pytest.skip("the native module is stripped or built for other processors")
    return found


def test_the_scan_sees_vector_instructions(instructions):
    assert any(m for symbol, m in instructions.items() if ABOVE_NAMESPACE.search(symbol))


def test_no_vector_instruction_above_the_baseline_outside_its_namespace(instructions):
    """A machine without AVX must never meet one: not in v2, not in shared inline functions."""
    outside = {
        symbol: sorted(mnemonics)
        for symbol, mnemonics in instructions.items()
        if mnemonics and not ABOVE_NAMESPACE.search(symbol)
    }
    assert outside == {}
