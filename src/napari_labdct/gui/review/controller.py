"""One review at work: its table, its layers, its corrections; lives as long as the session.

Statuses change at once.  Corrections go through a queue: a worker makes the edit and measures
the projection, then the review keeps the edit and the table takes the new rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...core.errors import LabDCTError
from ...review.corrections import GrowSettings
from ...review.journal import Command
from ...review.review import REVIEW_DTYPE, with_status
from ..app.job import Job
from . import files as spots_files
from . import layers as spots_layers
from . import tasks as spots_work
from .canvas import SpotsCanvas
from .corrections import CorrectionQueue
from .files import Decisions
from .finding import ReviewFinder
from .table import Key, row_of
from .tasks import Corrected, Corrector, Measured

if TYPE_CHECKING:
    from ..app.session import Session


class SpotsController(QObject):
    """The review of the stack that was measured last in one viewer.

    Attributes
    ----------
    opened : signal
        Other spots are under review, or none.
    rows_changed : signal(int)
        The rows of a projection were measured again.
    status_changed : signal
        Spots were accepted, rejected or left open.
    selected : signal(object)
        The key (frame, id) of the spot to look at, or None.
    said : signal(str)
        A sentence for the status line.
    finder : ReviewFinder
        Leads from a stack to its review.
    """

    opened = Signal()
    rows_changed = Signal(int)
    status_changed = Signal()
    selected = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.export_job: Job = session.job("export spots")
        self._correct_job: Job = session.job("correct spots")
        self.measured: Measured | None = None
        self.table = np.zeros(0, REVIEW_DTYPE)
        self.current: Key | None = None
        self.adding = False
        self.grow_settings = GrowSettings()
        self.canvas = SpotsCanvas(session, self.click)
        self._next_review: tuple[Layer | None, Measured] | None = None
        self._queue = CorrectionQueue(self._correct_job, self)
        self._queue.said.connect(self.said)
        self._queue.ended.connect(self._on_corrected)
        self._queue.settled.connect(self._on_settled)
        self.finder = ReviewFinder(session, self)
        self.job = self.finder.job
        self.finder.found.connect(self._on_found)
        self.finder.said.connect(self.said)
        self._correct_job.delivered.connect(self._on_delivered)
        session.stacks_changed.connect(self._on_layers)

    def _open_next(self) -> None:
        """Open the review that waits, once the corrections of the present one are done."""
        self.flush_paint()
        if self._next_review is None or self.busy:
            return
        (stack, measured), self._next_review = self._next_review, None
        if not self._session.contains(stack):
            return
        self.close_review()
        self.measured = measured
        self.table = with_status(measured.table, measured.review)
        self._queue.corrector = Corrector(measured)
        self.canvas.open(stack, measured)
        self.opened.emit()
        decided = int((self.table["status"] > 0).sum())
        if measured.note or decided:
            self.said.emit(measured.note or f"Your review goes on: {decided} spots are decided.")

    def close_review(self) -> None:
        """Take the layers of the present review away; its files stay."""
        self.canvas.close()
        self.measured = self._queue.corrector = None
        self.table = np.zeros(0, REVIEW_DTYPE)
        self.current = None

    # --------------------------------------------------------------------- looking

    @property
    def stack(self) -> Layer | None:
        """The stack under review."""
        return self.canvas.stack

    @property
    def waiting(self) -> bool:
        """Whether another review is to be opened as soon as the present one is not busy."""
        return self._next_review is not None

    def show_outlines(self) -> None:
        """Bring the outlines of the spots back when their layer was removed by hand."""
        if self.measured is not None:
            self.canvas.show_outlines()

    def _on_layers(self) -> None:
        if self.measured is None or self.stack is not None:
            return
        self.flush_paint()
        if not self.busy:  # what was corrected before the stack was removed is kept
            self.close_review()
            self.opened.emit()

    def click(self, position: Sequence[float]) -> None:
        """A click on the canvas, in world coordinates: select a spot, or add one."""
        point = self.canvas.point(position)
        if point is None or self.measured is None:
            return
        frame, row, col = point
        at = spots_layers.spot_at(self.table, frame, row, col)
        if self.adding and at < 0:
            self.add_at(frame, round(row), round(col))
        elif at >= 0:
            self.select(self.key(at), move=False)

    def key(self, at: int) -> Key:
        """Key of a row of the table."""
        return int(self.table["frame"][at]), int(self.table["id"][at])

    def row_of(self, key: Key | None) -> int:
        """Row of a key in the table, -1 if there is no such spot."""
        return row_of(self.table, key)

    def select(self, key: Key | None, move: bool = True) -> None:
        """Look at one spot: slider, camera, box."""
        at = self.row_of(key)
        self.current = key if at >= 0 else None
        if at >= 0:
            self.canvas.show(self.table[at], move)
        self.selected.emit(self.current)

    # ------------------------------------------------------------------- deciding

    def set_status(self, keys: Sequence[Key] | np.ndarray, status, name: str = "") -> None:
        """Accept, reject or leave open some spots."""
        if self.measured is None or not len(keys):
            return
        try:
            command = self.measured.review.set_status(keys, status, name)
        except LabDCTError as error:
            self.said.emit(str(error))
            return
        if command is not None:
            self._show_statuses(command)

    def undo(self) -> None:
        """Take back the last step, after the corrections that are still at work."""
        self._step("undo")

    def redo(self) -> None:
        """Bring back the step undone last."""
        self._step("redo")

    def _step(self, what: str) -> None:
        self.flush_paint()
        if self.measured is not None:
            self._queue.add(lambda: self._step_now(what))

    def _step_now(self, what: str) -> Callable | None:
        review, corrector = self.measured.review, self._queue.corrector
        command = review.undo() if what == "undo" else review.redo()
        if command is None:
            return None
        self.said.emit(f"{'Undone' if what == 'undo' else 'Done again'}: {command.name}.")
        self._show_statuses(command)
        if command.frame < 0:
            return None
        self.canvas.forget(command.frame)
        return lambda: spots_work.correct(lambda: corrector.again(command.frame))

    def _show_statuses(self, command: Command) -> None:
        self.table["status"] = self.measured.review.status_of(self.table)
        if len(command.keys):
            self.canvas.refresh(np.unique(command.keys[:, 0]).tolist())
        self.status_changed.emit()

    # ------------------------------------------------------------------ correcting

    def add_at(self, frame: int, row: int, col: int) -> None:
        """Add the spot at a click."""
        settings = self.grow_settings
        self._queue.correct(lambda c: c.grow(frame, (row, col), settings))

    def erase(self, keys: Sequence[Key]) -> None:
        """Remove spots of one or several projections."""
        for frame in sorted({k[0] for k in keys}):
            ids = [k[1] for k in keys if k[0] == frame]
            self._queue.correct(lambda c, f=frame, i=ids: c.erase(f, i))

    def merge(self, keys: Sequence[Key]) -> None:
        """Make one spot of several of one projection."""
        if len({k[0] for k in keys}) != 1 or len(keys) < 2:
            self.said.emit("Choose at least two spots of one projection to merge.")
            return
        self._queue.correct(lambda c: c.merge(keys[0][0], [k[1] for k in keys]))

    def split(self, key: Key | None, parts: int) -> None:
        """Cut a spot into parts."""
        if key is None:
            self.said.emit("Choose the spot to split in the table or on the image.")
            return
        self._queue.correct(lambda c: c.split(*key, parts))

    def paint(self, mode: str, spot: int | None = None) -> None:
        """Give the user the brush (``paint``) or the eraser (``erase``).

        Parameters
        ----------
        mode : str
        spot : int, optional
            The spot to make larger; a new one if not given.
        """
        layer = self.canvas.edit_layer(self._queue.write, self._on_painted)
        if layer is None:
            return
        if mode == "paint" and spot is None:
            frame = self._session.shown_frame(self.stack)
            spot = self.measured.review.next_id(frame, self.canvas.cache[frame])
        self.canvas.brush(layer, mode, spot)

    def stop_painting(self) -> None:
        """Take the brush away and hide its layer."""
        self.flush_paint()
        self.canvas.brush_away()

    def _on_painted(self, _event: object = None) -> None:
        self.flush_paint()

    def flush_paint(self) -> None:
        """Hand what was drawn to the worker."""
        self._queue.flush_paint()

    @property
    def busy(self) -> bool:
        """Whether corrections are still at work."""
        return self._queue.busy

    def _on_corrected(self) -> None:
        if not self._queue.waiting:
            self.canvas.forget()

    def _on_settled(self) -> None:
        self._on_layers()
        self._open_next()

    def _on_found(self, stack: Layer | None, measured: Measured) -> None:
        self._next_review = stack, measured
        self._open_next()

    def _on_delivered(self, thing: object) -> None:
        if isinstance(thing, Corrected) and self.measured is not None:
            self._take(thing)
        elif isinstance(thing, Decisions) and self.measured is not None:
            self.set_status(thing.keys, thing.status, f"import decisions from {thing.name}")
            missing = f"; {thing.missing} spots of the file are not here" if thing.missing else ""
            self.said.emit(f"Read the decisions on {len(thing.keys)} spots{missing}.")

    def _take(self, made: Corrected) -> None:
        review = self.measured.review
        if made.change is not None:
            try:
                command = review.edit(made.frame, made.change, made.labels, made.name, made.accept)
            except LabDCTError as error:
                self.said.emit(str(error))
                return
            if command is None:
                return
        rows = with_status(made.rows, review)
        first, last = np.searchsorted(self.table["frame"], [made.frame, made.frame + 1])
        self.table = np.concatenate([self.table[:first], rows, self.table[last:]])
        if not self._queue.waiting:
            self.canvas.forget(made.frame)
        self.rows_changed.emit(made.frame)
        if made.select:
            self.select((made.frame, made.select), move=False)
        elif self.row_of(self.current) < 0:
            self.select(None)
        if made.name:
            self.said.emit(f"Done: {made.name}.")

    # ----------------------------------------------------------------------- files

    def export(
        self, table: np.ndarray, path: Path, kind: str, longest_px: int | None, **about: Any
    ) -> None:
        """Write spots in a worker; see `spots_files.export`."""
        measured = self.measured
        if measured is not None:
            self.export_job.queue(
                lambda: spots_files.export(measured, table, path, kind, longest_px, about),
                f"Write {path.name}",
            )

    def save_picture(self, path: Path) -> None:
        """Save the present view of the canvas as PNG, with what made the spots beside it."""
        viewer, measured = self._session.viewer, self.measured
        if viewer is None:
            return
        image = viewer.screenshot(canvas_only=True, flash=False)
        recipe = {} if measured is None else dict(measured.recipe)
        recipe["view"] = {"frame": self._session.shown_frame(self.stack)}
        self.export_job.queue(
            lambda: spots_files.write_picture(image, path, recipe), f"Write {path.name}"
        )

    def import_decisions(self, path: Path) -> None:
        """Read statuses from a table."""
        table = self.table
        if self.measured is not None:
            self._queue.add(lambda: lambda: spots_files.read_decisions(path, table))

    def import_labels(self, path: Path) -> None:
        """Read label images; projections that differ become corrections."""
        measured, corrector = self.measured, self._queue.corrector
        if measured is not None:
            self._queue.add(lambda: lambda: spots_files.read_corrections(path, corrector, measured))
