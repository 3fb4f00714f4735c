"""The kinds of file that a grain map is read from and written to; other packages can add theirs.

A format is known by the end of the name. Orientations of every kind become U, crystal to sample
(docs/grains.md has the conventions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import OutputError, ScanError
from ..core.files import make_folder
from ..core.hdf5 import has, item, open_hdf5
from ..core.outputs import made_aside
from ..core.registry import Registry, load
from ..crystal import Material
from .grainmapper import MapContent, MeasuredMap, assembled

__all__ = ["GRAIN_FORMATS", "GrainFormat", "convert_grain_map", "read_grain_map", "write_grain_map"]


@dataclass(frozen=True)
class GrainFormat:
    """One kind of file of grain maps.

    Attributes
    ----------
    words : str
        What it is called in a sentence.
    suffixes : tuple of str
        Ends of names, lower case, with the dot.
    reads : str or callable, optional
        From the path of a file that is there to its `MapContent`; ``module:function`` for one that
        is loaded late. It raises a `ScanError` for a damaged file.
    writes : str or callable, optional
        Writes a `MeasuredMap` to a path and gives the files it wrote.
    """

    words: str
    suffixes: tuple[str, ...]
    reads: str | Callable[[Path], MapContent] | None = None
    writes: str | Callable[[Path, MeasuredMap], list[Path]] | None = None


_HERE = "napari_labdct.io"

#: Formats by name; other packages add theirs as entry points.
GRAIN_FORMATS: Registry[GrainFormat] = Registry(
    "format of grain maps",
    "napari_labdct.grain_formats",
    {
        "grainmapper": GrainFormat(
            "GrainMapper3D",
            (".h5", ".hdf5", ".hdf"),
            f"{_HERE}.grainmapper:read_content",
            f"{_HERE}.grainmapper_writer:write_measured",
        ),
        "dream3d": GrainFormat(
            "DREAM.3D",
            (".dream3d",),
            f"{_HERE}.dream3d:read_dream3d",
            f"{_HERE}.dream3d:write_dream3d",
        ),
        "tesr": GrainFormat(
            "Neper", (".tesr",), f"{_HERE}.tesr:read_tesr", f"{_HERE}.tesr:write_tesr"
        ),
        "imaged11": GrainFormat(
            "ImageD11",
            (".ubi", ".map"),
            f"{_HERE}.grain_lists:read_grain_list",
            f"{_HERE}.grain_lists:write_grain_list",
        ),
        "xdmf": GrainFormat("ParaView", (".xdmf",), None, f"{_HERE}.xdmf:write_xdmf"),
        "csv": GrainFormat("a table", (".csv",), None, f"{_HERE}.grain_table:write_grain_table"),
    },
)


def _suffixes(part: str) -> list[str]:
    usable = GRAIN_FORMATS.usable()
    return [suffix for known in usable if getattr(known, part) for suffix in known.suffixes]


def _format(path: Path, part: str, error: type[Exception]) -> Callable:
    suffix = path.suffix.lower()
    for known in GRAIN_FORMATS.usable():
        found = getattr(known, part)
        if suffix in known.suffixes and found:
            return load(found) if isinstance(found, str) else found
    doing = "read from" if part == "reads" else "written to"
    raise error(
        f"Grain maps are {doing} files that end in {', '.join(_suffixes(part))}, and "
        f"{path.name} does not."
    )


def grain_dialog_filter() -> str:
    """What a file dialog offers to open as a grain map."""
    return f"Grain maps ({' '.join(f'*{suffix}' for suffix in _suffixes('reads'))})"


def is_grain_map(path: str | Path) -> bool:
    """Whether a file of such a name can be a grain map; an HDF5 file is looked into."""
    path = Path(path).expanduser()
    if path.suffix.lower() not in _suffixes("reads"):
        return False
    if path.suffix.lower() not in (".h5", ".hdf5", ".hdf"):
        return True
    try:
        with open_hdf5(path, ScanError) as file:
            return has(item(file, "LabDCT/Data"), "GrainId")
    except ScanError:
        return False


def read_grain_map(
    path: str | Path,
    *,
    y_flip: bool = False,
    material: str | Material | Sequence[Material] | None = None,
    voxels: bool = False,
) -> MeasuredMap:
    """Read a grain map of any known format; the parameters are those of `read_grainmapper`.

    Raises
    ------
    ScanError
        The file is no grain map, or what it holds makes no sense.
    SettingsError
        A material cannot be read.
    """
    path = Path(path).expanduser()
    # A name without a known end is tried as GrainMapper3D's: simulations write such files.
    known = path.suffix.lower() in {s for f in GRAIN_FORMATS.usable() for s in f.suffixes}
    reads = _format(path if known else path.with_suffix(".h5"), "reads", ScanError)
    return assembled(path, reads(path), y_flip=y_flip, material=material, voxels=voxels)


def write_grain_map(path: str | Path, measured: MeasuredMap) -> list[Path]:
    """Write a grain map in the format that the end of the name tells.

    Raises
    ------
    OutputError
        The format is not known or cannot hold the map, or the file cannot be written.
    """
    path = Path(path).expanduser()
    writes = _format(path, "writes", OutputError)
    make_folder(path.parent)
    return writes(path, measured)


def grain_ends() -> list[str]:
    """Ends of names that grain maps are written with."""
    return _suffixes("writes")


def convert_grain_map(
    source: str | Path,
    target: str | Path,
    *,
    material: str | Material | Sequence[Material] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Read a grain map in one format and write it in another; gives the files written.

    Raises
    ------
    ScanError, SettingsError
        The map cannot be read.
    OutputError
        The target cannot be written, is the source, or something else is there.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    _format(target, "writes", OutputError)
    if _same_file(target, source):
        raise OutputError(f"{target} is the file that is read; choose another name.")
    measured = read_grain_map(source, material=material, voxels=True)
    beside = target.with_suffix(".h5")
    with made_aside(target, overwrite) as aside:
        if target.suffix.lower() == ".xdmf" and _same_file(beside, source):
            from .xdmf import write_xdmf_only

            written = [write_xdmf_only(aside, beside)]  # the picture of an .h5 that stays
        else:
            written = write_grain_map(aside, measured)
    return [target.with_name(path.name) for path in written]


def _same_file(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)
