"""JSON configuration files: strict reading within limits, atomic writing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, PydiffError
from .atomic import atomic_write

MAX_CONFIG_BYTES = 1 << 20


def read_config(path: str | os.PathLike[str], infinities: bool = False) -> dict[str, Any]:
    """The JSON object in the file `path`; infinities: accept Infinity, as Python writes it.

    Raises ConfigError if the file is missing, larger than 1 MiB, not UTF-8 JSON, not an object, or
    holds a key twice, NaN, an infinity (without `infinities`), or nesting too deep to parse.
    """
    content = read_limited(Path(path), MAX_CONFIG_BYTES, ConfigError)
    return parse_object(content, str(path), ConfigError, infinities)


def write_config(path: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Write `config` as JSON with sorted keys, replacing `path` atomically.

    Raises ConfigError for what JSON does not hold (NaN, arrays), WriteError if writing fails.
    """
    import json

    try:
        text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be written as JSON: {error}") from error
    atomic_write(path, (text + "\n").encode())


def read_limited(path: Path, limit: int, error: type[PydiffError]) -> bytes:
    """All bytes of the regular file `path`, which may hold at most `limit`; raises `error`."""
    try:
        if not path.is_file():
            raise error(f"{path}: no such file")
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from reason
    if len(content) > limit:
        raise error(f"{path}: larger than the limit of {limit:,} bytes")
    return content


def parse_object(
    content: bytes, where: str, error: type[PydiffError], infinities: bool = False
) -> dict[str, Any]:
    """Strict JSON: one object, no key twice, no NaN; raises `error` with a message from `where`."""
    import json

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"key {key!r} appears twice")
            result[key] = value
        return result

    def constant(name: str) -> Any:
        if infinities and name != "NaN":
            return float(name)
        raise ValueError(f"{name} is not JSON")

    try:
        parsed = json.loads(content.decode(), object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as reason:
        raise error(f"{where}: not valid JSON: {reason}") from None
    if not isinstance(parsed, dict):
        raise error(f"{where}: expected a JSON object, got {type(parsed).__name__}")
    return parsed
