"""`metrics.jsonl`: one JSON object per line, appended as training goes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..io.atomic import atomic_write

MAX_BYTES = 1 << 30


class MetricsLog:
    """Append-only log of a run; `truncate` takes it back to the step that a run resumes from."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def append(self, record: dict[str, Any]) -> None:
        """Write one line in one call, so that a kill leaves at most its tail cut off."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines, in order; [] if there is no file. A torn last line is left out."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8", errors="replace")
        return [record for line in text.split("\n") if (record := _parse(line)) is not None]

    def sync(self) -> None:
        """Make the lines so far survive a power failure."""
        if self.path.exists():
            with open(self.path, "a", encoding="utf-8") as file:
                os.fsync(file.fileno())

    def truncate(self, step: int) -> None:
        """Drop all lines after `step`, as if training had never gone further."""
        kept = [record for record in self.read() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        atomic_write(self.path, text.encode())


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    return record
