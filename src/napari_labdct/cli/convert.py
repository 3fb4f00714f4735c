"""``labdct convert IN OUT``: the same content in the format that the next program reads.

What a file holds (a stack, a table of spots, ...) is one `Kind`; formats follow from the ends of
the names.  To add a kind: one line in `KINDS`, or an entry point ``napari_labdct.conversions``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import LabDCTError, ScanError, SettingsError
from ..core.frame_store import spare_inputs
from ..core.outputs import made_aside, taken
from ..core.registry import Registry, load


@dataclass(frozen=True)
class Kind:
    """Something that files hold and that several formats can store.

    Attributes
    ----------
    what : str
        In a sentence: "a table of spots".
    takes : str or callable
        Whether a path that is there holds it: quick, and False where that is not sure.
    ends : str or callable
        Gives the ends of names that it can be written with.
    convert : str or callable
        ``convert(sources, target, overwrite)`` reads, writes, and gives the paths written;
        ``module:function`` for one that is loaded late.
    options : tuple of str
        Flags of the command that it takes as keywords, too.
    knows_its_own : bool
        It finds out whether what is there is its own same result (`core.outputs.made_aside`), so
        that the same command twice ends well; of others nothing that is there is replaced.
    """

    what: str
    takes: str | Callable[[Path], bool]
    ends: str | Callable[[], Sequence[str]]
    convert: str | Callable[..., Path | Sequence[Path]]
    options: tuple[str, ...] = ()
    knows_its_own: bool = False


_HERE = "napari_labdct.cli.convert"

#: Kinds by name, asked in this order; other packages add theirs as entry points.
KINDS: Registry[Kind] = Registry(
    "kind of content",
    "napari_labdct.conversions",
    {
        "spots": Kind(
            "a table of spots", f"{_HERE}:is_table", f"{_HERE}:table_ends",
            f"{_HERE}:convert_table", knows_its_own=True,
        ),
        "grain map": Kind(
            "a grain map",
            "napari_labdct.io.grain_map_files:is_grain_map",
            "napari_labdct.io.grain_map_files:grain_ends",
            f"{_HERE}:convert_map",
            options=("material",),
            knows_its_own=True,
        ),
        "stack": Kind(
            "a stack of projections, masks or labels",
            f"{_HERE}:is_stack", f"{_HERE}:stack_ends", f"{_HERE}:convert_stack",
            knows_its_own=True,
        ),
    },
)  # fmt: skip


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Convert a scan, a mask, labels, a grain map or a table of spots to the format that the "
        "end of the output's name says; docs/formats.md lists them. Angles, distances and units "
        "go along where the format has a place for them."
    )
    parser.add_argument(
        "sources", nargs="+", metavar="IN", help="a file, several of one scan, or a folder"
    )
    parser.add_argument("output", metavar="OUT", help="output: the file to write")
    parser.add_argument(
        "--material", help="materials of a grain map, one a phase: elements or CIF files"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another file")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    target = Path(given.output).expanduser()
    kind = _kind_of(given.sources, target)
    if target.exists() and not given.overwrite and not kind.knows_its_own:
        raise taken(target)
    options = {"material": given.material} if given.material else {}
    if not options.keys() <= set(kind.options):
        raise SettingsError(f"--material is for grain maps, and {given.sources[0]} is {kind.what}.")
    written = _called(kind.convert)(given.sources, target, given.overwrite, **options)
    for path in [written] if isinstance(written, Path) else written:
        print(path)


def _called(what: str | Callable) -> Callable:
    return load(what) if isinstance(what, str) else what


def _kind_of(sources: Sequence[str], target: Path) -> Kind:
    """The first kind that takes all sources and can be written with the end of the target.

    Raises
    ------
    ScanError
        A source is missing, or nobody knows what it holds.
    SettingsError
        What it holds is not written with such an end.
    """
    from ..io.opening import place

    places = [place(source)[0] for source in sources]
    for path in places:
        if not path.exists():
            raise ScanError(f"{path} does not exist; check the name.")
    kinds = [k for k in KINDS.usable() if all(_called(k.takes)(path) for path in places)]
    for kind in kinds:
        if target.name.lower().endswith(tuple(_called(kind.ends)())):
            return kind
    if not kinds:
        held = "; ".join(kind.what for kind in KINDS.usable())
        raise ScanError(f"{sources[0]} holds nothing that can be converted ({held}).")
    raise SettingsError(
        f"{sources[0]} holds {kinds[0].what}; name the output with one of the ends "
        f"{', '.join(_called(kinds[0].ends)())}."
    )


# ------------------------------------------------------------------------------- spots


def is_table(path: Path) -> bool:
    """Whether a file is a table of spots: by its end, and an HDF5 or JSON by what it says."""
    from ..core.hdf5 import attribute, open_hdf5
    from ..core.reading import load_json

    kind = path.suffix.lower()
    if kind in (".csv", ".parquet"):
        return path.is_file()
    try:
        if kind in (".h5", ".hdf5"):
            with open_hdf5(path, ScanError) as file:
                return str(attribute(file, "format")).startswith("napari-labdct spots")
        if kind == ".json":
            return "annotations" in load_json(path)
    except (LabDCTError, OSError, ValueError, TypeError):
        return False
    return False


def table_ends() -> list[str]:
    """Ends of tables that need no label images; COCO's do, and 'labdct spots' writes it."""
    return [".csv", ".parquet", ".h5", ".flt"]


