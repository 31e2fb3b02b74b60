"""Weights in safetensors files: an 8-byte length, a JSON header, then the raw arrays.

The header is checked in full before anything is allocated or read: a hostile file can only raise
CheckpointError. Format: https://huggingface.co/docs/safetensors (metadata parsing, 2023).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from ..errors import CheckpointError
from .atomic import atomic_write
from .config import parse_object

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 65_536
MAX_RANK = 8
MAX_DIM = 1 << 31
MAX_NAME_BYTES = 512

# dtype in the file -> (dtype of its bytes, dtype after reading); float16 and bfloat16 are widened.
_DTYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "F64": ("<f8", np.dtype(np.float64)),
    "F32": ("<f4", np.dtype(np.float32)),
    "F16": ("<f2", np.dtype(np.float32)),
    "BF16": ("<u2", np.dtype(np.float32)),
    **{f"I{8 * n}": (f"<i{n}", np.dtype(f"i{n}")) for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": (f"<u{n}", np.dtype(f"u{n}")) for n in (1, 2, 4, 8)},
}
_WRITABLE = {np.dtype(read) for _, read in _DTYPES.values()}


@dataclass(frozen=True)
class TensorInfo:
    """One array in a file: the file's name of its dtype, shape, bytes [begin, end) of the data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class WeightsFile:
    """An open safetensors file whose header is valid; a context manager.

    `tensors` maps names to TensorInfo, `metadata` strings to strings; `read` returns one array.
    Raises CheckpointError naming the file and the offending entry.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            size = os.fstat(self._file.fileno()).st_size
            header = self._read_header(size)
            metadata = header.pop("__metadata__", {})
            self.metadata = _check_metadata(metadata, self.path)
            self.tensors = {name: self._check_entry(name, entry) for name, entry in header.items()}
            self._check_layout(size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, name: str, memory: np.ndarray | None = None) -> np.ndarray:
        """The array `name`: float64 and integers as stored, other floats as float32.

        memory: bytes (n,) uint8, at least as many as the array has in the file, which the result
            may lie in; by default it is a new array.
        """
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: holds no array named {name!r}")
        info = self.tensors[name]
        stored, wanted = _DTYPES[info.dtype]
        count = info.end - info.begin
        if memory is None:
            memory = np.empty(count, np.uint8)
        array = memory[:count].view(stored).reshape(info.shape)
        self._fill(name, info.begin, array.reshape(-1).view(np.uint8).data)
        if info.dtype == "BF16":  # the upper half of a float32
            return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return array.astype(wanted, copy=False)

    def _fill(self, name: str, begin: int, buffer: memoryview) -> None:
        try:
            self._file.seek(self._data_start + begin)
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            raise CheckpointError(f"{self.path}: array {name!r}: {error.strerror}") from error
        if count != buffer.nbytes:
            self._fail(f"ends within array {name!r} (changed while being read)")

    def _read_header(self, size: int) -> dict[str, Any]:
        prefix = self._file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if length < 2:
            self._fail("not a safetensors file: no header")
        if length > MAX_HEADER_BYTES:
            self._fail(f"header of {length:,} bytes is over the limit of {MAX_HEADER_BYTES:,}")
        if 8 + length > size:
            self._fail(f"header of {length:,} bytes does not fit in the file of {size:,} bytes")
        self._data_start = 8 + length
        content = self._file.read(length)
        if not content.startswith(b"{"):
            self._fail("not a safetensors file: its header does not begin with '{'")
        header = parse_object(content, f"{self.path}: header", CheckpointError)
        count = len(header) - ("__metadata__" in header)
        if count > MAX_TENSORS:
            self._fail(f"{count:,} arrays are over the limit of {MAX_TENSORS:,}")
        return header

    def _check_entry(self, name: str, entry: Any) -> TensorInfo:
        where = f"array {name[:MAX_NAME_BYTES]!r}"
        if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            self._fail(f"{where}: name is over the limit of {MAX_NAME_BYTES} bytes")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            self._fail(f"{where}: entry must hold dtype, shape and data_offsets alone")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            self._fail(f"{where}: dtype {dtype!r:.40} is not one of {', '.join(_DTYPES)}")
        if not _counts(shape, MAX_DIM) or len(shape) > MAX_RANK:
            self._fail(f"{where}: shape must be at most {MAX_RANK} integers in [0, 2^31]")
        if not _counts(offsets, 1 << 62) or len(offsets) != 2:
            self._fail(f"{where}: data_offsets must be two integers >= 0")
        begin, end = offsets
        itemsize = np.dtype(_DTYPES[dtype][0]).itemsize
        needed = itemsize * math.prod(shape)  # Python integers do not overflow
        if itemsize * math.prod(max(dim, 1) for dim in shape) >= 1 << 62:
            self._fail(f"{where}: shape {shape} is too large to address")
        if end - begin != needed:
            self._fail(
                f"{where}: shape {shape} of {dtype} needs {needed:,} bytes, has {end - begin:,}"
            )
        return TensorInfo(dtype, tuple(shape), begin, end)

    def _check_layout(self, size: int) -> None:
        """Arrays must follow one another without hole or overlap, up to the end of the file."""
        position = 0
        for name, info in sorted(
            self.tensors.items(), key=lambda item: (item[1].begin, item[1].end)
        ):
            if info.begin != position:
                self._fail(f"array {name!r} begins at {info.begin:,}, expected {position:,}")
            position = info.end
        if self._data_start + position != size:
            self._fail(f"{size - self._data_start:,} bytes of data, header describes {position:,}")

    def _fail(self, message: str) -> None:
        raise CheckpointError(f"{self.path}: {message}")


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file by name: float64 and integers as stored, others float32.

    Raises CheckpointError if the file is missing, malformed, truncated, or a pickle.
    """
    with WeightsFile(path) as file:
        return {name: file.read(name) for name in file.tensors}


