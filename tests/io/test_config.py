"""Configuration files are strict JSON within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydiff.errors import ConfigError
from pydiff.io.config import MAX_CONFIG_BYTES, read_config, write_config


def test_round_trip_is_sorted_and_readable(tmp_path: Path) -> None:
    config = {"b": [1, 2.5, None], "a": {"c": True, "d": "é"}}
    write_config(tmp_path / "config.json", config)
    assert read_config(tmp_path / "config.json") == config
    assert (tmp_path / "config.json").read_text().startswith('{\n  "a": {\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' appears twice"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a":' + b"[" * 500_000, "not valid JSON"),
        (b'{"a": "' + b"x" * MAX_CONFIG_BYTES + b'"}', "larger than the limit of 1,048,576"),
    ],
)
def test_bad_files_name_path_and_reason(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigError, match="no such file"):
            read_config(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_that_are_not_json_are_not_written(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match="cannot be written as JSON"):
        write_config(tmp_path / "config.json", {"a": value})
    assert list(tmp_path.iterdir()) == []
