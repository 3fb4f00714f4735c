"""The kinds of file that a scan can be opened from; other packages can add theirs.

A format is known by the end of the name. To add one: docs/architecture.md, "A new file format".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import OutputError, ScanError
from ..core.registry import Registry, load
from ..scan.scan import Scan
from .joined import joined


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    suffixes : tuple of str
        Ends of names, lower case, with the dot; ``.edf.gz`` has two.
    opens : str or callable
        From the path of a file that is there to its `Scan`, with what the file itself knows;
        ``module:function`` for one that is loaded late. It reads nothing whole and raises a
        `ScanError` for a damaged file. What a ``scan.yaml`` beside it says is added afterwards.
    sniff : str or callable, optional
        Whether such a file is a scan and not something else, for napari's question; quick.
    opens_all : str or callable, optional
        From the paths of several files, in order, to one `Scan`. Without it each is opened with
        `opens`, and they are joined.
    single : bool
        One file is usually one projection, so that all files of a folder belong to a scan.
    folder : bool
        Such a "file" is a folder, as a Zarr store is.
    inside : bool
        A file may hold several stacks: ``file.h5::/path`` is opened with ``opens(path, inside)``.
    members : str or callable, optional
        From one file to the whole set that it says it belongs to, in order.
    describes : bool
        It is a description of a scan that names the files, as ``scan.yaml`` is.
    writes : str or callable, optional
        ``writes(path, scan, recipe)`` writes the frames of a scan, one at a time, with what is
        known of it.
    words : str
        What the kind is called in a sentence.
    """

    suffixes: tuple[str, ...]
    opens: str | Callable[..., Scan]
    sniff: str | Callable[[Path], bool] | None = None
    opens_all: str | Callable[[Sequence[Path]], Scan] | None = None
    single: bool = False
    folder: bool = False
    inside: bool = False
    members: str | Callable[[Path], list[Path]] | None = None
    describes: bool = False
    writes: str | Callable[[Path, Scan, Mapping[str, Any]], Path] | None = None
    words: str = ""

    def open(self, path: Path, inside: str = "") -> Scan:
        """The scan of a file."""
        if inside and not self.inside:
            raise ScanError(f"{path.name} holds one stack only; leave out '::{inside}'.")
        return _called(self.opens)(path, inside) if inside else _called(self.opens)(path)

    def open_all(self, paths: Sequence[Path]) -> Scan:
        """The scan of several files, in their order."""
        if self.opens_all is not None:
            return _called(self.opens_all)(paths)
        scans = [self.open(path) for path in paths]
        return scans[0] if len(scans) == 1 else joined(scans, [p.name for p in paths])

    def is_scan(self, path: Path) -> bool:
        """Whether a file of such a name is a scan."""
        return self.sniff is None or bool(_called(self.sniff)(path))

    def write(self, path: Path, scan: Scan, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the frames of a scan, a mask or labels.

        Raises
        ------
        OutputError
            This kind of file is not written, or the folder cannot be written.
        """
        if self.writes is None:
            raise OutputError(
                f"{self.words or path.suffix} files are read but not written; choose one of "
                f"{', '.join(written_ends())}."
            )
        return _called(self.writes)(Path(path), scan, recipe or {})

    def set_of(self, path: Path) -> list[Path]:
        """The whole set that a file says it belongs to; empty if it is alone."""
        return [] if self.members is None else _called(self.members)(path)


def _called(what: str | Callable) -> Callable:
    return load(what) if isinstance(what, str) else what


_HERE = "napari_labdct.io"

#: Formats by name; other packages add theirs as entry points.
FORMATS: Registry[Format] = Registry(
    "file format",
    "napari_labdct.formats",
    {
        "tiff": Format(
            (".tif", ".tiff"), f"{_HERE}.tiff:open_tiff", f"{_HERE}.tiff:is_stack",
            opens_all=f"{_HERE}.tiff:open_tiffs", single=True,
            members=f"{_HERE}.tiff:set_members", writes=f"{_HERE}.tiff:write_tiff", words="TIFF",
        ),
        "scan.yaml": Format(
            (".yaml", ".yml"), f"{_HERE}.opening:open_description", describes=True,
            words="scan.yaml",
        ),
        "txrm": Format(
            (".txrm", ".xrm"), f"{_HERE}.txrm:open_txrm", f"{_HERE}.txrm:is_txrm", words="Zeiss",
        ),
        **{
            name: Format(
                suffixes, f"{_HERE}.detector_files:open_{name}", sniff,
                opens_all=f"{_HERE}.detector_files:open_{name}s", single=True, words=words,
                writes=f"{_HERE}.detector_files:write_edf" if name == "edf" else None,
            )
            for name, words, suffixes, sniff in (
                ("edf", "EDF", (".edf", ".edf.gz", ".edf.bz2"), None),
                ("cbf", "CBF", (".cbf", ".cbf.gz"), None),
                ("marccd", "MarCCD", (".mccd", ".marccd"), None),
                ("adsc", "ADSC", (".img",), f"{_HERE}.detector_files:is_adsc"),
            )
        },
        "hdf5": Format(
            (".h5", ".hdf5", ".hdf", ".nxs", ".nx", ".nexus"), f"{_HERE}.nexus:open_hdf5",
            f"{_HERE}.nexus:is_hdf5", opens_all=f"{_HERE}.nexus:open_hdf5s", inside=True,
            writes=f"{_HERE}.nexus:write_nxtomo", words="HDF5",
        ),
        "zarr": Format(
            (".zarr", ".ome.zarr"), f"{_HERE}.zarr_stacks:open_zarr",
            f"{_HERE}.zarr_stacks:is_zarr", folder=True, inside=True,
            writes=f"{_HERE}.zarr_stacks:write_zarr", words="Zarr",
        ),
    },
)  # fmt: skip


def format_of(path: str | Path, kinds: Sequence[Format] | None = None) -> Format | None:
    """The format of a file by the end of its name; None if it has none that is known.

    The longest end counts. Of several formats with the same end it is the first that takes the
    file for a scan, or else the first.

    Parameters
    ----------
    path : path
    kinds : sequence of Format, optional
        Those of `FORMATS`, listed once where there are many files.
    """
    path = Path(path)
    kinds = FORMATS.usable() if kinds is None else kinds
    name = path.name.lower()
    fitting = [
        (max(map(len, ends)), known)
        for known in kinds
        if (ends := [s for s in known.suffixes if name.endswith(s) and len(name) > len(s)])
    ]
    longest = max((length for length, _ in fitting), default=0)
    candidates = [known for length, known in fitting if length == longest]
    if len(candidates) > 1 and path.exists():
        return next((known for known in candidates if _takes(known, path)), candidates[0])
    return candidates[0] if candidates else None


def _takes(known: Format, path: Path) -> bool:
    try:
        return path.is_dir() == known.folder and known.is_scan(path)
    except Exception:  # a guess of somebody else's format must not hinder ours
        return False


def dialog_filter() -> str:
    """What a file dialog offers to open."""
    kinds = [known for known in FORMATS.usable() if not known.folder]
    ends = dict.fromkeys(f"*{suffix}" for known in kinds for suffix in known.suffixes)
    return f"Projections ({' '.join(ends)})"


def written_ends() -> list[str]:
    """Ends of names that stacks can be written with."""
    kinds = [known for known in FORMATS.usable() if known.writes is not None]
    return [".ome.tif", *(s for known in kinds for s in known.suffixes if s.count(".") < 2)]


def known_kinds() -> str:
    """The kinds of files, for a sentence."""
    words = [known.words for known in FORMATS.usable() if known.words and not known.describes]
    return ", ".join(words)