def write_weights(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `arrays` (float32, float64 or integers; any strides) to `path` atomically.

    The metadata entry "format": "pt" is what diffusers expects; `metadata` is added to it.
    Raises CheckpointError for other dtypes and names, WriteError if writing fails.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    contiguous = {name: _writable(name, array) for name, array in arrays.items()}
    everything = {"format": "pt", **(metadata or {})}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file(contiguous, temporary, metadata=everything)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        temporary.chmod(mode)  # safetensors 0.8.0 leaves 0600, unreadable for other users

    atomic_write(path, write)


def _writable(name: str, array: np.ndarray) -> np.ndarray:
    """A C-contiguous little-endian array: safetensors 0.8.0 writes any other silently wrong."""
    array = np.asarray(array)
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise CheckpointError(f"array name {name[:80]!r}: must have 1 to {MAX_NAME_BYTES} bytes")
    if array.dtype.newbyteorder("=") not in _WRITABLE:
        allowed = ", ".join(sorted(str(dtype) for dtype in _WRITABLE))
        raise CheckpointError(f"array {name!r}: dtype {array.dtype} is not one of {allowed}")
    if array.ndim > MAX_RANK:
        raise CheckpointError(f"array {name!r}: {array.ndim} dimensions, at most {MAX_RANK}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _open(path: Path) -> BinaryIO:
    if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}:
        raise CheckpointError(
            f"{path}: pickle files can run code when they are read, so pydiff does not read them; "
            'convert it once where torch is installed: python -c "import torch, safetensors.torch '
            f"as s; s.save_file(torch.load('{path.name}', weights_only=True), "
            f"'{path.with_suffix('.safetensors').name}')\""
        )
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        return open(path, "rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def _check_metadata(metadata: Any, path: Path) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__ must map strings to strings")
    return metadata


def _counts(values: Any, limit: int) -> bool:
    """Whether `values` is a list of integers in [0, limit] (JSON true and 1.0 are no integers)."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= limit for v in values)
