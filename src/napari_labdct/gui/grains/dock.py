"""The Grains dock: map the grains, look at them and their spots, correct and compare the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from ...core.errors import LabDCTError
from ...grains.reflections import SEEN
from ...io.grain_map_files import grain_dialog_filter, grain_ends
from ...scan.scan import Scan
from ..app.docks import open_dock
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from . import volume
from .calibrate_panel import CalibratePanel
from .compare_panel import ComparePanel
from .controller import GrainsController
from .setup_panel import SetupPanel
from .table import GrainTable, rows_of
from .tasks import Growth, for_the_window, missing_words
from .view import VolumeView

#: Height of everything but the volume, on a screen of 720 rows.
_REST_PX = 505


class GrainsDock(Dock):
    """Mapping, the volume, the table, spots of a grain, corrections, calibration, comparison."""

    title = "Grains"
    needs_stack = False

    def build(self) -> None:
        self.controller: GrainsController = self.session.controller(GrainsController)
        self._point: np.ndarray | None = None
        self.setup = SetupPanel(self.session)
        self.note = wrapped()
        self.note.setAccessibleName("What is missing for a map")
        self.scan_button = button(
            "Open the Scan dock", "Enter what is missing in the Scan dock", self._open_scan
        )
        self.calibrate = CalibratePanel(self.controller, self._start_calibration)
        self.view = VolumeView()
        self.table = GrainTable()
        self.table.setMinimumHeight(110)
        self.compare = ComparePanel(self.controller)
        for thing in (self.setup, self.note, self.scan_button, self.calibrate):
            self.body.addWidget(thing)
        self.map_part = QWidget()
        layout = QVBoxLayout(self.map_part)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.view)
        layout.addLayout(self._walker())
        layout.addLayout(self._filter_line())
        layout.addWidget(self.table, 1)
        layout.addLayout(self._edits())
        self.body.addWidget(self.map_part, 100)
        self.body.addWidget(self.compare)
        self.body.addLayout(self._files())
        self._footer()
        self._connect()
        self._on_opened()

    # -------------------------------------------------------------------- building

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

    def _files(self) -> QHBoxLayout:
        self.open_button = button("Open map...", "Open a grain map from a file", self._ask_map)
        self.export_button = button(
            "Save map...", "Write the map and its table: .h5, .dream3d, .tesr, .map, .xdmf, .csv",
            self._ask_export,
        )  # fmt: skip
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.export_button)
        row.addStretch(1)
        return row

    def _footer(self) -> None:
        c = self.controller
        self.bar = RunBar(c.job, "Map grains", unit="")
        self.bar.run_requested.connect(self._map)
        self.bar.discard_requested.connect(c.discard)
        self.footer.addWidget(self.bar)
        for job, verb in (
            (c.open_job, "Open"), (c.edit_job, "Correct"), (c.export_job, "Save"),
        ):  # fmt: skip
            bar = RunBar(job, verb, unit="", quiet=True)
            self.footer.addWidget(bar)
            setattr(self, f"{verb.lower()}_bar", bar)

    def _connect(self) -> None:
        c = self.controller
        c.opened.connect(self._on_opened)
        c.grown.connect(self._on_grown)
        c.edited.connect(self._on_edited)
        c.selected.connect(self._on_selected)
        c.stepped.connect(self._show_spot)
        c.said.connect(self.say)
        c.job.changed.connect(self._show_ready)
        c.job.ended.connect(lambda _: self._show_ready())
        c.edit_job.changed.connect(self._show_edits)
        self.setup.changed.connect(self._show_ready)
        self.view.clicked.connect(self._on_clicked)
        self.view.pointed.connect(self._on_pointed)
        self.view.mode_changed.connect(self._on_mode)
        self.view.stepped.connect(c.step)
        self.table.walked.connect(c.select)
        self.table.stepped.connect(c.step)
        self.table.delete_wanted.connect(self._delete)
        self.table.undo_wanted.connect(c.undo)
        self.table.redo_wanted.connect(c.redo)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_edits())
        self.compare.boundaries_wanted.connect(lambda: self._show_mode(volume.BOUNDARIES))
        c.compared.connect(lambda _: self._show_mode(self.view.mode))

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self.view.set_room(event.size().height() - _REST_PX)

    # --------------------------------------------------------------------- running

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.setup.follow(scan)
        self._show_ready()

    def _scan(self) -> Scan | None:
        if self.session.stack is None or self.problem:
            return None
        return self.session.scan()

    def _show_ready(self) -> None:
        """Offer to map, or say what is missing for it."""
        scan = self._scan()
        missing = self.setup.why_not(scan)
        self.note.setText(missing)
        self.note.setVisible(bool(missing))
        self.scan_button.setVisible(
            scan is not None and bool(missing_words(scan, self.setup.chosen_material()))
        )
        why = missing or ("" if scan is not None else "Open a scan first.")
        about = self.controller.stack
        stray = about is not None and about is not self.session.stack
        self.bar.set_ready(not why, why)
        self.calibrate.bar.set_ready(not why, why)
        self.bar.set_about(about.name if stray else "")
        self._show_edits()

    def _map(self) -> None:
        try:
            scan = self._scan()
            masks = None if scan is None else self.setup.masks(scan)
            if masks is not None:
                self.controller.map(
                    self.session.stack, masks, self.setup.settings(), self.setup.chosen_material()
                )
        except LabDCTError as error:
            self.say(for_the_window(str(error)))

    def _start_calibration(self, settings) -> None:
        scan = self._scan()
        masks = None if scan is None else self.setup.masks(scan)
        if masks is not None:
            self.controller.calibrate(
                self.session.stack, masks, settings, self.setup.chosen_material()
            )

    def open_map(self, path: str | Path) -> None:
        """Open a map from a file, with the spots of the scan that is open."""
        masks = None
        scan = self._scan()
        if scan is not None and not self.setup.why_not(scan):
            masks = self.setup.masks(scan)
        stack = self.session.stack if masks is not None else None
        self.controller.open(Path(path), self.setup.chosen_material(), stack, masks)

    def _ask_map(self) -> None:
        every = grain_dialog_filter()
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a grain map", "", f"{every};;List of point grains (*.csv)"
        )
        if path:
            self.open_map(path)

    def _ask_export(self) -> None:
        ends = " ".join(f"*{end}" for end in grain_ends())
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the map", "grains.h5", f"Grain maps ({ends})"
        )
        if path:
            self.controller.export(Path(path))

    def _open_scan(self) -> None:
        if self.session.viewer is not None:
            open_dock(self.session.viewer, "Scan")

    # ------------------------------------------------------------------ what is shown

    def _on_opened(self) -> None:
        study, growth = self.controller.study, self.controller.growth
        self._point = None
        self.view.show_point(None)
        there = study is not None or growth is not None
        self.map_part.setVisible(there)
        self.export_button.setEnabled(study is not None)
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
        self._show_ready()

    def _on_grown(self, growth: Growth) -> None:
        self.map_part.setVisible(True)
        self.view.show_points(growth.points_um, np.arange(1, len(growth.points_um) + 1))
        self.view.show_volume(volume.of_growth(growth))

    def _show_centres(self) -> None:
        edited = self.controller.study.edited
        at = edited.numbers - 1
        self.view.show_points(self.controller.study.points_um[at], edited.table["grain"][at])

    def _on_mode(self, mode: str) -> None:
        self._show_mode(mode)

    def _show_mode(self, mode: str) -> None:
        study, report = self.controller.study, self.controller.report
        if study is None:
            return
        if mode == volume.BOUNDARIES and report is None:
            mode = volume.IPF_Z
            self.say("Compare the map with another one first; then its boundaries are known.")
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
        self.say(refused) if refused else None
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
                self.say(f"Grain {study.edited.name(number)} does not pass the filter.")
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
