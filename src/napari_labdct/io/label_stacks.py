"""Stacks of masks and labels as TIFF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, ScanError
from ..core.stacks import LazyStack
from .coco import SparseFrames, coco_labels, read_coco
from .spot_tables import described
from .tiff import TiffFrames, write_frames


def read_labels(path: str | Path) -> LazyStack:
    """Label images (or masks) from a TIFF, HDF5 or COCO-like JSON file.

    Raises
    ------
    ScanError
        It holds none.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in (".tif", ".tiff"):
        return TiffFrames([path])
    if kind == ".json":
        return coco_labels(read_coco(path))
    if kind not in (".h5", ".hdf5"):
        raise ScanError(f"{path.name} holds no label images; choose a .tif, .h5 or .json.")
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file["labels"]
            shape = tuple(int(n) for n in group.attrs["shape"])
            index, ids, start = group["index"][:], group["id"][:], group["start"][:]
    except (OSError, KeyError) as error:
        raise ScanError(f"{path.name} holds no label images ({error}).") from error
    spans = {i: np.s_[start[i] : start[i + 1]] for i in range(shape[0])}
    return SparseFrames(shape, {i: (index[s], ids[s]) for i, s in spans.items()})


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask or label image at another size; making it smaller loses no spot."""
    if image.shape == tuple(shape):
        return image
    near = [np.arange(n) * old // n for n, old in zip(shape, image.shape)]
    out = image[np.ix_(*near)]
    rows, cols = np.nonzero(image)
    at = [p * n // old for p, n, old in zip((rows, cols), shape, image.shape)]
    out[tuple(at)] = image[rows, cols]
    return out


def write_stack(
    path: str | Path,
    frames: Iterable[np.ndarray],
    recipe: dict[str, Any],
    *,
    dtype: np.dtype | type = np.uint8,
    orientation: int = 1,
    count: int | None = None,
) -> Path:
    """A binary (uint8, 0 or 255) or label (uint16) stack, one TIFF page a projection.

    Parameters
    ----------
    path : path
        A ``.tif``.
    frames : iterable of arrays (rows, cols)
    recipe : dict
        Written beside the file.
    dtype : dtype
        uint8 for masks, uint16 or int32 for labels; labels are compressed.
    orientation : int
        TIFF Orientation tag copied from the input.
    count : int, optional
        As for `write_frames`.

    Raises
    ------
    OutputError
        The folder cannot be written, or a label does not fit the type.
    """
    dtype = np.dtype(dtype)

    def ready() -> Iterator[np.ndarray]:
        for frame in frames:
            if frame.size and frame.max() > np.iinfo(dtype).max:
                raise OutputError(f"A projection has more spots than {dtype.name} can number.")
            yield frame.astype(dtype)

    compression = None if dtype == np.uint8 else "zlib"
    with described(path, recipe):
        return write_frames(
            path, ready(), orientation=orientation, compression=compression, count=count
        )
