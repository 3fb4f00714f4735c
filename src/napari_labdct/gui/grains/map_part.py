"""The map in the dock: volume, spots of the chosen grain, table, corrections, all linked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from ...core.errors import LabDCTError
from ...grains.reflections import SEEN
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from . import volume
from .controller import GrainsController
from .table import GrainTable, rows_of
from .tasks import Growth
from .view import VolumeView

if TYPE_CHECKING:
    from ..app.session import Session


class MapPart(QWidget):
    """What is there as soon as a map is.

    Attributes
    ----------
    said : signal(str)
        A sentence for the status line.
    """

    said = Signal(str)

    def __init__(self, session: Session, controller: GrainsController) -> None:
        super().__init__()
        self.session, self.controller = session, controller
        self._point: np.ndarray | None = None
        self.view = VolumeView()
        self.table = GrainTable()
        self.table.setMinimumHeight(110)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.view)
        layout.addLayout(self._walker())
        layout.addLayout(self._edits())
        layout.addLayout(self._filter_line())
        layout.addWidget(self.table, 1)
        self._connect()
        self._on_opened()

    def _walker(self) -> QHBoxLayout:
        self.about = wrapped("Choose a grain to see its spots.")
        self.about.setAccessibleName("Spots of the chosen grain")
        self.before, self.after = QToolButton(), QToolButton()
        for tool, sign, by, key in (
            (self.before, "\u25c0", -1, "Left"), (self.after, "\u25b6", 1, "Right"),
        ):  # fmt: skip
            tool.setText(sign)
            words = "before" if by < 0 else "after"
            tame(tool, f"The spot {words}", f"{key} arrow: look at the spot {words}")
            tool.clicked.connect(lambda _=False, by=by: self.controller.step(by))
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.about, 1)
        row.addWidget(self.before)
        row.addWidget(self.after)
        return row

    def _filter_line(self) -> QHBoxLayout:
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter: diameter_um > 20 and completeness < 0.8")
        self.filter.setClearButtonEnabled(True)
        tame(
            self.filter,
            "Filter",
            "Conditions on any column joined by 'and'; hold the mouse over a column's head to "
            "see its name. Yes and no: locked = true",
        )
        self.filter.textChanged.connect(self._fill_table)
        row = QHBoxLayout()
        row.addWidget(self.filter)
        return row

    def _edits(self) -> QHBoxLayout:
        c = self.controller
        self.delete = button("Delete", "Delete key: take the chosen grains away", self._delete)
        self.merge = button("Merge", "Make the chosen grains one", self._merge)
        self.lock = button("Lock", "Keep the chosen grains from being changed", self._lock)
        self.seed = button(
            "Seed", "Look for a grain at the point clicked last in a slice", self._seed
        )
        self.undo = button("Undo", "Ctrl+Z: take back the last correction", c.undo)
        self.redo = button("Redo", "Ctrl+Y: bring back what was undone", c.redo)
        row = QHBoxLayout()
        row.setSpacing(3)
        for made in (self.delete, self.merge, self.lock, self.seed, self.undo, self.redo):
            made.setMinimumWidth(20)
            row.addWidget(made)
        return row

    def _connect(self) -> None:
        c = self.controller
        c.opened.connect(self._on_opened)
        c.grown.connect(self._on_grown)
        c.edited.connect(self._on_edited)
        c.selected.connect(self._on_selected)
        c.stepped.connect(self._show_spot)
        c.edit_job.changed.connect(self._show_edits)
        c.compared.connect(lambda _: self._show_mode(self.view.mode))
        self.view.clicked.connect(self._on_clicked)
        self.view.pointed.connect(self._on_pointed)
        self.view.mode_changed.connect(self._show_mode)
        self.view.stepped.connect(c.step)
        self.table.walked.connect(c.select)
        self.table.stepped.connect(c.step)
        self.table.delete_wanted.connect(self._delete)
        self.table.undo_wanted.connect(c.undo)
        self.table.redo_wanted.connect(c.redo)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_edits())

    # ------------------------------------------------------------------ what is shown

    def _on_opened(self) -> None:
        study, growth = self.controller.study, self.controller.growth
        self._point = None
        self.view.show_point(None)
        self.setVisible(study is not None or growth is not None)
        if study is not None:
            self._show_mode(self.view.mode)
            self._show_centres()
        elif growth is not None:
            self._on_grown(growth)
        else:
            self.view.show_volume(None)
            self.view.show_points(np.zeros((0, 3)), np.zeros(0, int))
        self._fill_table()
        self._on_selected()

    def _on_grown(self, growth: Growth) -> None:
        self.setVisible(True)
        self.view.show_points(growth.points_um, np.arange(1, len(growth.points_um) + 1))
        self.view.show_volume(volume.of_growth(growth))

    def _show_centres(self) -> None:
        edited = self.controller.study.edited
        at = edited.numbers - 1
        self.view.show_points(self.controller.study.points_um[at], edited.table["grain"][at])

    def show_boundaries(self) -> None:
        """Show the boundaries of the last comparison, coloured by their deviation."""
        self._show_mode(volume.BOUNDARIES)

    def _show_mode(self, mode: str) -> None:
        study, report = self.controller.study, self.controller.report
        if study is None:
            return
        if mode == volume.BOUNDARIES and report is None:
            mode = volume.IPF_Z
            self.said.emit("Compare the map with another one first; then its boundaries are known.")
        self.view.set_mode(mode)
        if mode == volume.BOUNDARIES:
            self.view.show_volume(volume.of_comparison(report.results[0]))
        else:
            self.view.show_volume(volume.of_study(study, mode))

    def _fill_table(self, *_: object) -> None:
        from ...review.selection import where

        study = self.controller.study
        rows = rows_of(None if study is None else study.edited)
        try:
            chosen = where(rows, self.filter.text())
            refused = ""
        except LabDCTError as error:
            chosen, refused = np.ones(len(rows), bool), str(error)
        self.said.emit(refused) if refused else None
        self.filter.setProperty("refused", bool(refused))
        self.table.show_rows(rows, np.flatnonzero(chosen), self.controller.current)

    def _on_edited(self) -> None:
        self._show_mode(self.view.mode)
        self._show_centres()
        self._fill_table()
        self._show_edits()

    # --------------------------------------------------------------------- choosing

    def _on_clicked(self, number: int) -> None:
        self.controller.select(number or None)

    def _on_pointed(self, point: np.ndarray) -> None:
        self._point = point
        self.view.show_point(point)
        self._show_edits()

    def _on_selected(self) -> None:
        study, number = self.controller.study, self.controller.current
        if number is not None and number not in self.table.numbers():
            if not self.table.go_to(number):
                self.said.emit(f"Grain {study.edited.name(number)} does not pass the filter.")
        elif number is None:
            self.table.go_to(None)
        self._light_up()
        self._show_spot()
        self._show_edits()

    def _light_up(self) -> None:
        study, number = self.controller.study, self.controller.current
        if study is None or number is None or study.edited.labels is None:
            self.view.show_chosen(None, None)
            return
        grains, labels = study.opened.grains, study.edited.labels
        row = study.edited.table[number - 1]
        part, first = _part_of(labels, number, row, grains)
        middle = (np.array(labels.shape) - 1) / 2
        corner = (first - middle) * grains.voxel_um + np.array(grains.center_mm)[::-1] * 1e3
        self.view.show_chosen(part, np.array([*corner, grains.voxel_um]))

    def _show_spot(self) -> None:
        study, number = self.controller.study, self.controller.current
        rows, at = self.controller.rows, self.controller.spot
        for tool in (self.before, self.after):
            tool.setEnabled(len(rows) > 0)
        if number is None:
            self.about.setText("Choose a grain, or a spot on a projection." if study else "")
            return
        text = f"Grain {study.edited.name(number)}"
        if study.reflections is None:
            self.about.setText(f"{text}. Its spots are not known without the scan and its masks.")
            return
        text += f": {int((rows['seen'] == SEEN).sum())} of {len(rows)} spots"
        if 0 <= at < len(rows):
            row = rows[at]
            state = "found" if row["seen"] == SEEN else "missing"
            hkl = f"{row['h']} {row['k']} {row['l']}"
            text += f"; {at + 1}: {hkl}, {state}"
        self.about.setText(text + ".")

    # ------------------------------------------------------------------- correcting

    def _show_edits(self) -> None:
        study, numbers = self.controller.study, self.table.numbers()
        free = study is not None and not self.controller.edit_job.running
        self.delete.setEnabled(free and bool(numbers))
        self.merge.setEnabled(free and len(numbers) > 1)
        self.lock.setEnabled(free and bool(numbers))
        locked = study is not None and bool(numbers) and study.edited.locked[
            np.array(numbers) - 1
        ].all()  # fmt: skip
        self.lock.setText("Unlock" if locked else "Lock")
        self.seed.setEnabled(free and self._point is not None and study.job is not None)
        for control, verb, name in (
            (self.undo, "Undo", study.edited.undo_name if study else ""),
            (self.redo, "Redo", study.edited.redo_name if study else ""),
        ):
            control.setEnabled(free and bool(name))
            control.setToolTip(f"{verb}: {name}" if name else f"Nothing to {verb.lower()}")

    def _delete(self) -> None:
        self.controller.delete(self.table.numbers())

    def _merge(self) -> None:
        self.controller.merge(self.table.numbers())

    def _lock(self) -> None:
        self.controller.lock(self.table.numbers(), self.lock.text() == "Lock")

    def _seed(self) -> None:
        if self._point is not None:
            self.controller.seed(self._point)


def _part_of(labels: np.ndarray, number: int, row, grains) -> tuple[np.ndarray, np.ndarray]:
    """The part of a volume that holds a grain (1 in it), and its first voxel."""
    centre = np.array([row["z_um"], row["y_um"], row["x_um"]])
    middle = (np.array(labels.shape) - 1) / 2
    at = (centre - np.array(grains.center_mm)[::-1] * 1e3) / grains.voxel_um + middle
    reach = 2.0 * float(row["diameter_um"]) / grains.voxel_um + 3
    low = np.clip(np.floor(at - reach).astype(int), 0, np.array(labels.shape) - 1)
    high = np.minimum(np.ceil(at + reach).astype(int) + 1, labels.shape)
    box = tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))
    own = labels[box] == number
    if int(own.sum()) < int(row["voxels"]):  # long, thin ones reach farther
        own, low = labels == number, np.zeros(3, int)
    return own, low
