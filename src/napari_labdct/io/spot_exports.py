"""Spots to and from other programs: tables, HDF5, COCO-like JSON, binary and label stacks.

Every writer keeps the recipe with the result: inside the file where the format has a place for
it, and as ``NAME.json`` beside it where not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, ScanError
from ..jobs import recipe_beside, write_atomically
from ..scan import LazyStack
from .coco import SparseFrames, coco_labels, read_coco, written
from .tables import WORDS, read_spot_csv, write_spot_csv
from .tiff import TiffFrames, write_frames

#: Of the list that a folder of training pairs holds, ``pairs.json``.
PAIRS_FORMAT = "napari-labdct pairs 1"
#: Tables by the end of their name.
TABLES = (".csv", ".parquet", ".h5", ".json")


def write_recipe(path: str | Path, recipe: dict[str, Any]) -> Path:
    """Write ``NAME.json`` beside a result."""
    side = Path(path).with_name(Path(path).name + ".json")
    write_atomically(side, json.dumps(recipe, indent=1))
    return side


# ------------------------------------------------------------------------- tables


def write_csv(path: str | Path, table: np.ndarray, recipe: dict[str, Any]) -> Path:
    """A spot table as CSV with its recipe beside it."""
    written = write_spot_csv(path, [table])
    write_recipe(path, recipe)
    return written


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
        columns[name] = np.array(words)[column] if words else np.ascontiguousarray(column)
    made = arrow.table(columns).replace_schema_metadata({"recipe": json.dumps(recipe)})
    return written(Path(path), lambda part: parquet.write_table(made, part))


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
    try:
        read = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        raise ScanError(f"{path.name} is not a Parquet file ({error}).") from error
    recipe = json.loads((read.schema.metadata or {}).get(b"recipe", b"{}"))
    columns = {name: read[name].to_numpy() for name in read.column_names}
    return _table(columns, dtype, optional, path.name, len(read)), recipe


def _table(columns: dict[str, np.ndarray], dtype, optional, name: str, count: int) -> np.ndarray:
    """A structured array from named columns, with words turned into numbers."""
    table = np.zeros(count, dtype)
    for column in dtype.names:
        if column not in columns:
            if column in optional:
                continue
            raise ScanError(f"{name} has no column '{column}'.")
        values = np.asarray(columns[column])
        words = WORDS.get(column)
        if words and values.dtype.kind not in "ui":
            code = {word: number for number, word in enumerate(words)}
            values = np.array([code[str(v)] for v in values.tolist()], np.uint8)
        table[column] = values
    return table


def read_table(
    path: str | Path, dtype: np.dtype, optional: Iterable[str] = ("status",)
) -> tuple[np.ndarray, dict[str, Any]]:
    """A spot table and its recipe from CSV, Parquet, HDF5 or COCO-like JSON.

    Parameters
    ----------
    path : path
        The format follows from the end of the name, see `TABLES`.
    dtype : structured dtype
        Columns wanted.
    optional : names
        Columns that may be missing.

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
        columns = {n: np.array([a["labdct"][n] for a in notes], object) for n in names}
        for name, column in columns.items():
            if name not in WORDS:
                columns[name] = np.array([np.nan if v is None else v for v in column])
        return _table(columns, dtype, optional, path.name, len(notes)), coco["info"]["recipe"]
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
    import h5py

    def write(part: Path) -> None:
        with h5py.File(part, "w") as file:
            file.attrs["recipe"] = json.dumps(recipe)
            file.attrs["format"] = "napari-labdct spots 1"
            for name, words in WORDS.items():
                file.attrs[name] = list(words)
            file.create_dataset("spots", data=table, compression="gzip", chunks=True)
            if frames is not None:
                _write_labels(file.create_group("labels"), frames, shape)

    return written(Path(path), write)


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
    import h5py

    try:
        with h5py.File(path, "r") as file:
            stored = file["spots"][:]
            recipe = json.loads(file.attrs.get("recipe", "{}"))
    except (OSError, KeyError) as error:
        raise ScanError(f"{path.name} holds no spot table ({error}).") from error
    columns = {name: stored[name] for name in stored.dtype.names}
    return _table(columns, dtype, optional, path.name, len(stored)), recipe