def convert_table(sources: Sequence[str], target: Path, overwrite: bool) -> Path:
    """Write one table of spots in another format.

    Raises
    ------
    SettingsError
        Several tables are given.
    """
    from ..io.flt import write_flt
    from ..io.spot_tables import read_table, write_csv, write_hdf5, write_parquet
    from ..review.review import REVIEW_DTYPE

    if len(sources) > 1:
        raise SettingsError("Give one table at a time.")
    spare_inputs([target], sources[0])
    table, recipe = read_table(sources[0], REVIEW_DTYPE)
    writers = {".csv": write_csv, ".parquet": write_parquet, ".h5": write_hdf5, ".flt": write_flt}
    with made_aside(target, overwrite) as aside:
        writers[target.suffix.lower()](aside, table, recipe)
    return target


# -------------------------------------------------------------------------- grain maps


def convert_map(
    sources: Sequence[str], target: Path, overwrite: bool, material: str | None = None
) -> list[Path]:
    """Write a grain map in another format.

    Raises
    ------
    SettingsError
        Several maps are given.
    """
    from ..io.grain_map_files import convert_grain_map

    if len(sources) > 1:
        raise SettingsError("Give one grain map at a time.")
    return convert_grain_map(sources[0], target, material=material, overwrite=overwrite)


# ------------------------------------------------------------------------------ stacks


def is_stack(path: Path) -> bool:
    """Whether `io.open_scan` may open it; what is wrong with it is said when it does."""
    from ..io.formats import format_of

    return path.is_dir() or format_of(path) is not None or _holds_labels(path)


def _holds_labels(path: Path) -> bool:
    return path.suffix.lower() in (".h5", ".hdf5", ".json") and is_table(path)


def stack_ends() -> list[str]:
    """Ends of names that stacks are written with."""
    from ..io.formats import written_ends

    return written_ends()


def convert_stack(sources: Sequence[str], target: Path, overwrite: bool) -> Path:
    """Write a stack in another format, one frame at a time, with its recipe if it has one."""
    from ..core.recipes import recipe_beside
    from ..io import open_scan
    from ..io.formats import format_of
    from ..io.label_stacks import read_labels
    from ..io.spot_tables import described
    from ..scan.scan import Scan

    if len(sources) == 1 and _holds_labels(Path(sources[0])):
        scan = Scan(read_labels(sources[0]), name=Path(sources[0]).stem)
    else:
        scan = open_scan(list(sources))
    for note in scan.notes:
        print(f"Note: {note}", file=sys.stderr)
    spare_inputs([target], scan)
    if not overwrite:
        _refuse_another_stack(target, scan)
    known = format_of(target)
    _say_what_is_lost(scan, target)
    recipe = recipe_beside(sources[0]) if len(sources) == 1 else {}
    ticking = scan.replace(frames=_ticking(scan.frames))
    with made_aside(target, overwrite) as aside:
        if recipe:
            with described(aside, {"recipe": recipe}):
                known.write(aside, ticking, recipe)
        else:
            known.write(aside, ticking)
    return target


def _refuse_another_stack(target: Path, scan: Any) -> None:
    """Before the work: what is there is no stack, has another shape or begins differently."""
    from ..io import open_scan

    if not target.exists():
        return
    try:
        there = open_scan(target)
        same = (there.n_frames, there.shape) == (scan.n_frames, scan.shape)
        same = same and np.array_equal(there.frames[0], scan.frames[0])
    except LabDCTError:
        same = False
    if not same:
        raise taken(target)


def _say_what_is_lost(scan: Any, target: Path) -> None:
    from ..scan.description import ScanDescription

    name = target.name.lower()
    plain = name.endswith((".tif", ".tiff")) and not name.endswith((".ome.tif", ".ome.tiff"))
    if plain and (scan.omega_deg is not None or scan.description != ScanDescription()):
        print(
            "Note: a plain TIFF has no place for angles and distances; name it .ome.tif, or keep "
            "the scan.yaml beside it.",
            file=sys.stderr,
        )


def _ticking(frames: Any) -> Any:
    """The frames under a progress bar that moves when one is read."""
    from tqdm import tqdm

    from ..core.stacks import LazyStack

    bar = tqdm(total=frames.shape[0], desc="convert", unit="projection")

    class Ticking(LazyStack):
        def read(self, index: int):
            bar.update()
            if index == len(self) - 1:
                bar.close()
            return frames[index]

    return Ticking(frames.shape, frames.dtype)
