"""Open a scan from whatever a user points at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from natsort import natsorted

from ..errors import ScanError
from ..scan import Scan
from .scan_yaml import FILE_NAME, ScanFile, read_scan_yaml
from .tiff import SUFFIXES, TiffFrames


def open_scan(source: str | Path | Sequence[str | Path] | np.ndarray) -> Scan:
    """Open projections lazily, with the angles and geometry found beside them.

    Parameters
    ----------
    source : path, list of paths, or array-like
        A multi-page TIFF, a folder of TIFFs (natural order), a list of TIFFs (natural
        order), a ``scan.yaml``, or any array-like ``(n, rows, cols)``.

    Returns
    -------
    Scan

    Raises
    ------
    ScanError
        Nothing usable is there; the message says what and what to do.
    """
    if isinstance(source, (str, Path)):
        return _open_path(Path(source).expanduser())
    if hasattr(source, "shape"):
        return Scan(source)
    paths = [Path(p).expanduser() for p in source]
    if len(paths) == 1:
        return _open_path(paths[0])
    return _from_files(paths, paths[0].parent if paths else Path())


def _open_path(path: Path) -> Scan:
    if path.is_dir():
        if (path / FILE_NAME).exists():
            return _from_yaml(path / FILE_NAME)
        files = [p for p in path.iterdir() if _is_tiff(p)]
        if not files:
            raise ScanError(f"{path} holds no TIFF file; choose the folder of the projections.")
        return _from_files(files, path, name=path.name)
    if path.name == FILE_NAME or path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path)
    if not path.exists():
        raise ScanError(f"{path} does not exist; check the name.")
    if path.suffix.lower() not in SUFFIXES:
        raise ScanError(f"{path.name} is not a TIFF file; export the projections as TIFF.")
    return _from_files([path], path.parent, name=path.stem)


def _is_tiff(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.stem.endswith(".part")
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _from_yaml(path: Path) -> Scan:
    if not path.exists():
        raise ScanError(f"{path} does not exist; check the name.")
    described = read_scan_yaml(path)
    if described.frames:
        files = [p for pattern in described.frames for p in path.parent.glob(pattern)]
    else:
        files = [p for p in path.parent.iterdir() if _is_tiff(p)]
    if not files:
        wanted = ", ".join(described.frames) or "*.tif"
        raise ScanError(f"{path} names the projections {wanted}, but none is beside it.")
    return _make(files, described, path.absolute().parent.name, path.parent)


def _from_files(files: list[Path], folder: Path, name: str | None = None) -> Scan:
    described = ScanFile()
    beside = folder / FILE_NAME
    if beside.exists():
        described = read_scan_yaml(beside)
        if described.frames and not any(files[0].match(p) for p in described.frames):
            described = ScanFile()  # it speaks of other files in the same folder
    return _make(files, described, name or folder.name, folder)


def _make(files: list[Path], described: ScanFile, name: str, folder: Path) -> Scan:
    files = natsorted(files, key=lambda p: p.name)
    frames = TiffFrames(files)
    return Scan(
        frames,
        omega_deg=described.omega_deg(frames.shape[0]),
        description=described.description,
        name=name,
        source=str(files[0] if len(files) == 1 else folder),
        orientation=frames.orientation,
    )