def read_labels(path: str | Path) -> LazyStack:
    """Label images (or masks) from a TIFF, HDF5 or COCO-like JSON file.

    Raises
    ------
    ScanError
        It holds none.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind in (".tif", ".tiff"):
        return TiffFrames([path])
    if kind == ".json":
        return coco_labels(read_coco(path))
    if kind not in (".h5", ".hdf5"):
        raise ScanError(f"{path.name} holds no label images; choose a .tif, .h5 or .json.")
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file["labels"]
            shape = tuple(int(n) for n in group.attrs["shape"])
            index, ids, start = group["index"][:], group["id"][:], group["start"][:]
    except (OSError, KeyError) as error:
        raise ScanError(f"{path.name} holds no label images ({error}).") from error
    spans = {i: np.s_[start[i] : start[i + 1]] for i in range(shape[0])}
    return SparseFrames(shape, {i: (index[s], ids[s]) for i, s in spans.items()})


# ------------------------------------------------------------------------- stacks


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask or label image at another size; making it smaller loses no spot."""
    if image.shape == tuple(shape):
        return image
    near = [np.arange(n) * old // n for n, old in zip(shape, image.shape)]
    out = image[np.ix_(*near)]
    rows, cols = np.nonzero(image)
    at = [p * n // old for p, n, old in zip((rows, cols), shape, image.shape)]
    out[tuple(at)] = image[rows, cols]
    return out


def write_stack(
    path: str | Path,
    frames: Iterable[np.ndarray],
    recipe: dict[str, Any],
    *,
    dtype: np.dtype | type = np.uint8,
    orientation: int = 1,
    count: int | None = None,
) -> Path:
    """A binary (uint8, 0 or 255) or label (uint16) stack, one TIFF page a projection.

    Parameters
    ----------
    path : path
        A ``.tif``.
    frames : iterable of arrays (rows, cols)
    recipe : dict
        Written beside the file.
    dtype : dtype
        uint8 for masks, uint16 or int32 for labels; labels are compressed.
    orientation : int
        TIFF Orientation tag copied from the input.
    count : int, optional
        As for `write_frames`.

    Raises
    ------
    OutputError
        The folder cannot be written, or a label does not fit the type.
    """
    dtype = np.dtype(dtype)

    def ready() -> Iterator[np.ndarray]:
        for frame in frames:
            if frame.size and frame.max() > np.iinfo(dtype).max:
                raise OutputError(f"A projection has more spots than {dtype.name} can number.")
            yield frame.astype(dtype)

    compression = None if dtype == np.uint8 else "zlib"
    written = write_frames(
        path, ready(), orientation=orientation, compression=compression, count=count
    )
    write_recipe(path, recipe)
    return written


def write_training_pairs(
    folder: str | Path,
    pairs: Iterable[tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]],
    recipe: dict[str, Any],
) -> Iterator[int]:
    """Frames with their true masks, to fine-tune a network with; yields each frame's number.

    A folder with ``frame_0007.tif``, ``median_0007.tif`` (if the scan has one),
    ``mask_0007.tif`` (uint8: 255 spot, 0 not), ``ignore_0007.tif`` (255 where nobody decided)
    and ``pairs.json``, which lists them and holds the recipe.

    Parameters
    ----------
    folder : path
        Made if needed.
    pairs : iterable of (index, frame, median or None, mask, ignore)
    recipe : dict
    """
    folder = Path(folder)
    listed = []
    for index, frame, median, mask, ignore in pairs:
        entry: dict[str, Any] = {"index": int(index)}
        for name, image in (
            ("frame", frame),
            ("median", median),
            ("mask", np.asarray(mask, bool) * np.uint8(255)),
            ("ignore", np.asarray(ignore, bool) * np.uint8(255)),
        ):
            if image is not None:
                entry[name] = f"{name}_{index:04d}.tif"
                write_frames(folder / entry[name], [image])
        listed.append(entry)
        text = json.dumps({"format": PAIRS_FORMAT, "recipe": recipe, "pairs": listed})
        write_atomically(folder / "pairs.json", text)
        yield int(index)


def read_training_pairs(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The pairs that `write_training_pairs` wrote, one dict of arrays each (and ``index``).

    Raises
    ------
    ScanError
        The folder holds none.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
        entries = values["pairs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScanError(f"{folder} holds no training pairs (no usable pairs.json).") from error
    for entry in entries:
        names = [n for n in ("frame", "median", "mask", "ignore") if n in entry]
        images = {n: TiffFrames([folder / entry[n]])[0] for n in names}
        yield {"index": entry["index"], **images}
