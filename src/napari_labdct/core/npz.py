"""NumPy archives: what each member declares is checked before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .errors import LabDCTError, ModelError, quoted
from .reading import FAULTS, check_declared, check_regular, explained
from .schema import Mismatch

_LONGEST_HEADER = 10_000


def read_npz(
    path: str | Path,
    wanted: Mapping[str, str],
    refuse: Callable[[str], LabDCTError],
    error: type[LabDCTError] = ModelError,
) -> dict[str, np.ndarray]:
    """Some arrays of an ``.npz`` file.

    Parameters
    ----------
    path : path
    wanted : mapping of str to str
        Names and the kinds of their types, such as ``{"frame": "iuf"}``.
    refuse : callable
        From a reason to what is raised.
    error : type
        Raised for a pipe or a device.
    """
    path = Path(path)
    check_regular(path, error)
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _member(archive, name, kinds) for name, kinds in wanted.items()}
    except (*FAULTS, zipfile.BadZipFile, zipfile.LargeZipFile) as fault:
        raise explained(fault, refuse) from fault
    except Exception as fault:  # zlib, bz2, lzma and tokenize each have an error of their own
        if isinstance(fault, (MemoryError, LabDCTError)):
            raise
        raise refuse("it is damaged") from fault


def _member(archive: zipfile.ZipFile, name: str, kinds: str) -> np.ndarray:
    about = archive.getinfo(f"{name}.npy")
    if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Mismatch(f"{quoted(name)} is packed in an unusual way")
    with archive.open(about) as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise Mismatch(f"{quoted(name)} is of an unknown version")
        shape, in_columns, dtype = readers[version](file, max_header_size=_LONGEST_HEADER)
        if dtype.hasobject or dtype.kind not in kinds:
            raise Mismatch(f"{quoted(name)} holds {str(dtype)[:40]}")
        if min(shape, default=0) < 0:
            raise Mismatch(f"{quoted(name)} has an impossible shape")
        needs = math.prod(shape) * dtype.itemsize
        if needs != about.file_size - file.tell():
            raise Mismatch(f"{quoted(name)} does not have the size that it is said to have")
        check_declared(quoted(name), needs, about.compress_size)
        flat = np.frombuffer(file.read(needs), dtype)
    return flat.reshape(shape, order="F" if in_columns else "C").copy()
