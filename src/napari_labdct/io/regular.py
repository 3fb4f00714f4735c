"""Small text files that people write: read whole, if they are files at all."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ScanError

_MOST_BYTES = 16 << 20


def check_regular(path: Path) -> None:
    """Refuse a named pipe or a device, which may never end; a missing file passes.

    Raises
    ------
    ScanError
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ScanError(f"{path} is a pipe or a device, not a file; choose a file.")


def read_bytes(path: Path, most: int = _MOST_BYTES) -> bytes:
    """The content of a small file.

    Raises
    ------
    ScanError
        It is not a regular file, or larger than `most` bytes.
    OSError
        It cannot be read.
    """
    check_regular(path)
    if path.stat().st_size > most:
        raise ScanError(f"{path} is larger than {most >> 20} MB; choose the right file.")
    return path.read_bytes()
