"""napari's File > Open and drag-and-drop of grain maps: they are looked at in the Grains dock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...io.grain_map_files import is_grain_map, read_grain_map
from .docks import open_dock

#: What napari takes for "read, but no layer came of it".
_NO_LAYER: list[tuple[Any, ...]] = [(None,)]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """napari's question whether a path is a grain map; never raises.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None
    """
    try:
        given = [path] if isinstance(path, (str, Path)) else list(path)
        return _read if len(given) == 1 and is_grain_map(given[0]) else None
    except Exception:  # napari asks every reader about every file; a wrong guess must not hurt
        return None


def _read(path: str | Sequence[str]) -> list[Any]:
    """Open a map in the Grains dock of the present viewer; without one, as a labels layer.

    Raises
    ------
    ScanError
        One sentence that napari shows.
    """
    import napari

    path = path if isinstance(path, (str, Path)) else path[0]
    viewer = napari.current_viewer()
    if viewer is not None:
        open_dock(viewer, "Grains").open_map(path)
        return _NO_LAYER
    grains = read_grain_map(path).grains
    middle = (np.array(grains.labels.shape) - 1) / 2
    first = np.array(grains.center_mm)[::-1] * 1e3 - middle * grains.voxel_um
    options = {
        "name": Path(path).stem,
        "scale": (grains.voxel_um,) * 3,
        "translate": first,
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    }
    return [(grains.labels, options, "labels")]
