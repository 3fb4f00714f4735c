"""A review of spots: what was accepted, rejected or corrected, with an endless undo.

Every change is a `Command` with the old and the new values, appended as one line to a journal
the moment it is made.  Opening the journal replays it, undone steps included, so neither closing
the viewer nor a crash loses anything; a line that a crash cut in two is left out.

Spots are known by ``(frame, id)``, where the id is the label in the frame's label image.
Corrected label images are kept only for the projections that were touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, reason
from ..core.files import aside, cannot_write, write_atomically
from ..core.locks import alone
from ..core.reading import read_bytes
from ..core.schema import parse_json
from ..core.spot_words import WORDS
from ..core.stacks import LazyStack
from ..scan.detector_mask import either
from ..spots.measurement import SPOT_DTYPE, FrameMeasurer
from .corrections import Edit
from .journal import DAMAGES, Command, Sparse, check, from_json, line_of, patched, to_json

#: Meaning of the numbers in the column `status`.
UNDECIDED, ACCEPTED, REJECTED = range(3)
STATUSES = WORDS["status"]

#: A spot table with the review's column.
REVIEW_DTYPE = np.dtype([*SPOT_DTYPE.descr, ("status", "u1")])

_VERSION = 1
_MOST_BYTES = 1 << 30
_PATIENCE_S = 5.0  # for another process that adds a line, which takes a moment
_BEGINS = b'{"labdct_review"'  # so does every journal


class Review:
    """Statuses and corrections of the spots of one scan.

    Parameters
    ----------
    shape : (n, rows, cols)
        Of the label images.
    path : path, optional
        The journal; read if it exists, begun with the first change otherwise.  Without one,
        nothing is kept.
    about : dict, optional
        Written at the top of a new journal: the scan's identity, the recipe of the spots.

    Attributes
    ----------
    note : str
        Empty, or one sentence on what had to be left out of a damaged journal.

    Raises
    ------
    OutputError
        The journal cannot be read, belongs to another scan or to a newer version.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        path: str | Path | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.path = None if path is None else Path(path)
        self.about = dict(about or {})
        self.note = ""
        self._status: dict[int, np.ndarray] = {}
        self._pixels: dict[int, Sparse] = {}
        self._top: dict[int, int] = {}
        self._history: list[Command] = []
        self._at = 0
        self._size = 0  # of the journal, as we left it
        if self.path is not None and self.path.exists():
            self._replay()

    # ----------------------------------------------------------------- looking

    def status_of(self, table: np.ndarray) -> np.ndarray:
        """Status of each row of a table with the columns `frame` and `id`, uint8 ``(k,)``."""
        status = np.zeros(len(table), np.uint8)
        for frame, known in self._status.items():
            here = np.flatnonzero(table["frame"] == frame)
            ids = table["id"][here]
            inside = ids < known.size
            status[here[inside]] = known[ids[inside]]
        return status

    def statuses(self, frame: int) -> np.ndarray:
        """Statuses of one projection indexed by id, uint8; ids beyond the end are undecided."""
        return self._status.get(frame, np.zeros(0, np.uint8))

    @property
    def corrected(self) -> list[int]:
        """Projections whose label image was touched."""
        return sorted(self._pixels)

    def labels(self, frame: int, detections) -> np.ndarray:
        """Label image of a projection, corrected if it was touched, int32 ``(rows, cols)``."""
        sparse = self._pixels.get(frame)
        if sparse is None:
            return np.array(detections[frame], np.int32)
        labels = np.zeros(self.shape[1:], np.int32)
        labels.ravel()[sparse[0]] = sparse[1]
        return labels

    def next_id(self, frame: int, labels: np.ndarray) -> int:
        """An id that no spot of the projection has or ever had."""
        return max(int(labels.max(initial=0)), self._top.get(frame, 0)) + 1

    @property
    def undo_name(self) -> str:
        """What `undo` would take back; empty if there is nothing."""
        return self._history[self._at - 1].name if self._at else ""

    @property
    def redo_name(self) -> str:
        """What `redo` would bring back; empty if there is nothing."""
        return self._history[self._at].name if self._at < len(self._history) else ""

    # ---------------------------------------------------------------- changing

    def set_status(self, keys, status: int | np.ndarray, name: str = "") -> Command | None:
        """Accept, reject or leave open some spots.

        Parameters
        ----------
        keys : int array (k, 2) or sequence of (frame, id)
        status : int or array (k,)
            `ACCEPTED`, `REJECTED` or `UNDECIDED`.
        name : str
            For the Undo button; made up if empty.

        Returns
        -------
        Command or None
            None if that changes nothing.
        """
        keys = np.asarray(keys, np.int32).reshape(-1, 2)
        now = np.broadcast_to(np.asarray(status, np.uint8), len(keys))
        was = self._read_status(keys)
        differs = was != now
        if not differs.any():
            return None
        keys, was, now = keys[differs], was[differs], now[differs].copy()
        if not name:
            verbs = ("leave open", "accept", "reject")
            word = verbs[int(now[0])] if np.all(now == now[0]) else "set"
            name = f"{word} {len(keys)} spot{'s' if len(keys) > 1 else ''}"
        return self._make(Command(name, keys, was, now))

    def edit(
        self,
        frame: int,
        change: Edit,
        labels: np.ndarray,
        name: str,
        accept: Sequence[int] = (),
    ) -> Command | None:
        """Correct the label image of one projection.

        Parameters
        ----------
        frame : int
        change : Edit
            From `corrections`, made for `labels`.
        labels : int array (rows, cols)
            The projection's present label image, from `labels`.
        name : str
            For the Undo button.
        accept : sequence of int
            Ids to accept in the same step, for spots that a person drew.

        Returns
        -------
        Command or None
            None if that changes nothing.
        """
        if change.empty:
            return None
        flat = labels.ravel()
        base = None
        if frame not in self._pixels:
            at = np.flatnonzero(flat)
            base = (at.astype(np.int32), flat[at].astype(np.int32))
        keys = np.array([(frame, i) for i in accept], np.int32).reshape(-1, 2)
        was = self._read_status(keys)
        return self._make(
            Command(
                name,
                keys,
                was,
                np.full(len(keys), ACCEPTED, np.uint8),
                frame,
                change.index.astype(np.int32),
                flat[change.index].astype(np.int32),
                change.ids.astype(np.int32),
                base,
            )
        )

    def undo(self) -> Command | None:
        """Take back the last step; returns it, or None if there is none."""
        if not self._at:
            return None
        self._append({"step": "undo"})
        self._at -= 1
        command = self._history[self._at]
        self._apply(command, forward=False)
        return command

    def redo(self) -> Command | None:
        """Bring back the step undone last; returns it, or None if there is none."""
        if self._at == len(self._history):
            return None
        self._append({"step": "redo"})
        command = self._history[self._at]
        self._at += 1
        self._apply(command, forward=True)
        return command

    def carry_over(self, old: Review, old_table: np.ndarray, table: np.ndarray) -> Command | None:
        """Take decisions from a review of the same scan whose spots were cut differently.

        A decided spot gives its status to the spot of `table` in the same projection whose
        centroid is nearest to its own, at most 3 px away.  Corrections are not taken over.
        """
        from scipy.spatial import cKDTree

        status = old.status_of(old_table)
        keys, codes = [], []
        for frame in np.unique(old_table["frame"][status > 0]):
            here = np.flatnonzero(table["frame"] == frame)
            given = np.flatnonzero((old_table["frame"] == frame) & (status > 0))
            if not here.size:
                continue
            tree = cKDTree(np.stack([table["row"][here], table["col"][here]], 1))
            distance, nearest = tree.query(
                np.stack([old_table["row"][given], old_table["col"][given]], 1)
            )
            for k in np.argsort(-distance, kind="stable"):  # the nearest has the last word
                if distance[k] <= 3:
                    spot = table[here[nearest[k]]]
                    keys.append((int(spot["frame"]), int(spot["id"])))
                    codes.append(int(status[given[k]]))
        final = dict(zip(keys, codes))
        if not final:
            return None
        name = "take over the decisions of an earlier review"
        return self.set_status(list(final), np.array(list(final.values())), name)

    # ------------------------------------------------------------------ inside

    def _read_status(self, keys: np.ndarray) -> np.ndarray:
        rows = np.zeros(len(keys), [("frame", "i4"), ("id", "i4")])
        rows["frame"], rows["id"] = keys[:, 0], keys[:, 1]
        return self.status_of(rows)

    def _make(self, command: Command) -> Command:
        self._append(to_json(command))
        del self._history[self._at :]
        self._history.append(command)
        self._at += 1
        self._apply(command, forward=True)
        return command

    def _apply(self, command: Command, forward: bool) -> None:
        codes = command.now if forward else command.was
        for frame in np.unique(command.keys[:, 0]):
            here = command.keys[:, 0] == frame
            ids = command.keys[here, 1]
            known = self._status.get(int(frame), np.zeros(0, np.uint8))
            if ids.max() >= known.size:
                known = np.concatenate([known, np.zeros(ids.max() + 1 - known.size, np.uint8)])
            known[ids] = codes[here]
            self._status[int(frame)] = known
        if command.frame < 0:
            return
        frame = command.frame
        if not forward and command.base is not None:
            del self._pixels[frame]
            return
        sparse = self._pixels.get(frame, command.base)
        self._pixels[frame] = patched(
            sparse, command.index, command.new if forward else command.old
        )
        top = int(command.new.max(initial=0))
        self._top[frame] = max(self._top.get(frame, 0), top, int(sparse[1].max(initial=0)))

    # ----------------------------------------------------------------- journal

    def _append(self, line: dict[str, Any]) -> None:
        """Write one line before the change counts; raises if it cannot be kept.

        Of two processes that decide at the same moment the second one is refused, so that no line
        is written for a state that the journal does not have.
        """
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone(self.path, patience_s=_PATIENCE_S), open(self.path, "ab") as file:
                if file.tell() != self._size:
                    raise OutputError(
                        f"{self.path.name} was changed by another window; close one of them "
                        "and open the scan again."
                    )
                text = b""
                if self._size == 0:
                    text = line_of(self._head())
                text += line_of(line)
                file.write(text)
            self._size += len(text)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _replay(self) -> None:
        """Do again what the journal says, while nobody adds to it."""
        with alone(self.path, patience_s=_PATIENCE_S):
            self._replay_alone()

    def _replay_alone(self) -> None:
        try:
            text = read_bytes(self.path, _MOST_BYTES, OutputError)
        except OSError as error:
            raise OutputError(
                f"The review {self.path} cannot be read ({reason(error)})."
            ) from error
        if text[: len(_BEGINS)] != _BEGINS[: len(text)]:
            raise OutputError(
                f"{self.path.name} is not a review file; choose one that ends in .review.jsonl."
            )
        *lines, tail = text.split(b"\n")  # every whole line ends with a newline
        kept, bad = [], []
        for number, line in enumerate(lines):
            try:
                values = parse_json(line)
                if number == 0:
                    self._read_head(values)
                else:
                    self._follow(values)
                kept.append(line + b"\n")
            except DAMAGES:
                bad.append(line)
                kept.append(line_of(self._instead_of(number, line)))
        self._size = len(text)
        if bad or tail:
            self._mend(b"".join(kept), bad, tail)

    def _instead_of(self, number: int, line: bytes) -> dict[str, Any]:
        """What takes the place of a damaged line, so that steps are counted as before."""
        if number == 0:
            return self._head()
        if b'"step"' in line:  # undo or redo, nobody knows which
            return {"step": "lost"}
        empty = to_json(Command("a step that was lost"))
        self._follow(empty)
        return empty

    def _head(self) -> dict[str, Any]:
        return {"labdct_review": _VERSION, "shape": self.shape, "about": self.about}

    def _read_head(self, head: dict[str, Any]) -> None:
        version = head["labdct_review"]
        if version > _VERSION:
            raise OutputError(f"{self.path.name} was written by a newer version; update this one.")
        about = dict(head["about"])
        if tuple(head["shape"]) != self.shape:
            raise OutputError(f"{self.path.name} is the review of another scan; choose another.")
        self.about = about

    def _follow(self, values: dict[str, Any]) -> None:
        """Do what a line says; one that cannot be done is refused before anything changes."""
        step = values.get("step")
        if step == "undo":
            if not self._at:
                raise ValueError("there is nothing to undo")
            self._at -= 1
            self._apply(self._history[self._at], forward=False)
        elif step == "redo":
            command = self._history[self._at]
            self._at += 1
            self._apply(command, forward=True)
        elif step is None:
            command = from_json(values)
            check(command, self.shape)
            if command.frame >= 0 and command.base is None and command.frame not in self._pixels:
                raise ValueError("it corrects labels that are lost")
            if command.frame in self._pixels and command.base is not None:
                # a line that stands there twice, or an undo that was lost: the first base counts
                command = replace(command, base=None)
            del self._history[self._at :]
            self._history.append(command)
            self._at += 1
            self._apply(command, forward=True)
        elif step != "lost":
            raise ValueError(f"there is no step {step}")

    def _mend(self, whole: bytes, bad: list[bytes], tail: bytes) -> None:
        """Go on with the good lines; the others are kept in a file of their own."""
        damaged = aside(self.path)
        write_atomically(damaged, b"\n".join([*bad, tail] if tail else bad))
        write_atomically(self.path, whole)
        self._size = len(whole)
        count = sum(bool(len(c.keys)) or c.frame >= 0 for c in self._history)
        lost = f"{len(bad)} damaged line{'s' if len(bad) > 1 else ''}"
        what = f"The review had {lost}" if bad else "The last change of the review was cut off"
        self.note = f"{what}; {count} changes were kept, and the rest is in {damaged.name}."


