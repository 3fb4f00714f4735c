"""Spot tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..core.errors import ScanError, reason
from ..core.files import atomic
from ..core.schema import Mismatch
from ..core.spot_words import LATER_COLUMNS, WORDS
from .regular import check_regular


def write_spot_csv(path: str | Path, tables: Iterable[np.ndarray]) -> Path:
    """Write structured arrays (one per frame, say) as one CSV with a header line.

    Numbers are written with as few digits as bring back the same value.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = Path(path)
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = None
        for table in tables:
            if header is None:
                header = table.dtype.names
                writer.writerow(header)
            if len(table):
                writer.writerows(zip(*(texts(name, table[name]) for name in header)))
    return path


def texts(name: str, column: np.ndarray) -> list[str]:
    words = WORDS.get(name)
    if words is not None:
        return [words[v] if v < len(words) else str(v) for v in column.tolist()]
    if column.dtype.kind == "f":
        return column.astype("U32").tolist()
    return [str(v) for v in column.tolist()]


def unknown(dtype: np.dtype) -> float:
    """What stands in a column that a table does not have: NaN, or 0 where numbers are whole."""
    return np.nan if dtype.kind == "f" else 0


def read_spot_csv(
    path: str | Path, dtype: np.dtype, optional: Iterable[str] = LATER_COLUMNS
) -> np.ndarray:
    """Read a table written by `write_spot_csv` back as a structured array.

    Parameters
    ----------
    path : path
    dtype : structured dtype
        The columns wanted.
    optional : names
        Columns that may be missing; see `unknown`.

    Raises
    ------
    ScanError
        A column is missing or a value is not a number.
    """
    path = Path(path)
    check_regular(path)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            body = [row for row in rows if row]
    except (OSError, MemoryError, UnicodeDecodeError, csv.Error) as error:
        raise ScanError(f"{path} cannot be read as CSV ({reason(error)}).") from error
    table = np.zeros(len(body), dtype)
    for name in dtype.names:
        if name not in header and name in optional:
            table[name] = unknown(dtype[name])
            continue
        try:
            at = header.index(name)
            values = _values(name, [row[at] for row in body], dtype[name])
            table[name] = fitting(name, values, dtype[name])
        except (LookupError, ValueError, TypeError, OverflowError) as error:
            raise ScanError(f"{path.name} has no usable column '{name}'.") from error
    return table


#: Columns that count or number something.
_PLACES = ("row", "col")
_FROM_ZERO = ("frame", "id", "area_px", "row_min", "col_min", "row_max", "col_max")


def fitting(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A column in the type of a table, if every value can be in it.

    Raises
    ------
    ValueError
        A word is unknown, a number is not whole, out of range or infinite, or it is no column.
    """
    values = np.asarray(values)
    words = WORDS.get(name)
    if values.ndim != 1:
        raise Mismatch("it is no column of single values")
    if words and values.dtype.kind not in "ui":
        code = {word: number for number, word in enumerate(words)}
        values = np.array([code[_text(v)] for v in values.tolist()], np.int64)
    if dtype.kind == "b" and values.dtype.kind == "b":
        return values
    if values.dtype.kind not in "uifbO":
        raise Mismatch(f"it holds {str(values.dtype)[:20]}")
    numbers = values.astype(float) if values.dtype.kind == "O" else values
    if numbers.dtype.kind == "f" and np.isinf(numbers).any():
        raise Mismatch("a number is infinite")
    if name in _PLACES and np.isnan(numbers).any():
        raise Mismatch("a position is not a number")
    if dtype.kind in "iub":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        low, high = (
            max(low, 0) if name in _FROM_ZERO else low,
            len(words) - 1 if name == "status" else high,
        )
        if not np.all((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers))):
            raise Mismatch(f"a value is not a whole number from {low} to {high}")
    with np.errstate(over="ignore"):
        made = numbers.astype(dtype)
    if dtype.kind == "f" and np.isinf(made).any():
        raise Mismatch("a number is too large")
    return made


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _values(name: str, texts: list[str], dtype: np.dtype) -> np.ndarray:
    words = WORDS.get(name)
    if words is not None:
        code = {word: number for number, word in enumerate(words)}
        return np.array([code[t] if t in code else int(t) for t in texts], np.int64)
    if dtype.kind == "b":
        return np.array([_BOOLS[t] for t in texts], bool)
    # one by one: as an array of texts every cell would be as long as the longest
    if dtype.kind in "iu":
        return np.array([int(t) for t in texts], np.int64)
    return np.array([float(t) for t in texts], float)


_BOOLS = {"True": True, "False": False}
