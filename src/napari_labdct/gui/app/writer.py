"""napari's File > Save Selected Layers: a mask as the binary stack grain software reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .layers import KEY


def write_binary_stack(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as 8-bit TIFF, 0 and 255, one page a projection.

    What made a result of this package is written beside it as ``NAME.json``.

    Parameters
    ----------
    path : str
        Ends in ``.tif`` or ``.tiff``.
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
    from ...io import write_frames
    from ...io.spot_tables import write_recipe

    stack = data if len(data.shape) == 3 else np.asarray(data)[None]
    info = meta.get("metadata", {}).get(KEY, {})
    frames = (
        (np.asarray(stack[i]) > 0).astype(np.uint8) * np.uint8(255) for i in range(stack.shape[0])
    )
    written = write_frames(
        Path(path), frames, orientation=info.get("orientation", 1), count=stack.shape[0]
    )
    if info.get("recipe"):
        write_recipe(written, {"recipe": info["recipe"]})
    return [str(written)]