class ReviewedFrames(LazyStack):
    """Label images with corrections, and only the spots of some statuses.

    Parameters
    ----------
    detections : stack (n, rows, cols)
        Label images before corrections.
    review : Review
    keep : collection of int
        Statuses kept; all if not given.
    """

    def __init__(
        self,
        detections,
        review: Review,
        keep: Iterable[int] = (UNDECIDED, ACCEPTED, REJECTED),
    ) -> None:
        super().__init__(detections.shape, np.int32)
        self.detections = detections
        self.review = review
        self.keep = frozenset(keep)

    def read(self, index: int) -> np.ndarray:
        labels = self.review.labels(index, self.detections)
        if len(self.keep) == len(STATUSES):
            return labels
        known = self.review.statuses(index)
        status = np.zeros(max(int(labels.max(initial=0)) + 1, known.size), np.uint8)
        status[: known.size] = known
        kept = np.isin(status, list(self.keep))
        return np.where(kept[labels], labels, 0)


def with_status(table: np.ndarray, review: Review | None = None) -> np.ndarray:
    """A table of `REVIEW_DTYPE` from one of `SPOT_DTYPE`."""
    made = np.zeros(len(table), REVIEW_DTYPE)
    for name in SPOT_DTYPE.names:
        made[name] = table[name]
    if review is not None:
        made["status"] = review.status_of(table)
    return made


