"""NumPy files: what is read, and what is refused before anything is allocated."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pydiff.data import arrays, load_array
from pydiff.errors import ConfigError, DataError, DtypeError, ShapeError

BYTES = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), np.uint8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "<f8", "<i8"])
def test_files_come_back_exactly(tmp_path: Path, order: Any, dtype: str) -> None:
    array = np.asarray(BYTES.astype(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", one=array)
    np.savez_compressed(tmp_path / "b.npz", one=array, two=array + 1)
    for result in (
        load_array(tmp_path / "a.npy"),
        load_array(tmp_path / "a.npz"),
        load_array(tmp_path / "b.npz", "one"),
    ):
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


def test_values_go_to_minus_one_and_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BYTES)
    images = arrays(tmp_path / "a.npy")
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, BYTES / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(arrays(BYTES / 255.0, value_range=(0, 1)), images, atol=1e-6)
    np.testing.assert_array_equal(arrays(images), images)
    assert arrays(BYTES[..., 0]).shape == (5, 4, 3, 1)


def test_values_that_do_not_fit_are_errors() -> None:
    with pytest.raises(DataError, match="value_range"):
        arrays(BYTES.astype(float))
    with pytest.raises(DataError, match="value_range"):
        arrays(BYTES.astype(int))
    with pytest.raises(DataError, match="nan"):
        arrays(np.full((1, 2, 2, 1), np.nan))
    with pytest.raises(ConfigError, match="low < high"):
        arrays(BYTES, value_range=(1, 0))
    with pytest.raises(DtypeError, match="complex"):
        arrays(BYTES * 1j)
    for shape in ((3,), (2, 3, 4, 2), (0, 3, 4, 1)):
        with pytest.raises(ShapeError, match="expected"):
            arrays(np.zeros(shape))


def test_keys_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=BYTES, masks=BYTES)
    for key in (None, "image"):
        with pytest.raises(DataError, match="images, masks"):
            load_array(tmp_path / "a.npz", key)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([print, None]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{}, None], object))
    (tmp_path / "b.npy").write_bytes(b"\x80\x04N.")
    for name in ("a.npy", "a.npz", "b.npy"):
        with pytest.raises(DataError, match=r"object|readable"):
            load_array(tmp_path / name)


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (117 - len(text)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1099511627776,)") + bytes(100),
        header("(4294967296, 4294967296)") + bytes(100),
        header("(101,)") + bytes(100),
        header("(-1,)") + bytes(100),
        header("(1.5,)") + bytes(100),
        header("'x'") + bytes(100),
        header("(3,)", "'O'") + bytes(100),
        header("(3,)", "'V9'") + bytes(100),
        header("(3,)", "[('a', 'u1')]") + bytes(100),
        header("(3,)", "__import__('os')") + bytes(100),
        b"\x93NUMPY\x03\x00" + bytes(100),
        b"\x93NUMPY",
        b"",
        bytes(1000),
    ],
)
def test_headers_that_lie_are_data_errors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=name):
            load_array(tmp_path / name)


def test_truncated_and_mutated_files_are_data_errors_or_arrays(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=BYTES)
    content, generator = stream.getvalue(), np.random.default_rng(1)
    file = tmp_path / "a.npz"
    for i in range(300):
        mutated = bytearray(content[: generator.integers(1, len(content))] if i % 2 else content)
        mutated[generator.integers(0, len(mutated))] ^= 1 << int(generator.integers(0, 8))
        file.write_bytes(mutated)
        try:
            load_array(file)
        except DataError:
            continue


def test_missing_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file"):
        load_array(tmp_path / "a.npy")
