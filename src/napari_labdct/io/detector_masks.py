"""Images that say which pixels of a detector carry no information: those that are not 0."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError

import numpy as np

from ..core.errors import ScanError, reason
from ..core.reading import FAULTS
from ..core.recipes import recipe_beside
from ..scan.description import NO_MASK, ScanDescription
from ..scan.scan import Scan
from .regular import check_regular
from .spot_tables import described
from .tiff import SUFFIXES, TiffFrames, write_frames

_JOB = "detector mask"
_STEM = "detector_mask"


def mask_file(description: ScanDescription) -> Path | None:
    """The file that a description names as its mask, or None."""
    name = description.mask
    return Path(name) if isinstance(name, str) and name != NO_MASK else None


def read_detector_mask(path: Path) -> np.ndarray:
    """A detector mask, bool ``(rows, cols)``: True where pixels are left out.

    Parameters
    ----------
    path : path
        A TIFF of one page, or an array saved by NumPy (``.npy``).

    Raises
    ------
    ScanError
        It is not there, damaged, or no image.
    """
    if not path.exists():
        raise ScanError(f"The detector mask {path} does not exist; correct mask in scan.yaml.")
    check_regular(path)
    if path.suffix.lower() in SUFFIXES:
        frames = TiffFrames([path])
        image = frames.read(0) if len(frames) == 1 else np.empty((0, 0, 0))
    elif path.suffix.lower() == ".npy":
        try:
            image = np.load(path, mmap_mode="r", allow_pickle=False)
        except (*FAULTS, MemoryError, TokenError) as error:  # the header is a piece of Python
            raise ScanError(
                f"The detector mask {path} cannot be read ({reason(error)})."
            ) from error
    else:
        raise ScanError(f"The detector mask {path.name} must be a TIFF or .npy image; save it so.")
    if image.ndim != 2 or image.dtype.kind not in "buif":
        raise ScanError(f"The detector mask {path.name} must be one image of grey levels.")
    return image != 0


def keep_mask(scan: Scan, folder: Path) -> Scan:
    """Write the mask of a scan into a folder, unless a file already holds it.

    No file is replaced but one that was written here before.

    Returns
    -------
    Scan
        With the name of the file in its description.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    if scan.mask is None:
        return scan
    known = mask_file(scan.description)
    if (
        known is not None
        and known.exists()
        and np.array_equal(read_detector_mask(known), scan.mask)
    ):
        return scan
    path, number = folder / f"{_STEM}.tif", 1
    while path.exists() and recipe_beside(path).get("job") != _JOB:
        number += 1
        path = folder / f"{_STEM}_{number}.tif"
    image = np.where(scan.mask, np.uint8(255), np.uint8(0))
    with described(path, {"job": _JOB}):
        write_frames(path, [image], orientation=scan.orientation)
    return scan.replace(description=scan.description.replace(mask=str(path.absolute())))
