"""Open a scan from whatever a user points at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path

import numpy as np

from ..core.errors import ScanError, quoted
from ..core.recipes import recipe_beside
from ..scan.description import ScanDescription
from ..scan.knowledge import FROM_NAMES, about_angles, contradictions
from ..scan.scan import Scan
from .detector_masks import mask_file, read_detector_mask
from .formats import FORMATS, Format, format_of, known_kinds
from .names import about_names, angles_from_names, missing_names, natural_order, odd_names
from .patterns import matching_files
from .regular import check_regular
from .scan_yaml import ScanFile, description_file, read_scan_yaml


def open_scan(source: str | Path | Sequence[str | Path] | np.ndarray) -> Scan:
    """Open projections lazily, with the angles and geometry found in them and beside them.

    Parameters
    ----------
    source : path, list of paths, or array-like
        A file of a known kind (docs/formats.md), a folder of them (natural order), a list of
        them (natural order, folder by folder), a ``scan.yaml``, ``file.h5::/path`` for one of
        several data sets in a file, one file of an OME-TIFF set (the whole set is opened if it
        is there), or any array-like ``(n, rows, cols)``.

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
    given = [source] if isinstance(source, (str, Path)) else list(source)
    try:
        places = [place(p) for p in given]
        paths = [path for path, _ in places]
        if len(places) == 1:
            return _open_path(*places[0])
        if any(inside for _, inside in places):
            raise ScanError("Give one 'file::/path' at a time; several files are joined whole.")
        return _from_files(natural_order(paths), paths[0].parent if paths else Path())
    except OSError as error:  # such as a folder that may not be entered
        raise ScanError(
            f"{given[0]} cannot be opened ({error.strerror or error}); check who may read it."
        ) from error


def place(given: str | Path) -> tuple[Path, str]:
    """The file, and the data set inside it, that ``file.h5::/path`` names."""
    path = Path(given).expanduser()
    outer, mark, inside = str(path).partition("::")
    if not mark or path.exists():
        return path, ""
    return Path(outer), inside


def _open_path(path: Path, inside: str = "") -> Scan:
    known = format_of(path)
    if path.is_dir() and not (known is not None and known.folder):
        described = description_file(path)
        if described is not None:
            return open_description(described)
        files = files_of(path)
        if not files:
            raise ScanError(
                f"{path} holds no TIFF file and none of another known kind ({known_kinds()}); "
                "choose the folder of the projections."
            )
        return _from_files(files, path, name=path.name)
    if not path.exists():
        raise ScanError(f"{path} does not exist; check the name.")
    if known is None:
        raise ScanError(
            f"{path.name} is not a TIFF file or one of another known kind ({known_kinds()}); "
            "export the projections as TIFF."
        )
    check_regular(path)
    if known.describes:
        return known.open(path)
    members = [p for p in known.set_of(path) if p.exists()]
    whole = len(members) > 1 and path in members
    files = members if whole else [path]
    return _from_files(files, path.parent, name=_stem(path, known), inside=inside)


def _lacking(known: Format, files: Sequence[Path]) -> list[str]:
    """A sentence on the members of an OME-TIFF set that are not there; none if all are."""
    lacking = [p.name for p in known.set_of(files[0]) if not p.exists()]
    if not lacking:
        return []
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    are = "are" if len(lacking) > 1 else "is"
    return [
        f"{', '.join(lacking[:3])}{more} {are} missing: the OME-TIFF set of {files[0].name} has "
        "more files than are here."
    ]


def _stem(path: Path, known: Format) -> str:
    """The name without the end that tells the format."""
    ends = sorted((s for s in known.suffixes if path.name.lower().endswith(s)), key=len)
    return path.name[: -len(ends[-1])] if ends else path.stem


def files_of(folder: Path) -> list[Path]:
    """The projections of a folder in natural order, or in that of the OME-TIFF set they are.

    TIFFs if there are any, else the files of the kind that is there.

    Raises
    ------
    ScanError
        There are several other kinds, so that nobody knows which is meant.
    """
    kinds: dict[int, tuple[Format, list[Path]]] = {}
    formats = FORMATS.usable()
    for path in sorted(folder.iterdir()):
        known = None if _hidden(path) else format_of(path, formats)
        if known is None or known.describes or path.is_dir() != known.folder:
            continue
        kinds.setdefault(id(known), (known, []))[1].append(path)
    tiff = FORMATS["tiff"]
    if id(tiff) in kinds:
        found = {id(tiff): kinds[id(tiff)]}
    else:
        found = {
            key: (known, members)
            for key, (known, files) in kinds.items()
            if (members := [p for p in files if known.single or known.is_scan(p)])
        }
    if len(found) > 1:
        several = ", ".join(f"{len(files)} {known.words}" for known, files in found.values())
        raise ScanError(f"{folder} holds several kinds of files ({several}); choose one of them.")
    for known, several in found.values():
        files = natural_order(_projections(several))
        members = known.set_of(files[0]) if len(files) > 1 else []
        return [p for p in members if p in files] if set(files) <= set(members) else files
    return []


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.stem.endswith(".part")


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
    found = [matching_files(_inside(pattern, folder)[0], folder) for pattern in described.frames]
    return list(dict.fromkeys(chain(*found)))


