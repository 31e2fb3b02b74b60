"""`pydiff doctor`: is everything right on this machine?"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from .report import Report

HELP = "versions, instruction sets, threads, and whether the kernels are right here"
DESCRIPTION = """\
Print what pydiff found on this machine, and compare every native kernel with the plain NumPy
reference on random shapes, in float32 and float64, for each instruction set that runs here. The
exit code is 1 if a kernel disagrees or is missing.
"""
EPILOG = """\
examples:
  pydiff doctor
  pydiff doctor --shapes 20 --json
"""
PACKAGES = ("numpy", "pillow", "safetensors", "tqdm", "matplotlib")
OPENMP_RUNTIMES = ("libgomp", "libomp", "libiomp", "vcomp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shapes", type=int, default=5, help="random shapes per kernel (default 5)"
    )


def run(args: argparse.Namespace, report: Report) -> int:
    values: dict[str, Any] = {"versions": _versions(), "machine": _machine()}
    for name, version in values["versions"].items():
        report.line(f"{name:16} {version or 'not installed'}")
    for name, value in values["machine"].items():
        report.line(f"{name:16} {value}")
    native = _native()
    if native is None:
        report.line("native kernels   MISSING: everything runs on the slow NumPy reference")
        report.result({**values, "native": None, "passed": False})
        return 1
    values["native"] = _describe(native)
    for name, value in values["native"].items():
        report.line(f"{name:16} {value}")
    values["openmp_runtimes"] = openmp_runtimes()
    report.line(f"{'OpenMP loaded':16} {', '.join(values['openmp_runtimes']) or 'none'}")
    if len(values["openmp_runtimes"]) > 1:
        report.note("warning: several OpenMP runtimes in one process can slow each other down")
    values["agreement"] = agreement(native, args.shapes)
    passed = all(not result["failed"] for result in values["agreement"])
    for result in values["agreement"]:
        report.line(f"{'kernels ' + result['isa']:16} {_sentence(result)}")
    report.line("all is well" if passed else "kernels DISAGREE with the reference: please report")
    report.result({**values, "passed": passed})
    return 0 if passed else 1


def openmp_runtimes() -> list[str]:
    """Files of the OpenMP runtimes that this process has loaded; [] where that is unknown."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in paths if Path(path).name.startswith(OPENMP_RUNTIMES))


def _versions() -> dict[str, str | None]:
    from .. import __version__

    versions: dict[str, str | None] = {"pydiff": __version__, "python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _machine() -> dict[str, Any]:
    from .. import backend
    from ..config import num_threads

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": num_threads(),
        "backend": backend.name(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or "unknown"


def _native() -> Any:
    try:
        from .. import _native
    except ImportError:
        return None
    return _native


def _describe(native: Any) -> dict[str, Any]:
    return {
        "instruction set": native.isa(),
        "runs here": ", ".join(native.supported_isas()),
        "parallel": "OpenMP" if native.openmp() else "std::thread",
        "build": ", ".join(f"{key} {value}" for key, value in native.build_info().items()),
    }


def agreement(native: Any, shapes: int) -> list[dict[str, Any]]:
    """Every kernel of the case table against its error bound, for each instruction set."""
    from ..testing.cases import KERNEL_CASES

    isas, before = native.supported_isas(), native.isa()
    failed: dict[str, list[str]] = {isa: [] for isa in isas}
    try:
        for case in KERNEL_CASES:
            wrong = _disagreeing(native, case, shapes, isas)
            for isa in wrong:
                failed[isa].append(case.name)
    finally:
        native.set_isa(before)
    return [{"isa": isa, "kernels": len(KERNEL_CASES), "failed": failed[isa]} for isa in isas]


def _disagreeing(native: Any, case: Any, shapes: int, isas: list[str]) -> set[str]:
    """The instruction sets whose results leave the case's error bound."""
    import numpy as np

    from .. import backend

    rng, wrong = np.random.default_rng(0), set()
    for template in [case.draw(rng) for _ in range(max(1, shapes))]:
        for dtype in (np.float32, np.float64):
            args = case.make(rng, dtype, template)
            expected, bounds = case.oracle(args, float(np.finfo(dtype).eps))
            for isa in isas:
                native.set_isa(isa)
                with backend.use("cpu"):
                    results = case.run(args)
                differences = [
                    np.abs(y.astype(np.float64) - reference)
                    for y, reference in zip(results, expected, strict=True)
                ]
                if not all(
                    (d <= bound).all() for d, bound in zip(differences, bounds, strict=True)
                ):
                    wrong.add(isa)
    return wrong


def _sentence(result: dict[str, Any]) -> str:
    if result["failed"]:
        return f"DISAGREE: {', '.join(result['failed'])}"
    return f"{result['kernels']} kernels agree with the reference"
