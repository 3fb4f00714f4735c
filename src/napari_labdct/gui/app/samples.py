"""File > Open Sample > LabDCT: scans that come with the package, no download."""

from __future__ import annotations

from typing import Any

from ...core.errors import ScanError
from ...io.sample import sample_folder


def demo() -> list[tuple[Any, dict[str, Any], str]]:
    """The small simulated scan, as napari's Open Sample wants it."""
    from .reader import get_reader

    folder = str(sample_folder() / "demo")
    reader = get_reader(folder)
    if reader is None:
        raise ScanError(f"{folder} holds no projections; install napari-labdct again.")
    return reader(folder)
