"""napari's File > Open and drag-and-drop: projections as one lazy layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...io.formats import FORMATS, format_of
from ...io.opening import files_of, place
from ...io.scan_yaml import description_file
from .layers import LayerData, scan_layer


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's question whether a path is a scan; never raises.

    A folder or a list of files of one known kind, a file that its format takes for a scan, and a
    ``scan.yaml`` are.  Pictures (one page, colour, more axes) and other data are left to napari's
    own reader and to those of other packages.

    Parameters
    ----------
    path : str or list of str

    Returns
    -------
    callable or None
    """
    try:
        given = [path] if isinstance(path, (str, Path)) else path
        places = [place(p) for p in given]
        return _read if _is_scan(places) else None
    except Exception:  # napari asks every reader about every file; a wrong guess must not hurt
        return None


def _is_scan(places: list[tuple[Path, str]]) -> bool:
    paths = [path for path, _ in places]
    if len(paths) > 1:
        formats = FORMATS.usable()
        known, *others = [format_of(path, formats) for path in paths]
        if known is None or known.describes or any(other is not known for other in others):
            return False
        return known.single or all(map(known.is_scan, paths))
    path, inside = places[0]
    known = format_of(path)
    if path.is_dir() and not (known is not None and known.folder):
        return description_file(path) is not None or bool(files_of(path))
    return known is not None and path.exists() and (bool(inside) or known.is_scan(path))


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
