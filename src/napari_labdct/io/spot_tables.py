"""Spots to and from other programs: tables, HDF5, COCO-like JSON, binary and label stacks.

Every writer keeps the recipe with the result: inside the file where the format has a place for
it, and as ``NAME.json`` beside it where not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, ScanError, quoted, reason
from ..core.files import atomic, atomic_hdf5, make_folder, remove, write_atomically
from ..core.hdf5 import open_hdf5, parse_mapping, recipe_of, values
from ..core.locks import alone
from ..core.outputs import as_before, taken
from ..core.reading import FAULTS, check_declared, load_json
from ..core.recipes import recipe_beside
from ..core.schema import Mismatch, check
from ..core.spot_words import LATER_COLUMNS, WORDS
from .coco import read_coco
from .regular import check_regular
from .spot_csv import fitting, read_spot_csv, texts, unknown, write_spot_csv

_MOST_JSON = 1 << 31
_IMAGES = ("frame", "median", "mask", "ignore")
#: Tables by the end of their name.
TABLES = (".csv", ".parquet", ".h5", ".json")


def write_recipe(path: str | Path, recipe: dict[str, Any]) -> Path:
    """Write ``NAME.json`` beside a result."""
    side = _side(path)
    write_atomically(side, json.dumps(recipe, indent=1))
    return side


def _side(path: str | Path) -> Path:
    return Path(path).with_name(Path(path).name + ".json")


@contextlib.contextmanager
def described(path: str | Path, recipe: dict[str, Any]) -> Iterator[None]:
    """The block writes `path`, whose recipe stands beside it before: a kill leaves nothing unknown.

    If the block fails, the recipe that was there comes back.
    """
    side = _side(path)
    make_folder(side.parent)
    with alone(path):
        before = side.read_bytes() if side.exists() else None
        write_recipe(path, recipe)
        try:
            yield
        except BaseException:
            if before is None:
                remove(side)
            else:
                write_atomically(side, before)
            raise


def claim(path: str | Path | None, recipe: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    """Refuse to replace anything but a result of the same recipe, before the work begins.

    Parameters
    ----------
    path : path or None
        Of the result; nothing is refused for None.
    recipe : dict
        Of the result to be written.
    overwrite : bool
        The user has said that it may go.

    Returns
    -------
    dict
        The recipe to be written: that of the same result if it is there, so that making it again
        gives the same file.

    Raises
    ------
    OutputError
        Something else is there.
    """
    if not path:
        return recipe
    path = Path(path).expanduser()
    if not path.exists() and not _side(path).exists():
        return recipe
    before = as_before(_recipe_of(path), recipe)
    if before is None and not overwrite:
        raise taken(path)
    return before or recipe


def holds_pairs(folder: str | Path) -> bool:
    """Whether a folder holds files of the names that `write_training_pairs` gives."""
    names = ("pairs.json", *(f"{name}_*.tif" for name in _IMAGES))
    return any(path for name in names for path in Path(folder).glob(name))


def claim_pairs(
    folder: str | Path | None, recipe: dict[str, Any], overwrite: bool
) -> dict[str, Any]:
    """As `claim`, for the folder of `write_training_pairs`."""
    if not folder:
        return recipe
    listed = Path(folder).expanduser() / "pairs.json"
    recipe = claim(listed, recipe, overwrite)
    images = [p for n in _IMAGES for p in listed.parent.glob(f"{n}_*.tif")]
    if images and not listed.exists() and not overwrite:
        raise OutputError(
            f"{listed.parent} already holds {images[0].name}; choose another folder or allow "
            "overwriting (--overwrite)."
        )
    return recipe


def _recipe_of(path: Path) -> dict[str, Any]:
    """What a result was made of, from inside the file or from beside it; empty if unknown."""
    kind = path.suffix.lower()
    try:
        if kind in (".h5", ".hdf5"):
            with open_hdf5(path, ScanError) as file:
                return recipe_of(file)
        if kind == ".parquet":
            check_regular(path)
            schema = _arrow()[1].read_schema(path)
            return parse_mapping((schema.metadata or {}).get(b"recipe", b"{}"))
        if kind == ".json":
            content = load_json(path, _MOST_JSON)
            check(content, {"recipe?": dict, "info?": {"recipe?": dict}})
            return content["recipe"] if "recipe" in content else content["info"]["recipe"]
    except (*FAULTS, ScanError):
        return {}
    return recipe_beside(path)


# ------------------------------------------------------------------------- tables


def write_csv(path: str | Path, table: np.ndarray, recipe: dict[str, Any]) -> Path:
    """A spot table as CSV with its recipe beside it."""
    with described(path, recipe):
        return write_spot_csv(path, [table])


def write_parquet(path: str | Path, table: np.ndarray, recipe: dict[str, Any]) -> Path:
    """A spot table as Parquet; columns of words are written as words.

    Raises
    ------
    OutputError
        pyarrow is not installed.
    """
    arrow, parquet = _arrow()
    columns = {}
    for name in table.dtype.names:
        words = WORDS.get(name)
        column = table[name]
        columns[name] = np.array(texts(name, column)) if words else np.ascontiguousarray(column)
    made = arrow.table(columns).replace_schema_metadata({"recipe": json.dumps(recipe)})
    with atomic(path) as part:
        parquet.write_table(made, part)
    return Path(path)


def _arrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise OutputError(
            "Parquet needs the package pyarrow; run 'pip install pyarrow', or choose CSV or HDF5."
        ) from None
    return pyarrow, pyarrow.parquet


def _read_parquet(path: Path, dtype: np.dtype, optional) -> tuple[np.ndarray, dict[str, Any]]:
    arrow, parquet = _arrow()
    check_regular(path)
    try:
        about = parquet.read_metadata(path)
        groups = [about.row_group(k) for k in range(about.num_row_groups)]
        check_declared(
            "the table",
            max(about.num_rows * dtype.itemsize, sum(g.total_byte_size for g in groups)),
            path.stat().st_size,
        )
        wanted = [n for n in dtype.names if n in about.schema.to_arrow_schema().names]
        read = parquet.ParquetFile(path).read(columns=wanted, use_threads=False)
        recipe = parse_mapping((about.metadata or {}).get(b"recipe", b"{}"))
        columns = {name: read[name].to_numpy() for name in read.column_names}
    except (*FAULTS, arrow.ArrowException) as error:
        raise ScanError(f"{path.name} is not a Parquet file of spots ({reason(error)}).") from error
    return _table(columns, dtype, optional, path.name, len(read)), recipe


def _table(columns: dict[str, np.ndarray], dtype, optional, name: str, count: int) -> np.ndarray:
    """A structured array from named columns, with words turned into numbers."""
    table = np.zeros(count, dtype)
    for column in dtype.names:
        if column not in columns:
            if column in optional:
                table[column] = unknown(dtype[column])
                continue
            raise ScanError(f"{name} has no column '{column}'.")
        try:
            table[column] = fitting(column, np.asarray(columns[column]), dtype[column])
        except (*FAULTS, Mismatch) as error:
            raise ScanError(f"{name} has no usable column '{column}' ({reason(error)}).") from error
    return table


def read_table(
    path: str | Path, dtype: np.dtype, optional: Iterable[str] = ("status", *LATER_COLUMNS)
) -> tuple[np.ndarray, dict[str, Any]]:
    """A spot table and its recipe from CSV, Parquet, HDF5 or COCO-like JSON.

    Parameters
    ----------
    path : path
        The format follows from the end of the name, see `TABLES`.
    dtype : structured dtype
        Columns wanted.
    optional : names
        Columns that may be missing; see `spot_csv.unknown`.

    Raises
    ------
    ScanError
        It is not such a file, or a column is missing.
    """
    path, optional = Path(path), tuple(optional)
    kind = path.suffix.lower()
    if not path.exists():
        raise ScanError(f"{path} does not exist; check the name.")
    if kind == ".csv":
        return read_spot_csv(path, dtype, optional), recipe_beside(path)
    if kind == ".parquet":
        return _read_parquet(path, dtype, optional)
    if kind in (".h5", ".hdf5"):
        return _read_hdf5_table(path, dtype, optional)
    if kind == ".json":
        coco = read_coco(path)
        notes = coco["annotations"]
        names = [n for n in dtype.names if n in notes[0]["labdct"]] if notes else dtype.names
        try:
            columns = {n: np.array([a["labdct"][n] for a in notes], object) for n in names}
            for name, column in columns.items():
                if name not in WORDS:
                    columns[name] = np.array([np.nan if v is None else v for v in column])
            table = _table(columns, dtype, optional, path.name, len(notes))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise ScanError(
                f"{path.name}: a spot has a value that is missing or impossible "
                f"({quoted(str(error))}); write the table again."
            ) from error
        return table, coco["info"]["recipe"]
    raise ScanError(f"{path.name} is no spot table; choose one of {', '.join(TABLES)}.")


# --------------------------------------------------------------------------- HDF5


def write_hdf5(
    path: str | Path,
    table: np.ndarray,
    recipe: dict[str, Any],
    frames: Iterable[np.ndarray] | None = None,
    shape: tuple[int, int, int] | None = None,
) -> Path:
    """The table, and if given the label images, in one HDF5 file.

    ``/spots`` is the table, one row a spot; ``/labels/index`` and ``/labels/id`` are the flat
    positions and the labels of all spot pixels, those of frame `i` from
    ``/labels/start[i]`` to ``/labels/start[i + 1]``.  The recipe is an attribute of the file.
    """
    with atomic_hdf5(path) as file:
        file.attrs["recipe"] = json.dumps(recipe)
        file.attrs["format"] = "napari-labdct spots 1"
        for name, words in WORDS.items():
            file.attrs[name] = list(words)
        file.create_dataset("spots", data=table, compression="gzip", chunks=True)
        if frames is not None:
            _write_labels(file.create_group("labels"), frames, shape)
    return Path(path)


def _write_labels(group, frames: Iterable[np.ndarray], shape: tuple[int, int, int]) -> None:
    options = {"maxshape": (None,), "chunks": (1 << 15,), "compression": "gzip"}
    index = group.create_dataset("index", (0,), "i4", **options)
    ids = group.create_dataset("id", (0,), "i4", **options)
    starts = [0]
    for labels in frames:
        flat = np.flatnonzero(labels)
        starts.append(starts[-1] + flat.size)
        index.resize((starts[-1],))
        ids.resize((starts[-1],))
        index[starts[-2] :], ids[starts[-2] :] = flat, labels.ravel()[flat]
    group["start"] = np.array(starts)
    group.attrs["shape"] = shape


def _read_hdf5_table(path: Path, dtype, optional) -> tuple[np.ndarray, dict[str, Any]]:
    with open_hdf5(path, lambda why: ScanError(f"{path.name} holds no spot table ({why}).")) as f:
        stored, recipe = values(f, "spots", 1, "V"), recipe_of(f)
        if not stored.dtype.names:
            raise Mismatch("it has no columns")
    columns = {name: stored[name] for name in stored.dtype.names}
    return _table(columns, dtype, optional, path.name, len(stored)), recipe


# ------------------------------------------------------------------------- stacks
