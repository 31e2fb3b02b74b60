"""`pydiff gradcheck`: every gradient against finite differences, on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from .report import Report

HELP = "check every op's gradient against finite differences"
DESCRIPTION = """\
Compare the gradient of every op with fourth-order central differences in float64, over random
shapes, and print the worst disagreement of each: max |analytic - numeric| / max(1, max |gradient|).
The exit code is 1 if one exceeds the tolerance. `pydiff.gradcheck` does the same for your own
functions and modules.
"""
EPILOG = """\
examples:
  pydiff gradcheck                       ten shapes per op
  pydiff gradcheck --shapes 100
  pydiff gradcheck conv2d attention
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ops", nargs="*", metavar="op", help="ops to check (default: all)")
    parser.add_argument("--shapes", type=int, default=10, help="random shapes per op (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of shapes and values (default 0)")
    parser.add_argument("--tolerance", type=float, default=1e-7, help="default 1e-7")


def run(args: argparse.Namespace, report: Report) -> int:
    from .. import backend
    from ..testing import run_case

    report.line(f"{'op':24} {'shapes':>6} {'error':>9} {'seconds':>8}  worst element")
    rows = []
    for case in _chosen(args.ops):
        row = run_case(case, max(1, args.shapes), seed=args.seed, tolerance=args.tolerance)
        rows.append(_row(row))
        report.line(
            f"{row.name:24} {row.shapes:6} {row.error:9.1e} {row.seconds:8.2f}  "
            f"{'' if row.passed else 'FAILED '}{rows[-1]['worst']}"
        )
    failed = [row["op"] for row in rows if not row["passed"]]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all gradients agree"
    report.line(
        f"{len(rows)} ops, tolerance {args.tolerance:g}, backend {backend.name()}: {verdict}"
    )
    report.result({"passed": not failed, "tolerance": args.tolerance,
                   "backend": backend.name(), "ops": rows})  # fmt: skip
    return 1 if failed else 0


def _chosen(names: list[str]) -> list[Any]:
    from ..errors import ConfigError
    from ..testing.cases import GRADIENT_CASES

    known = {case.name for case in GRADIENT_CASES}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"no op {unknown[0]!r} in the table; known: {', '.join(sorted(known))}")
    return [case for case in GRADIENT_CASES if not names or case.name in names]


def _row(row: Any) -> dict[str, Any]:
    worst = row.report.worst
    place = f"{worst.name}[{', '.join(map(str, worst.index))}]"
    return {
        "op": row.name,
        "shapes": row.shapes,
        "error": row.error,
        "seconds": row.seconds,
        "passed": row.passed,
        "worst": f"{place}: analytic {worst.analytic:.9g}, numeric {worst.numeric:.9g}",
    }
