"""Read an .npz that a stranger may have made: every header is checked before an array is unpacked."""

import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from thpsweep.errors import CaptureError

Shape = tuple[type[np.generic], tuple[str | int, ...]]
"""Dtype of an array and its lengths; a word stands for the same length wherever it appears."""

Header = tuple[np.dtype[Any], tuple[int, ...]]

UNREADABLE = (OSError, EOFError, ValueError, OverflowError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What zipfile, zlib and NumPy raise on a file that is not what it says."""


def read_arrays(file: BinaryIO, formats: Mapping[int, Mapping[str, Shape]], max_bytes: int) -> dict[str, Any]:
    """Unpack exactly the arrays that are expected of a file by its version, which its `format` array tells.

    Raises: CaptureError saying what is wrong, and the errors of `UNREADABLE`.
    """
    if not zipfile.is_zipfile(file):
        raise CaptureError("not a capture: not a complete .npz (zip) file")
    with zipfile.ZipFile(file) as archive:
        if "format.npy" not in archive.namelist():
            raise CaptureError("not a capture: no array 'format'")
        check_shapes({"format": _header(archive, "format")}, {"format": (np.int64, ())})
        found_version = int(_array(archive, "format"))
        if found_version not in formats:
            raise CaptureError(f"format version {found_version}: this thpsweep reads {', '.join(map(str, formats))}")
        expected = formats[found_version]
        _check_names(archive.infolist(), {"format", *expected})
        headers = {name: _header(archive, name) for name in expected}
        check_shapes(headers, expected)
        n_bytes = sum(dtype.itemsize * math.prod(shape) for dtype, shape in headers.values())
        if n_bytes > max_bytes:
            raise CaptureError(f"unpacks to {n_bytes} bytes: expected {max_bytes}")
        return {name: _array(archive, name) for name in expected}


def check_shapes(headers: Mapping[str, Header], expected: Mapping[str, Shape]) -> dict[str, int]:
    """Bind the named lengths of `expected` to those of the file, and return them.

    Raises: CaptureError naming the first array that does not fit.
    """
    dims: dict[str, int] = {}
    for name, (expected_dtype, expected_shape) in expected.items():
        dtype, shape = headers[name]
        if dtype != np.dtype(expected_dtype):
            raise CaptureError(f"{name}: dtype {dtype}, should be {np.dtype(expected_dtype)}")
        if len(shape) != len(expected_shape):
            raise CaptureError(f"{name}: shape {shape}, should have {len(expected_shape)} axes")
        for length, dim in zip(shape, expected_shape, strict=True):
            wanted = dim if isinstance(dim, int) else dims.setdefault(dim, length)
            if length != wanted:
                raise CaptureError(f"{name}: shape {shape} has {length} where {wanted} ({dim}) was expected")
    return dims


def _check_names(infos: Iterable[zipfile.ZipInfo], expected: set[str]) -> None:
    """Check that an archive holds exactly the expected arrays, stored or deflated."""
    names = [info.filename.removesuffix(".npy") for info in infos]
    if missing := sorted(expected - set(names)):
        raise CaptureError(f"not a capture: no array {missing[0]!r}")
    if len(names) != len(expected):
        surplus = sorted(set(names) - expected) or ["an array twice"]
        raise CaptureError(f"not a capture: it also holds {surplus[0]!r}")


def _header(archive: zipfile.ZipFile, name: str) -> Header:
    """Read dtype and shape of an array without the array, and hold them against its declared size."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CaptureError(f"{name}: packed in a way that thpsweep does not write")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise CaptureError(f"{name}: unknown version of the .npy format")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
        start = member.tell()
    if dtype.hasobject:
        raise CaptureError(f"{name}: holds pickled objects")
    if fortran_order or start + dtype.itemsize * math.prod(shape) != info.file_size:
        raise CaptureError(f"{name}: its size does not fit its shape {shape}")
    return dtype, shape


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
