"""What a review remembers of each step, and how it is written down.

One step is a `Command` with the old and the new values of everything it changed; in the journal
it is one line of JSON whose arrays are packed.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.reading import MOST_PACKED
from ..spots.measurement import LARGEST_ID

_NO_PIXELS = np.zeros(0, np.int32)
_SMALL_BYTES = 1 << 18
_LARGEST_BYTES = 1 << 27  # of one array: every pixel of 32 megapixels
Sparse = tuple[np.ndarray, np.ndarray]

#: What reading a damaged line raises.
DAMAGES = (
    ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One step of a review that can be taken back.

    Parameters
    ----------
    name : str
        What was done, for the Undo button.
    keys : int32 array (k, 2)
        Spots (frame, id) whose status changed.
    was, now : uint8 arrays (k,)
        Their status before and after.
    frame : int
        The projection whose labels changed, or -1.
    index, old, new : int32 arrays (m,)
        Flat pixels of it and their labels before and after.
    base : (index, ids), optional
        The projection's labels before its first correction.
    """

    name: str
    keys: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    was: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    now: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    frame: int = -1
    index: np.ndarray = field(default_factory=lambda: _NO_PIXELS)
    old: np.ndarray = field(default_factory=lambda: _NO_PIXELS)
    new: np.ndarray = field(default_factory=lambda: _NO_PIXELS)
    base: Sparse | None = None


def patched(sparse: Sparse, index: np.ndarray, ids: np.ndarray) -> Sparse:
    """Sparse labels with some pixels changed."""
    at, label = sparse
    stay = ~np.isin(at, index, assume_unique=True)
    lit = ids > 0
    at = np.concatenate([at[stay], index[lit]])
    label = np.concatenate([label[stay], ids[lit]])
    order = np.argsort(at, kind="stable")
    return at[order], label[order]


def line_of(values: dict[str, Any]) -> bytes:
    """One line of a journal."""
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, "<i4").tobytes())).decode()


def _unpack(text: str, count: int | None = None) -> np.ndarray:
    """The numbers of a text: `count` at most, or as many as so long a text can hold."""
    most = min(_SMALL_BYTES + MOST_PACKED * len(text) if count is None else 4 * count + 4,
               _LARGEST_BYTES)  # fmt: skip
    opened = zlib.decompressobj()
    values = opened.decompress(base64.b64decode(text), most)
    if not opened.eof:
        raise ValueError("cut short, or more than any projection has")
    return np.frombuffer(values, "<i4").astype(np.int32)


def check(command: Command, shape: tuple[int, int, int]) -> None:
    """Raise ValueError if a command does not fit label images of a shape (n, rows, cols)."""
    count, size = shape[0], shape[1] * shape[2]
    c = command

    def within(values: np.ndarray, low: int, high: int) -> bool:
        return not values.size or bool(values.min() >= low and values.max() <= high)

    fits = (
        len(c.keys) == len(c.was) == len(c.now)
        and within(c.keys[:, 0], 0, count - 1)
        and within(c.keys[:, 1], 0, LARGEST_ID)
        and within(c.was, 0, 2)
        and within(c.now, 0, 2)
        and -1 <= c.frame < count
        and len(c.index) == len(c.old) == len(c.new) == np.unique(c.index).size
        and within(c.index, 0, size - 1)
        and within(c.old, 0, LARGEST_ID)
        and within(c.new, 0, LARGEST_ID)
    )
    if fits and c.base is not None:
        at, ids = c.base
        fits = len(at) == len(ids) and within(at, 0, size - 1) and within(ids, 0, LARGEST_ID)
    if not fits:
        raise ValueError("it does not fit the scan")


def to_json(command: Command) -> dict[str, Any]:
    """A command as plain values."""
    values: dict[str, Any] = {"do": command.name}
    if len(command.keys):
        values["keys"] = _pack(command.keys)
        values["was"], values["now"] = _pack(command.was), _pack(command.now)
    if command.frame >= 0:
        values["frame"] = command.frame
        values["pixels"] = [_pack(a) for a in (command.index, command.old, command.new)]
        if command.base is not None:
            values["base"] = [_pack(a) for a in command.base]
    return values


def from_json(values: dict[str, Any]) -> Command:
    """The command that `to_json` wrote."""
    parts: dict[str, Any] = {}
    if "keys" in values:
        parts["keys"] = _unpack(values["keys"]).reshape(-1, 2)
        count = len(parts["keys"])
        parts["was"], parts["now"] = (
            _unpack(values[n], count).astype(np.uint8) for n in ("was", "now")
        )
    if "frame" in values:
        parts["frame"] = int(values["frame"])
        index, *labels = values["pixels"]
        parts["index"] = _unpack(index)
        parts["old"], parts["new"] = (_unpack(a, len(parts["index"])) for a in labels)
        if "base" in values:
            at, ids = values["base"]
            at = _unpack(at)
            parts["base"] = (at, _unpack(ids, len(at)))
    return Command(values["do"], **parts)
