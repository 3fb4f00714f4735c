"""The steps of somebody who corrects a grain map, one line of JSON each, as reviews are kept."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, reason
from ..core.files import aside, cannot_write, write_atomically
from ..core.reading import read_bytes
from ..core.schema import parse_json
from ..review.journal import DAMAGES, line_of
from .results import GRAIN_DTYPE

__all__ = ["GrainCommand", "GrainJournal", "RowChange"]

_VERSION = 1
_MOST_BYTES = 1 << 30
_NONE = np.zeros(0, np.int64)
_BEGINS = b'{"labdct_grains"'


@dataclass(frozen=True, eq=False)
class RowChange:
    """What a step makes of one grain: its row and its orientation; None before it was there."""

    number: int
    old: tuple[np.ndarray, np.ndarray] | None
    new: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class GrainCommand:
    """One step that can be taken back.

    Attributes
    ----------
    name : str
        For the Undo button.
    gone, locked : tuple of int
        Grains (labels) that go, and whose lock is turned.
    index, old, new : int64 arrays (k,)
        Flat voxels, and their labels before and after.
    rows : tuple of RowChange
    """

    name: str
    gone: tuple[int, ...] = ()
    locked: tuple[int, ...] = ()
    index: np.ndarray = field(default_factory=lambda: _NONE)
    old: np.ndarray = field(default_factory=lambda: _NONE)
    new: np.ndarray = field(default_factory=lambda: _NONE)
    rows: tuple[RowChange, ...] = ()

    @property
    def grains(self) -> tuple[int, ...]:
        """Grains whose place or row it changes."""
        return tuple(sorted({*self.gone, *(row.number for row in self.rows)}))


def to_json(command: GrainCommand) -> dict[str, Any]:
    """A command as plain values."""
    values: dict[str, Any] = {"do": command.name}
    if command.gone:
        values["gone"] = list(command.gone)
    if command.locked:
        values["locked"] = list(command.locked)
    if len(command.index):
        values["count"] = len(command.index)
        values["voxels"] = [_pack(a) for a in (command.index, command.old, command.new)]
    if command.rows:
        values["rows"] = [
            [r.number, None if r.old is None else _plain(*r.old), _plain(*r.new)]
            for r in command.rows
        ]
    return values


def from_json(values: dict[str, Any], voxels: int, grains: int) -> GrainCommand:
    """The command that `to_json` wrote, checked against a map of so many voxels and grains."""
    parts: dict[str, Any] = {}
    rows = tuple(
        RowChange(int(n), None if old is None else _row(old), _row(new))
        for n, old, new in values.get("rows", ())
    )
    added = sorted(r.number for r in rows if r.old is None)
    if added != list(range(grains + 1, grains + 1 + len(added))):
        raise ValueError("its new grains do not follow the others")
    count = grains + len(added)
    for name in ("gone", "locked"):
        parts[name] = tuple(int(n) for n in values.get(name, ()))
    if "voxels" in values:
        length = int(values["count"])
        if not 0 < length <= voxels:
            raise ValueError("it changes more voxels than there are")
        index, old, new = (_unpack(text, length) for text in values["voxels"])
        if not len(index) == len(old) == len(new) == length or len(np.unique(index)) != length:
            raise ValueError("its voxels do not belong together")
        if index.min() < 0 or index.max() >= voxels:
            raise ValueError("its voxels lie outside")
        if min(old.min(), new.min()) < 0 or max(old.max(), new.max()) > count:
            raise ValueError("its grains are not there")
        parts |= {"index": index, "old": old, "new": new}
    numbers = [*parts["gone"], *parts["locked"], *(r.number for r in rows)]
    if any(not 1 <= n <= count for n in numbers):
        raise ValueError("its grains are not there")
    return GrainCommand(str(values["do"]), rows=rows, **parts)


def _plain(row: np.ndarray, u: np.ndarray) -> list[list[float | None]]:
    values = [float(v) for v in row.tolist()]
    # JSON has no NaN
    return [[None if v != v else v for v in values], np.asarray(u).ravel().tolist()]


def _row(values: list) -> tuple[np.ndarray, np.ndarray]:
    numbers, turn = values
    row = np.zeros((), GRAIN_DTYPE)
    for name, value in zip(GRAIN_DTYPE.names, numbers, strict=True):
        row[name] = np.nan if value is None else value
    u = np.array(turn, float).reshape(3, 3)
    if not np.allclose(u @ u.T, np.eye(3), atol=1e-4):
        raise ValueError("it holds something that is no orientation")
    return row, u


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, "<i4").tobytes())).decode()


def _unpack(text: str, count: int) -> np.ndarray:
    opened = zlib.decompressobj()
    values = opened.decompress(base64.b64decode(text), 4 * count + 4)
    return np.frombuffer(values, "<i4").astype(np.int64)


class GrainJournal:
    """The file that the steps of one map are kept in.

    Parameters
    ----------
    path : path, optional
        Without one nothing is kept.
    key : str
        `OpenedMap.key` of the map.

    Attributes
    ----------
    note : str
        What had to be left out of a damaged file.
    """

    def __init__(self, path: str | Path | None, key: str) -> None:
        self.path = None if path is None else Path(path)
        self.key, self.note = key, ""
        self._size = 0

    def append(self, values: dict[str, Any]) -> None:
        """Write one step down before it counts.

        Raises
        ------
        OutputError
            It cannot be kept, or another window has written to the file.
        """
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                if file.tell() != self._size:
                    raise OutputError(
                        f"{self.path.name} was changed by another window; close one of them and "
                        "open the map again."
                    )
                text = b"" if self._size else line_of(self._head())
                text += line_of(values)
                file.write(text)
            self._size += len(text)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def replay(self, follow) -> None:
        """Do every step again; what comes after a damaged line is put aside.

        Parameters
        ----------
        follow : callable
            Takes the values of a line; raises one of `DAMAGES` if it cannot be done.

        Raises
        ------
        OutputError
            The file cannot be read, or belongs to another map or a newer version.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            text = read_bytes(self.path, _MOST_BYTES, OutputError)
        except OSError as error:
            raise OutputError(
                f"The corrections {self.path} cannot be read ({reason(error)})."
            ) from error
        if text[: len(_BEGINS)] != _BEGINS[: len(text)]:
            raise OutputError(f"{self.path.name} holds no corrections of a grain map; move it.")
        good, at = 0, 0
        while (end := text.find(b"\n", at)) >= 0:
            try:
                values = parse_json(text[at:end])
                if at == 0:
                    self._read_head(values)
                else:
                    follow(values)
            except DAMAGES:
                break
            good = at = end + 1
        self._size = good
        if good < len(text):
            damaged = aside(self.path)
            write_atomically(damaged, text[good:])
            write_atomically(self.path, text[:good])
            self.note = (
                "The corrections of this map were damaged: those before the damage are kept, the "
                f"rest is in {damaged.name}."
            )

    def _head(self) -> dict[str, Any]:
        return {"labdct_grains": _VERSION, "map": self.key}

    def _read_head(self, head: dict[str, Any]) -> None:
        if head["labdct_grains"] > _VERSION:
            raise OutputError(f"{self.path.name} was written by a newer version; update this one.")
        if head["map"] != self.key:
            raise OutputError(f"{self.path.name} holds the corrections of another map; move it.")
