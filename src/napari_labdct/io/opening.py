"""Open a scan from whatever a user points at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ..core.errors import ScanError, quoted
from ..core.recipes import recipe_beside
from ..scan.scan import Scan
from .detector_masks import mask_file, read_detector_mask
from .formats import format_of
from .names import about_names, missing_names, natural_order, odd_names
from .patterns import matching_files
from .regular import check_regular
from .scan_yaml import ScanFile, description_file, read_scan_yaml
from .tiff import SUFFIXES, TiffFrames, set_members


def open_scan(source: str | Path | Sequence[str | Path] | np.ndarray) -> Scan:
    """Open projections lazily, with the angles and geometry found beside them.

    Parameters
    ----------
    source : path, list of paths, or array-like
        A multi-page TIFF, a folder of TIFFs (natural order), a list of TIFFs (natural order,
        folder by folder), a ``scan.yaml``, one file of an OME-TIFF set (the whole set is opened
        if it is there), or any array-like ``(n, rows, cols)``.

    Returns
    -------
    Scan

    Raises
    ------
    ScanError
        Nothing usable is there; the message says what and what to do.
    """
    if hasattr(source, "shape"):
        return Scan(source)
    given = [source] if isinstance(source, (str, Path)) else source
    paths = [Path(p).expanduser() for p in given]
    try:
        if len(paths) == 1:
            return _open_path(paths[0])
        return _from_files(natural_order(paths), paths[0].parent if paths else Path())
    except OSError as error:  # such as a folder that may not be entered
        raise ScanError(
            f"{paths[0]} cannot be opened ({error.strerror or error}); check who may read it."
        ) from error


def _open_path(path: Path) -> Scan:
    if path.is_dir():
        described = description_file(path)
        if described is not None:
            return open_description(described)
        files = _beside(path)
        if not files:
            raise ScanError(f"{path} holds no TIFF file; choose the folder of the projections.")
        return _from_files(files, path, name=path.name)
    if not path.exists():
        raise ScanError(f"{path} does not exist; check the name.")
    known = format_of(path)
    if known is None:
        raise ScanError(f"{path.name} is not a TIFF file; export the projections as TIFF.")
    return known.open(path)


def open_tiff(path: Path) -> Scan:
    """A TIFF as a scan, or the whole set that it is a member of."""
    check_regular(path)
    members = [p for p in set_members(path) if p.exists()]
    whole = len(members) > 1 and path in members
    return _from_files(members if whole else [path], path.parent, name=path.stem)


def _lacking(files: list[Path]) -> list[str]:
    """A sentence on the members of an OME-TIFF set that are not there; none if all are."""
    lacking = [p.name for p in set_members(files[0]) if not p.exists()]
    if not lacking:
        return []
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    are = "are" if len(lacking) > 1 else "is"
    return [
        f"{', '.join(lacking[:3])}{more} {are} missing: the OME-TIFF set of {files[0].name} has "
        "more files than are here."
    ]


def _beside(folder: Path) -> list[Path]:
    """The projections of a folder in natural order, or in that of the OME-TIFF set they are."""
    files = natural_order(_projections(p for p in folder.iterdir() if _is_tiff(p)))
    members = set_members(files[0]) if len(files) > 1 else []
    return [p for p in members if p in files] if set(files) <= set(members) else files


def _is_tiff(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.stem.endswith(".part")
    return path.suffix.lower() in SUFFIXES and path.is_file() and not hidden


def _projections(files: Iterable[Path]) -> list[Path]:
    """Without the results of our jobs, finished or not, that were written beside them.

    Where there is nothing else they are what is meant: a simulated scan is a result too.
    """
    files = list(files)
    others = [p for p in files if not p.stem.endswith(".part") and "job" not in recipe_beside(p)]
    return others or files


def named_files(described: ScanFile, folder: Path) -> list[Path]:
    """The files that the patterns of a ``scan.yaml`` in `folder` stand for, each once.

    Patterns keep the order in which they are given; the files of each come in natural order.
    """
    found = [matching_files(pattern, folder) for pattern in described.frames]
    return list(dict.fromkeys(chain(*found)))


def open_description(path: Path) -> Scan:
    """The scan that a ``scan.yaml`` describes."""
    described, folder = read_scan_yaml(path), path.parent
    named = described.frames
    files = _projections(named_files(described, folder)) if named else _beside(folder)
    mask = mask_file(described.description)
    files = [p for p in files if mask is None or p.absolute() != mask]
    if not files:
        wanted = ", ".join(map(quoted, described.frames[:5])) or "*.tif"
        raise ScanError(f"{path} names the projections {wanted}, but none is beside it.")
    return _make(files, described, path.absolute().parent.name, folder)


def _from_files(files: list[Path], folder: Path, name: str | None = None) -> Scan:
    described = ScanFile()
    beside = description_file(folder)
    if beside is not None:
        described = read_scan_yaml(beside)
        named = [p.absolute() for p in named_files(described, folder)]
        if described.frames and files[0].absolute() not in named:
            described = ScanFile()  # it speaks of other files in the same folder
    return _make(files, described, name or folder.name, folder)


def _make(files: list[Path], described: ScanFile, name: str, folder: Path) -> Scan:
    frames = TiffFrames(files)
    n_frames = frames.shape[0]
    omega = described.omega_deg(n_frames)
    one_each = n_frames == len(files)
    if omega is not None and omega.size != n_frames and one_each:
        _tell_which(files, omega, name)
    mask = mask_file(described.description)
    return Scan(
        frames,
        omega_deg=omega,
        description=described.description,
        mask=None if mask is None else read_detector_mask(mask),
        name=name,
        source=str(files[0] if len(files) == 1 else folder),
        orientation=frames.orientation,
        notes=(*_lacking(files), *(about_names(files, omega) if one_each else ())),
    )


def _tell_which(files: list[Path], omega: np.ndarray, name: str) -> None:
    """Refuse files of another number than the angles, with the names that may be to blame."""
    said = f"'{name}' has {len(files)} projections but {omega.size} rotation angles; "
    odd, missing = odd_names(files), missing_names(files)
    if odd:
        names = ", ".join(p.name for p in odd[:3])
        said += f"{names} is named otherwise than the rest, so move it away if it is no projection."
    elif len(files) < omega.size and missing:
        said += f"{', '.join(missing[:3])} may be missing."
    elif len(files) > omega.size:
        said += (
            f"there is none for {files[omega.size].name}, so move it away if it is no projection."
        )
    else:
        return  # `Scan` says what there is to say
    raise ScanError(said)
