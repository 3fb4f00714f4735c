"""napari's File > Open and drag-and-drop: projections as one lazy layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .layers import LayerData, scan_layer

_TIFF = (".tif", ".tiff")
_YAML = (".yaml", ".yml")


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
    if len(paths) > 1:
        return all(p.suffix.lower() in _TIFF for p in paths)
    path = paths[0]
    if path.is_dir():
        return (path / "scan.yaml").exists() or any(
            p.suffix.lower() in _TIFF for p in path.iterdir()
        )
    if path.suffix.lower() in _YAML:
        return path.exists()
    return path.suffix.lower() in _TIFF and path.exists() and not _is_picture(path)


def _is_picture(path: Path) -> bool:
    """One page without a ``scan.yaml`` beside it, colour, or more axes than a scan has."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            page, shape = tif.pages[0], tif.series[0].shape
            colour = page.samplesperpixel > 1 or page.photometric in (
                tifffile.PHOTOMETRIC.RGB,
                tifffile.PHOTOMETRIC.PALETTE,
            )
            axes = [n for n in shape[:-2] if n > 1]
            single = not axes and len(tif.series) == 1
            return colour or len(axes) > 1 or (single and not (path.parent / "scan.yaml").exists())
    except Exception:  # damaged: ours to explain
        return False


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
