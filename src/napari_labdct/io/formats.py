"""The kinds of file that a scan can be opened from; other packages can add theirs.

A format is known by the end of the name. To add one: docs/architecture.md, "A new file format".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.registry import Registry, load
from ..scan.scan import Scan


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    suffixes : tuple of str
        Ends of names, lower case, with the dot.
    opens : str or callable
        From the path of a file that is there to its `Scan`; ``module:function`` for one that is
        loaded late. It reads nothing whole and raises a `ScanError` for a damaged file.
    sniff : str or callable, optional
        Whether such a file is a scan and not something else, for napari's question; quick.
    """

    suffixes: tuple[str, ...]
    opens: str | Callable[[Path], Scan]
    sniff: str | Callable[[Path], bool] | None = None

    def open(self, path: Path) -> Scan:
        """The scan of a file."""
        return _called(self.opens)(path)

    def is_scan(self, path: Path) -> bool:
        """Whether a file of such a name is a scan."""
        return self.sniff is None or _called(self.sniff)(path)


def _called(what: str | Callable) -> Callable:
    return load(what) if isinstance(what, str) else what


_HERE = "napari_labdct.io"

#: Formats by name; other packages add theirs as entry points.
FORMATS: Registry[Format] = Registry(
    "file format",
    "napari_labdct.formats",
    {
        "tiff": Format((".tif", ".tiff"), f"{_HERE}.opening:open_tiff", f"{_HERE}.tiff:is_stack"),
        "scan.yaml": Format((".yaml", ".yml"), f"{_HERE}.opening:open_description"),
    },
)


def format_of(path: str | Path) -> Format | None:
    """The format of a file by the end of its name; None if it has none that is known."""
    suffix = Path(path).suffix.lower()
    return next((f for f in FORMATS.usable() if suffix in f.suffixes), None)


def dialog_filter() -> str:
    """What a file dialog offers to open."""
    ends = [f"*{suffix}" for known in FORMATS.usable() for suffix in known.suffixes]
    return f"Projections ({' '.join(ends)})"
