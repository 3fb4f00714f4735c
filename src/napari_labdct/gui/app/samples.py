"""File > Open Sample > LabDCT: scans that come with the package, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import ScanError


def sample_folder() -> Path:
    """The folder of the sample scans, in an installed package or in a checkout.

    Raises
    ------
    ScanError
        The samples were not installed.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "sample_data", package.parent.parent / "sample_data"):
        if (folder / "demo").is_dir():
            return folder
    raise ScanError(
        "The sample scan is not in this installation; install napari-labdct again from its wheel."
    )


def demo() -> list[tuple[Any, dict[str, Any], str]]:
    """The small simulated scan, as napari's Open Sample wants it."""
    from .reader import get_reader

    folder = str(sample_folder() / "demo")
    reader = get_reader(folder)
    if reader is None:
        raise ScanError(f"{folder} holds no projections; install napari-labdct again.")
    return reader(folder)
