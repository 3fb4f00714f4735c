"""Rotation angles from the logs that instruments and spreadsheets write."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

from ..core.errors import ScanError, quoted, reason
from ..core.schema import parse_json
from .regular import read_bytes

_COMMENT = ("#", "%", "//", "!")
_NUMBER = r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?"
_PAIR = re.compile(r"\s*([+-]?\d+),(\d+)\s*")
_COUNTED = re.compile(r"^\s*(\d+)\s*:\s*")
_ANGLE = re.compile(r"angle|omega|theta|phi|\bdeg|rotation|\u00b0", re.IGNORECASE)
Row = tuple[int, list[str]]


def read_angles(path: str | Path, *, show: bool = True) -> list[float]:
    """Angles in degrees from a JSON file or a table of text.

    JSON is a list of numbers, of objects with such an entry each, or an object that holds one of
    these as ``omega_deg``, ``angles_deg``, ``angles``, ``omega`` or ``rotation_angle``.  Tables
    are read by `read_angles_csv`.

    Raises
    ------
    ScanError
        The file is missing or holds no angles.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return _json(path, show)
    return read_angles_csv(path, show=show)


_ENTRIES = ("omega_deg", "angles_deg", "angle_deg", "angles", "omega", "angle", "rotation_angle")


def _json(path: Path, show: bool) -> list[float]:
    try:
        found = parse_json(_decoded(read_bytes(path)))
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ScanError(
            f"{path} cannot be read as JSON ({reason(error)}); choose another file."
        ) from error
    if isinstance(found, dict):
        found = next((found[name] for name in _ENTRIES if name in found), found)
    if isinstance(found, dict) and {"start", "step", "count"} <= found.keys():
        raise ScanError(f"{path}: write start and step as omega_deg of scan.yaml.")
    if not isinstance(found, list):
        raise ScanError(f"{path} holds no list of angles; name it omega_deg.")
    made = []
    for number, entry in enumerate(found):
        if isinstance(entry, dict):
            entry = next((entry[name] for name in _ENTRIES if name in entry), None)
        usable = isinstance(entry, (int, float)) and not isinstance(entry, bool)
        if not usable or not math.isfinite(entry):
            what = quoted(entry) if show else "what stands there"
            raise ScanError(
                f"{path}, entry {number}: {what} is not an angle; write a number of degrees."
            )
        made.append(float(entry))
    return made


def read_angles_csv(path: str | Path, *, show: bool = True) -> list[float]:
    """Angles in degrees from a column of a text file.

    It is the column whose header speaks of an angle, or else the last.  Columns are parted by
    commas, semicolons, tabs, spaces or a colon behind a counter (``12: -33.5``); a comma within a
    cell is the decimal point.  Lines that begin with ``#``, ``%``, ``!`` or ``//`` and lines of
    words before the first number are passed over.  UTF-8, UTF-16 and Latin-1 are read.

    Parameters
    ----------
    path : path
    show : bool
        Whether a message may show what stands in the file: not of one that lies elsewhere than
        the scan that names it.

    Raises
    ------
    ScanError
        The file is missing or a line holds no finite number.
    """
    path = Path(path)
    try:
        text = _decoded(read_bytes(path))
    except OSError as error:
        raise ScanError(f"{path} cannot be read ({error.strerror}).") from error
    try:
        header, rows = _rows(text)
    except csv.Error as error:
        raise ScanError(
            f"{path} cannot be read as CSV ({reason(error)}); choose another file."
        ) from error
    while rows and all(len(cells) > 1 and not cells[-1].strip() for _, cells in rows):
        rows = [(number, cells[:-1]) for number, cells in rows]  # every line ends in a comma
    at = _named_column(header, rows)
    return [_angle(path, number, cells[at], show) for number, cells in rows]


def _named_column(header: list[str], rows: list[Row]) -> int:
    """The column whose header speaks of an angle; -1, the last, if none or several do."""
    if len(header) < 2 or any(len(cells) != len(header) for _, cells in rows):
        return -1
    named = [k for k, cell in enumerate(header) if _ANGLE.search(cell)]
    return named[0] if len(named) == 1 else -1


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content[:200]:  # UTF-16 without a mark: half of the bytes of digits are 0
        low = content[1:200:2].count(0) >= content[0:200:2].count(0)
        return content.decode("utf-16-le" if low else "utf-16-be", errors="replace")
    try:
        return content.decode("utf-8-sig")  # Excel begins it with a byte order mark
    except UnicodeDecodeError:
        return content.decode("latin-1")  # only a header can hold more than ASCII


def _rows(text: str) -> tuple[list[str], list[Row]]:
    """Cells of the header, then number of the line and cells from the first one with a number."""
    lines = [
        (k, line)
        for k, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(_COMMENT)
    ]
    if lines and _COUNTED.match(lines[-1][1]):  # as in Nikon's .ang
        lines = [(k, _COUNTED.sub(r"\1\t", line)) for k, line in lines]
    last = lines[-1][1] if lines else ""
    delimiter = next((d for d in ";\t" if d in last), None)
    if delimiter is None:
        words = last.split()
        spaces = len(words) > 1 and all(re.fullmatch(_NUMBER, word) for word in words)
        delimiter = " " if spaces else ","
    if delimiter == " ":
        rows = [(k, line.split()) for k, line in lines]
    elif delimiter == "," and _decimal_commas([line for _, line in lines]):
        rows = [(k, [line.strip()]) for k, line in lines]
    else:
        parted = csv.reader((line for _, line in lines), delimiter=delimiter, strict=False)
        rows = [(lines[parted.line_num - 1][0], cells) for cells in parted]
    first = next((k for k, (_, cells) in enumerate(rows) if any(map(_is_number, cells))), 0)
    header = rows[first - 1][1] if first else []
    return [cell.strip() for cell in header], rows[first:]


def _decimal_commas(lines: list[str]) -> bool:
    """Whether lines such as ``-177,5`` are one number each, not two columns of whole numbers."""
    numeric = [bool(re.fullmatch(rf"\s*{_NUMBER}\s*", line)) for line in lines]
    if True not in numeric:
        return False
    first = numeric.index(True)
    pairs = [_PAIR.fullmatch(line) for line in lines[first:]]
    if not any(pairs) or not all(numeric[first:]):
        return False
    if not all(pairs):  # some lines are plain numbers: one column
        return True
    if first and "," in lines[first - 1]:  # a header of several columns
        return False
    whole, parts = zip(*(pair.groups() for pair in pairs))
    counts = [int(w) for w in whole]
    counter = counts[0] in (0, 1) and counts == list(range(counts[0], counts[0] + len(counts)))
    return not counter or len(set(parts)) == 1 < len(parts)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _angle(path: Path, number: int, cell: str, show: bool) -> float:
    try:
        value = float(cell.replace(",", "."))  # a comma within a cell is a decimal point
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ScanError(
            f"{path}, line {number}: {quoted(cell) if show else 'what stands there'} is not an "
            "angle; write a number of degrees."
        )
    return value
