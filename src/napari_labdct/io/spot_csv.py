"""Spot tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..core.errors import ScanError
from ..core.files import atomic
from ..core.spot_words import LATER_COLUMNS, WORDS


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
                writer.writerows(zip(*(_texts(name, table[name]) for name in header)))
    return path


def _texts(name: str, column: np.ndarray) -> list[str]:
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
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            body = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScanError(f"{path} cannot be read as CSV ({error}).") from error
    table = np.zeros(len(body), dtype)
    for name in dtype.names:
        if name not in header and name in optional:
            table[name] = unknown(dtype[name])
            continue
        try:
            at = header.index(name)
            table[name] = _values(name, [row[at] for row in body], dtype[name])
        except (IndexError, ValueError, TypeError, OverflowError) as error:
            raise ScanError(f"{path.name} has no usable column '{name}'.") from error
    return table


def _values(name: str, texts: list[str], dtype: np.dtype) -> np.ndarray:
    words = WORDS.get(name)
    if words is not None:
        code = {word: number for number, word in enumerate(words)}
        return np.array([code[t] if t in code else int(t) for t in texts], dtype)
    if dtype.kind == "b":
        return np.array([t == "True" for t in texts], bool)
    return np.array(texts, "U").astype(dtype) if texts else np.zeros(0, dtype)
