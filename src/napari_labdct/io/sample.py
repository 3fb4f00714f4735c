"""The sample scans that come with the package."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ScanError


def sample_folder() -> Path:
    """The folder of the sample scans, in an installed package or in a checkout.

    Raises
    ------
    ScanError
        The samples were not installed.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_data", package.parent.parent / "sample_data"):
        if (folder / "demo").is_dir():
            return folder
    raise ScanError(
        "The sample scan is not in this installation; install napari-labdct again from its wheel."
    )
