"""napari's File > Open and drag-and-drop: projections as one lazy layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...io.formats import FORMATS, format_of
from ...io.scan_yaml import description_file
from .layers import LayerData, scan_layer


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's question whether a path is a scan; never raises.

    A folder or list of TIFFs, a multi-page grey-level TIFF and a ``scan.yaml`` are.  Pictures
    (one page, colour, more axes) are left to napari's own reader.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None
    """
    try:
        paths = [Path(p) for p in ([path] if isinstance(path, (str, Path)) else path)]
        return _read if _is_scan(paths) else None
    except Exception:  # napari asks every reader about every file; a wrong guess must not hurt
        return None


def _is_scan(paths: list[Path]) -> bool:
    tiff = FORMATS["tiff"].suffixes
    if len(paths) > 1:
        return all(p.suffix.lower() in tiff for p in paths)
    path = paths[0]
    if path.is_dir():
        return description_file(path) is not None or any(
            p.suffix.lower() in tiff for p in path.iterdir()
        )
    known = format_of(path)
    return known is not None and path.exists() and known.is_scan(path)


def _read(path: str | Sequence[str]) -> list[LayerData]:
    """The layer of a scan, turned the right way up in the present viewer.

    Raises
    ------
    ScanError
        One sentence that napari shows.
    """
    import napari

    from .session import session_of
    from .units import make_room

    made = scan_layer(path)
    viewer = napari.current_viewer()
    if viewer is not None:
        session_of(viewer)  # it turns the camera when the layer arrives
        make_room(viewer.layers, made[1])
    return [made]
