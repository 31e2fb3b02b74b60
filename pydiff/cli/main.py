"""Parsing, exit codes and error lines; each command lives in a file of its own."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Sequence

from .. import errors
from . import bench, demo, doctor, gradcheck, sample, train
from .report import Report

COMMANDS = {
    "demo": demo,
    "train": train,
    "sample": sample,
    "gradcheck": gradcheck,
    "bench": bench,
    "doctor": doctor,
}
OK, FAILED, USAGE, CANCELLED = 0, 1, 2, 130

EPILOG = """\
exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted

examples:
  pydiff demo                          train on handwritten digits and draw some, in ~90 s
  pydiff sample --num 16 --label 7     sevens from the built-in model
  pydiff train --data photos/ --out run
  pydiff doctor                        is everything right on this machine?
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pydiff` with one sub-parser per command."""
    parser = argparse.ArgumentParser(
        prog="pydiff",
        description="A diffusion engine for Python: train, sample and verify on a CPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        _add_common(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 failed, 2 usage or 130 interrupted.

    argparse itself leaves by SystemExit(2) for unknown options and SystemExit(0) for --help.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from .. import __version__

        print(f"pydiff {__version__}")
        return OK
    if args.command is None:
        parser.print_help()
        return USAGE
    report = Report(json=args.json)
    with warnings.catch_warnings():
        warnings.showwarning = report.warn
        return _run(args, report)


def _run(args: argparse.Namespace, report: Report) -> int:
    try:
        if args.threads is not None:
            from ..config import set_num_threads

            set_num_threads(args.threads)
        return int(COMMANDS[args.command].run(args, report))
    except KeyboardInterrupt:
        report.fail(f"pydiff {args.command}: interrupted", "KeyboardInterrupt")
        return CANCELLED
    except (errors.PydiffError, OSError, MemoryError) as error:
        if args.debug:
            traceback.print_exc(file=sys.stderr)
        message = str(error) or type(error).__name__
        report.fail(f"pydiff {args.command}: error: {message}", type(error).__name__)
        return FAILED


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("options of every command")
    common.add_argument("--json", action="store_true", help="print one JSON object to stdout")
    common.add_argument("--threads", type=int, metavar="N", help="CPU threads to use")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