def training_pairs(
    measurer: FrameMeasurer, detections, review: Review
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]]:
    """Projections somebody looked at, for `io.spot_exports.write_training_pairs`.

    Accepted spots are spot, rejected ones and the rest of the frame are not, and pixels of
    spots that nobody decided on, or at which nothing was measured, are marked to be left out of the
    loss.

    Yields
    ------
    (index, frame, median or None, mask, ignore)
    """
    accepted = ReviewedFrames(detections, review, [ACCEPTED])
    undecided = ReviewedFrames(detections, review, [UNDECIDED])
    for index in range(detections.shape[0]):
        if review.statuses(index).any() or index in review.corrected:
            yield (
                index,
                measurer.scan.frame(index),
                measurer.background(index),
                accepted.read(index) > 0,
                either(undecided.read(index) > 0, measurer.scan.left_out(index)),
            )


def review_path(folder: str | Path, scan_id: str, spots_id: str) -> Path:
    """Where the review of these spots of this scan is kept."""
    return Path(folder) / f"{scan_id}-{spots_id}.review.jsonl"


def reviews_of(folder: str | Path, scan_id: str) -> list[Path]:
    """Reviews of a scan, the latest first."""
    found = Path(folder).glob(f"{scan_id}-*.review.jsonl")
    return sorted(found, key=os.path.getmtime, reverse=True)
