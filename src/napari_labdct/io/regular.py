"""Small text files that people write: read whole, if they are files at all."""

from __future__ import annotations

from pathlib import Path

from ..core import reading
from ..core.reading import check_regular

__all__ = ["check_regular", "read_bytes"]

_MOST_BYTES = 16 << 20


def read_bytes(path: Path, most: int = _MOST_BYTES) -> bytes:
    """The content of a small file; see `core.reading.read_bytes`.

    Raises
    ------
    ScanError
        It is not a regular file, or larger than `most` bytes.
    OSError
        It cannot be read.
    """
    return reading.read_bytes(path, most)
