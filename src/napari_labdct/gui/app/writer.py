"""napari's File > Save Selected Layers: masks as the binary stacks grain software reads, stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import OutputError, ScanError
from ...core.frame_store import spare_inputs
from ...core.stacks import LazyStack
from ...scan.description import ScanDescription
from ...scan.scan import Scan
from .layers import KEY


def write_binary_stack(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as 8-bit images, 0 and 255, one a projection.

    What made a result of this package is written beside it as ``NAME.json``.

    Parameters
    ----------
    path : str
        Its end says the format: ``.tif``, ``.ome.tif``, ``.ome.zarr``, ``.h5``, ``.nxs``, ``.edf``.
    data : array-like (n, rows, cols) or (rows, cols)
        Any non-zero pixel is spot; read frame by frame.
    meta : dict
        napari's layer options; the scan's TIFF Orientation and the recipe are in its metadata.

    Returns
    -------
    list of str
        The file written.

    Raises
    ------
    OutputError
        The folder is missing, read-only or full.
    """
    info = meta.get("metadata", {}).get(KEY, {})
    return _write(Path(path), _Binary(_stack(data)), meta, info)


def write_stack(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer of projections, or of a result, with the angles and units known of it.

    Parameters
    ----------
    path : str
        Its end says the format, as for `write_binary_stack`.
    data : array-like (n, rows, cols) or (rows, cols)
        Read frame by frame.
    meta : dict
        napari's layer options.

    Returns
    -------
    list of str
        The file written.

    Raises
    ------
    OutputError
        It is no stack of grey levels, or the folder is missing, read-only or full.
    """
    info = meta.get("metadata", {}).get(KEY, {})
    return _write(Path(path), _stack(data), meta, info)


def _stack(data: Any) -> Any:
    return data if len(data.shape) == 3 else np.asarray(data)[None]


class _Binary(LazyStack):
    """A stack whose pixels other than 0 are 255."""

    def __init__(self, stack: Any) -> None:
        super().__init__(tuple(stack.shape), np.uint8)
        self._of = stack

    def read(self, index: int) -> np.ndarray:
        return (np.asarray(self._of[index]) > 0).astype(np.uint8) * np.uint8(255)


def _write(path: Path, stack: Any, meta: dict[str, Any], info: dict[str, Any]) -> list[str]:
    from ...io.formats import format_of, written_ends
    from ...io.spot_tables import write_recipe

    known = format_of(path)
    if known is None:
        raise OutputError(f"{path.name} must end in one of {', '.join(written_ends())}.")
    try:
        scan = _described(stack, meta, info)
    except ScanError as error:
        raise OutputError(f"{path.name} is not written: {error}") from error
    spare_inputs([path], scan)
    recipe = info.get("recipe") or {}
    written = known.write(path, scan, recipe)
    if recipe:
        write_recipe(written, {"recipe": recipe})
    return [str(written)]


def _described(stack: Any, meta: dict[str, Any], info: dict[str, Any]) -> Scan:
    """The stack as a scan, with what the layer knows: that of its scan, or the scale alone."""
    scan = info.get("scan")
    if isinstance(scan, Scan) and tuple(scan.frames.shape) == tuple(stack.shape):
        return scan.replace(frames=stack)
    units = [str(unit) for unit in meta.get("units") or ()]
    scale = np.asarray(meta.get("scale", ()), float)
    sized = len(units) and units[-1] in ("micrometer", "um") and scale.size and scale[-1] > 0
    pixel = {"pixel_um": float(f"{scale[-1]:.6g}")} if sized else {}
    return Scan(
        stack,
        description=ScanDescription(**pixel),
        name=str(meta.get("name", "stack")),
        orientation=int(info.get("orientation", 1)),
    )
