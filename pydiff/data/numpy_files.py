"""Images in NumPy files, read without ever unpickling."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DataError, ShapeError
from .transforms import normalise

MAX_BYTES = 8 << 30


def arrays(
    source: str | os.PathLike[str] | np.ndarray,
    key: str | None = None,
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """(N, H, W, C) float32 in [-1, 1] from a .npy file, a .npz file, or an array.

    The array is (N, H, W, C) with C = 1, 3 or 4, or (N, H, W) for grey. key: its name in a .npz
    that holds several. value_range: the values of black and white, default (0, 255) for uint8 and
    (-1, 1) for floating point.

    Raises DataError for a malformed or pickled file, a wrong key, NaN or values outside the range;
    sizes are checked against the file before anything is allocated.
    """
    array = source if isinstance(source, np.ndarray) else load_array(source, key)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise ShapeError(
            f"images have shape {array.shape}; expected (N, H, W) or (N, H, W, C), C = 1, 3 or 4"
        )
    return normalise(array, value_range)


def load_array(path: str | os.PathLike[str], key: str | None = None) -> np.ndarray:
    """One numeric array from a .npy or .npz file. Raises DataError."""
    file = Path(path)
    try:
        if not file.is_file():
            raise DataError(f"{file}: not a file")
        if file.suffix == ".npz":
            return _from_zip(file, key)
        with open(file, "rb") as stream:
            return _read_array(stream, file.stat().st_size, str(file))
    except DataError:
        raise
    except Exception as error:  # header parsing and inflating raise nearly any exception
        raise DataError(f"{file}: not a readable array: {error or type(error).__name__}") from error


def _from_zip(file: Path, key: str | None) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        if key is None and len(names) == 1:
            key = names[0]
        if key not in names:
            raise DataError(f"{file}: key = {key!r}; it holds {', '.join(names) or 'no arrays'}")
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as stream:
            return _read_array(stream, info.file_size, f"{file}[{key}]")


def _read_array(stream: IO[bytes], size: int, where: str) -> np.ndarray:
    """The array after checking that its header claims no more than the file holds."""
    version = np.lib.format.read_magic(stream)
    readers: dict[Any, Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise DataError(f"{where}: version {version} of the .npy format is not read")
    shape, fortran_order, dtype = readers[version](stream)
    if dtype.kind not in "biuf":
        raise DataError(f"{where}: dtype {dtype} is not numeric (pickled objects are never read)")
    count = 1
    for n in shape:
        count *= n  # Python integers do not overflow
    if min(shape, default=1) < 0 or not count * dtype.itemsize <= min(size, MAX_BYTES):
        raise DataError(f"{where}: claims shape {shape} of {dtype}, but holds {size:,} bytes")
    content = stream.read(count * dtype.itemsize)
    flat = np.frombuffer(content, dtype)
    if flat.size != count:
        raise DataError(f"{where}: truncated: {flat.size} of {count} elements")
    return flat.reshape(shape, order="F" if fortran_order else "C")
