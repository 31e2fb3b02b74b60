"""What a command says: results to stdout as text or as one JSON object, the rest to stderr."""

from __future__ import annotations

import json as json_module
import sys
from typing import Any


class Report:
    """Keeps stdout clean: with `json` it carries exactly one JSON object, else only results."""

    def __init__(self, json: bool = False) -> None:
        self.json = json

    def note(self, text: str) -> None:
        """A remark on the way; always stderr."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, message: Warning | str, *place: Any, **more: Any) -> None:
        """A warning as one line, without the line of code it came from."""
        self.note(f"warning: {message}")

    def line(self, text: str = "") -> None:
        """A line of the result for people; silent with --json."""
        if not self.json:
            print(text, flush=True)

    def result(self, values: dict[str, Any]) -> None:
        """The whole result for machines; silent without --json."""
        if self.json:
            print(json_module.dumps(values, default=str, allow_nan=False), flush=True)

    def fail(self, message: str, kind: str) -> None:
        """Why the command ends: one line on stderr, and with --json an object on stdout."""
        self.note(message)
        self.result({"error": {"type": kind, "message": message}})

    @property
    def progress(self) -> bool:
        """Whether a progress bar makes sense."""
        return sys.stderr.isatty()