def _inside(pattern: str, folder: Path) -> tuple[str, str]:
    """A pattern, and the data set of the file that it names with ``::``."""
    outer, mark, inside = pattern.partition("::")
    return (outer, inside) if mark and not (folder / pattern).exists() else (pattern, "")


def open_description(path: Path) -> Scan:
    """The scan that a ``scan.yaml`` describes."""
    described, folder = read_scan_yaml(path), path.parent
    named = described.frames
    files = _projections(named_files(described, folder)) if named else files_of(folder)
    mask = mask_file(described.description)
    files = [p for p in files if mask is None or p.absolute() != mask]
    if not files:
        wanted = ", ".join(map(quoted, described.frames[:5])) or "*.tif"
        raise ScanError(f"{path} names the projections {wanted}, but none is beside it.")
    inside = _inside(named[0], folder)[1] if len(files) == 1 and len(named) == 1 else ""
    scan = _read(files, inside)
    return _with_description(scan, files, described, path.absolute().parent.name, folder)


def _from_files(files: list[Path], folder: Path, name: str | None = None, inside: str = "") -> Scan:
    described = ScanFile()
    beside = description_file(folder)
    if beside is not None:
        described = read_scan_yaml(beside)
        named = [p.absolute() for p in named_files(described, folder)]
        if described.frames and (not files or files[0].absolute() not in named):
            described = ScanFile()  # it speaks of other files in the same folder
    if not inside and len(described.frames) == 1:
        inside = _inside(described.frames[0], folder)[1]
    return _with_description(_read(files, inside), files, described, name or folder.name, folder)


def _read(files: Sequence[Path], inside: str = "") -> Scan:
    """The scan of files of one kind, with what they know themselves."""
    formats = FORMATS.usable()
    of_each = [format_of(path, formats) for path in files]
    kinds = {id(known): known for known in of_each}
    if None in of_each or not files:
        odd = files[of_each.index(None)].name if files else ""
        what = (
            f"{odd} is not a TIFF file or one of another known kind" if odd else "No file is given"
        )
        raise ScanError(f"{what}; choose the files of the projections.")
    if len(kinds) > 1:
        words = " and ".join(known.words or known.suffixes[0] for known in kinds.values())
        raise ScanError(f"The files are of several kinds ({words}); open those of one kind.")
    (known,) = kinds.values()
    scan = known.open(files[0], inside) if len(files) == 1 else known.open_all(files)
    lacking = _lacking(known, files)
    return scan.replace(notes=(*lacking, *scan.notes)) if lacking else scan


def _with_description(
    scan: Scan, files: list[Path], described: ScanFile, name: str, folder: Path
) -> Scan:
    """A scan with what a ``scan.yaml`` says, and where that is silent what the file knows."""
    one_each = scan.n_frames == len(files)
    omega = described.omega_deg(scan.n_frames)
    if omega is not None and omega.size != scan.n_frames and one_each:
        _tell_which(files, omega, name)
    mask = mask_file(described.description)
    known = replace(scan.known, omega_deg=scan.omega_deg, description=scan.description)
    if known.omega_deg is None and one_each:
        told = angles_from_names(files, worded=True)
        known = replace(known, omega_deg=told, omega_from=FROM_NAMES)
    omega = known.omega_deg if omega is None else omega
    notes = [*scan.notes, *(about_names(files, omega) if one_each else ())]
    notes += contradictions(known, described.description)
    notes += about_angles(omega) if omega is not None and omega.size == scan.n_frames else []
    return scan.replace(
        omega_deg=omega,
        description=_over(described.description, known.description),
        mask=scan.mask if mask is None else read_detector_mask(mask),
        name=name,
        source=str(files[0] if len(files) == 1 else folder),
        notes=tuple(dict.fromkeys(notes)),
        known=known,
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


def _over(said: ScanDescription, told: ScanDescription) -> ScanDescription:
    """What `said` says, and what `told` tells where `said` is as it is by itself."""
    default = ScanDescription()
    names = [f.name for f in fields(ScanDescription)]
    given = {n: getattr(said, n) for n in names if getattr(said, n) != getattr(default, n)}
    return replace(told, **given)
