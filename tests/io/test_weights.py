"""Weights survive a round trip bit for bit; a bad file raises CheckpointError and nothing else."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydiff.errors import CheckpointError
from pydiff.io.atomic import WriteError
from pydiff.io.weights import MAX_HEADER_BYTES, WeightsFile, read_weights, write_weights

BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ARRAYS = {
    "c order": BASE,
    "fortran": np.asfortranarray(BASE),
    "transposed": BASE.transpose(2, 0, 1),
    "strided": BASE[:, ::2, 1::2],
    "reversed": BASE[::-1, :, ::-1],
    "broadcast": np.broadcast_to(np.float32(3), (2, 3)),
    "big-endian": BASE.astype(">f4"),
    "0-d": np.array(7.5, np.float32),
    "empty": np.zeros((3, 0, 2), np.float32),
    "float64": np.array([1e-300, -0.0, np.inf]),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "uint8": np.arange(5, dtype=np.uint8),
}


def file_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_round_trip_of_every_layout(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", ARRAYS, {"note": "x"})
    loaded = read_weights(tmp_path / "w.safetensors")
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("="), name
        assert loaded[name].shape == array.shape, name
        assert loaded[name].flags.c_contiguous and loaded[name].flags.writeable, name
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)
    with WeightsFile(tmp_path / "w.safetensors") as file:
        assert file.metadata == {"format": "pt", "note": "x"}
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    write_weights(tmp_path / "w.safetensors", ARRAYS)
    for name, array in load_file(tmp_path / "w.safetensors").items():
        np.testing.assert_array_equal(array, ARRAYS[name], err_msg=name)


def test_half_precision_is_widened_exactly(tmp_path: Path) -> None:
    halves = np.array([1.5, -65504, 6e-8, np.inf], np.float16)
    floats = np.array([1.0, -3.140625, 1e38, 2**-126], np.float32)
    brain = (floats.view(np.uint32) >> 16).astype(np.uint16)
    header = {"h": entry("F16", [4], [0, 8]), "b": entry("BF16", [2, 2], [8, 16])}
    (tmp_path / "w").write_bytes(file_bytes(header, halves.tobytes() + brain.tobytes()))
    loaded = read_weights(tmp_path / "w")
    assert loaded["h"].dtype == loaded["b"].dtype == np.float32
    np.testing.assert_array_equal(loaded["h"], halves.astype(np.float32))
    wanted = (floats.view(np.uint32) & 0xFFFF0000).view(np.float32).reshape(2, 2)
    np.testing.assert_array_equal(loaded["b"], wanted)


DATA = bytes(8)
BAD = {
    "no such file": None,
    "no header": b"",
    "over the limit of 16,777,216": struct.pack("<Q", MAX_HEADER_BYTES + 1) + DATA,
    "does not fit in the file": struct.pack("<Q", 100) + b"{}",
    "does not begin with": file_bytes(b" {}"),
    "not valid JSON": file_bytes(b"{]"),
    "key 'a' appears twice": file_bytes(b'{"a":1,"a":2}'),
    "NaN is not JSON": file_bytes(b'{"a":NaN}'),
    "map strings to strings": file_bytes({"__metadata__": {"a": 1}}),
    "must hold dtype, shape and data_offsets": file_bytes({"a": [1]}),
    "name is over the limit": file_bytes({"n" * 513: entry()}, DATA),
    "dtype 'C64' is not one of": file_bytes({"a": entry("C64")}, DATA),
    "dtype 'BOOL' is not one of": file_bytes({"a": entry("BOOL")}, DATA),
    "at most 8 integers": file_bytes({"a": entry(shape=[1] * 9)}, DATA),
    r"integers in \[0": file_bytes({"a": entry(shape=[-2])}, DATA),
    r"in \[0, 2.31\]": file_bytes({"a": entry(shape=[2.0])}, DATA),
    "most 8 integers in": file_bytes({"a": entry(shape=[True, 2])}, DATA),
    "data_offsets must be": file_bytes({"a": entry(offsets=[0, 8, 8])}, DATA),
    "needs 16 bytes, has 8": file_bytes({"a": entry(shape=[4])}, DATA),
    "2147483648, 4\\] is too large to address": file_bytes({"a": entry(shape=[2**31, 2**31, 4])}),
    "2147483648, 0\\] is too large to address": file_bytes(
        {"a": entry(shape=[2**31, 2**31, 0], offsets=[0, 0])}
    ),
    "needs 8 bytes, has -8": file_bytes({"a": entry(offsets=[8, 0])}, DATA),
    "begins at 4, expected 0": file_bytes({"a": entry(offsets=[4, 12])}, bytes(12)),
    "begins at 4, expected 8": file_bytes({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
    "9 bytes of data, header describes 8": file_bytes({"a": entry()}, bytes(9)),
    "7 bytes of data, header describes 8": file_bytes({"a": entry()}, bytes(7)),
}


@pytest.mark.parametrize("message", BAD)
def test_each_kind_of_bad_file_is_named(tmp_path: Path, message: str) -> None:
    path = tmp_path / "w.safetensors"
    if BAD[message] is not None:
        path.write_bytes(BAD[message] or b"")
    with pytest.raises(CheckpointError, match=message) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)


def test_too_many_arrays_and_deep_nesting(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(file_bytes({str(i): entry("F32", [0], [0, 0]) for i in range(65_537)}))
    with pytest.raises(CheckpointError, match="65,537 arrays are over the limit"):
        read_weights(path)
    path.write_bytes(file_bytes(b'{"a":' + b"[" * 1_000_000))
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_weights(path)


def test_pickles_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"weights_only=True\), 'model.safetensors'"):
        read_weights(tmp_path / "model.bin")


def seed_file(tmp_path: Path) -> bytes:
    write_weights(tmp_path / "seed", {"a": BASE, "b.c": np.arange(3), "empty": np.zeros((0, 2))})
    return (tmp_path / "seed").read_bytes()


def test_truncation_at_every_byte(tmp_path: Path) -> None:
    whole = seed_file(tmp_path)
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / "cut")


def test_every_bit_of_the_header(tmp_path: Path) -> None:
    """A flipped bit may give another valid file; anything else is a CheckpointError."""
    whole = seed_file(tmp_path)
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    for bit in range(8 * header_end):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            loaded = read_weights(tmp_path / "flipped")
        except CheckpointError:
            continue
        assert sum(array.size for array in loaded.values()) <= len(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
NUMBERS = st.lists(st.integers(-2, 9) | st.integers(-(2**70), 2**70), max_size=3)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F64", "BF16", "I64"]) | JSON,
        "shape": NUMBERS | JSON,
        "data_offsets": NUMBERS | JSON,
    }
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(header=st.dictionaries(st.text(max_size=5), ENTRY | JSON, max_size=4), data=st.binary())
def test_grammar_fuzz(tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(file_bytes(header, data))
    try:
        loaded = read_weights(path)
    except CheckpointError:
        return
    assert sum(array.nbytes for array in loaded.values()) <= 2 * len(data)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a", np.zeros(2, np.complex64), "dtype complex64"),
        ("a", np.array([object()]), "dtype object"),
        ("a", np.zeros(2, np.float16), "dtype float16"),
        ("a", np.zeros((1,) * 9), "9 dimensions"),
        ("", np.zeros(2), "1 to 512 bytes"),
        ("n" * 513, np.zeros(2), "1 to 512 bytes"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, array: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        write_weights(tmp_path / "w", {name: array})
    assert list(tmp_path.iterdir()) == []


def test_write_errors_leave_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        write_weights(tmp_path / "missing" / "w", {"a": BASE})
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError):
        write_weights(tmp_path / "folder", {"a": BASE})
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    write_weights(tmp_path / "w", {"a": BASE})
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "any").stat().st_mode
