"""Stacks of masks and labels as TIFF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, ScanError
from ..core.hdf5 import item, open_hdf5, values
from ..core.schema import Mismatch
from ..core.stacks import LazyStack
from .coco import MOST_PIXELS, SparseFrames, coco_labels, read_coco
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
    with open_hdf5(path, lambda why: ScanError(f"{path.name} holds no label images ({why}).")) as f:
        return _sparse(item(f, "labels"))


def _sparse(group: Any) -> SparseFrames:
    """The label images that `spot_tables.write_hdf5` wrote."""
    shape = tuple(int(n) for n in np.ravel(group.attrs["shape"])[:4])
    index, ids, start = (values(group, name, 1, "iu") for name in ("index", "id", "start"))
    if len(shape) != 3 or min(shape) < 1 or shape[1] * shape[2] > MOST_PIXELS:
        raise Mismatch("the size of the images is impossible")
    fits = (
        len(index) == len(ids)
        and len(start) == shape[0] + 1
        and np.all(np.diff(start.astype(np.int64)) >= 0)
        and 0 <= start[0] <= start[-1] <= len(index)
        and (not len(index) or 0 <= index.min() <= index.max() < shape[1] * shape[2])
        and (not len(ids) or 0 < ids.min() <= ids.max() <= np.iinfo(np.int32).max)
    )
    if not fits:
        raise Mismatch("its parts do not fit together")
    spans = {i: np.s_[int(start[i]) : int(start[i + 1])] for i in range(shape[0])}
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
