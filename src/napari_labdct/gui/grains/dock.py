"""The Grains dock: map the grains, look at them and their spots, correct and compare the map."""

from __future__ import annotations

from pathlib import Path

from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout

from ...core.errors import LabDCTError
from ...io.grain_map_files import grain_dialog_filter, grain_ends
from ...scan.scan import Scan
from ..app.docks import open_dock
from ..widgets.dock import Dock, button, wrapped
from ..widgets.run_bar import RunBar
from .calibrate_panel import CalibratePanel
from .compare_panel import ComparePanel
from .controller import GrainsController
from .map_part import MapPart
from .setup_panel import SetupPanel
from .tasks import for_the_window, missing_words

#: Height of everything but the volume, on a screen of 720 rows.
_REST_PX = 505


class GrainsDock(Dock):
    """Mapping, the volume, the table, spots of a grain, corrections, calibration, comparison."""

    title = "Grains"
    page = "grains.md"
    needs_stack = False

    def build(self) -> None:
        self.controller: GrainsController = self.session.controller(GrainsController)
        self.setup = SetupPanel(self.session)
        self.note = wrapped()
        self.note.setAccessibleName("What is missing for a map")
        self.scan_button = button(
            "Open the Scan dock", "Enter what is missing in the Scan dock", self._open_scan
        )
        self.calibrate = CalibratePanel(self.controller, self._start_calibration)
        self.compare = ComparePanel(self.controller)
        for thing in (self.setup, self.note, self.scan_button, self.calibrate):
            self.body.addWidget(thing)
        self.map_part = MapPart(self.session, self.controller)
        self.body.addWidget(self.map_part, 100)
        self.body.addWidget(self.compare)
        self.body.addLayout(self._files())
        self._footer()
        self._connect()
        self._on_opened()

    # -------------------------------------------------------------------- building

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
        c.said.connect(self.say)
        c.job.changed.connect(self._show_ready)
        c.job.ended.connect(lambda _: self._show_ready())
        self.map_part.said.connect(self.say)
        self.setup.changed.connect(self._show_ready)
        self.compare.boundaries_wanted.connect(self.map_part.show_boundaries)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self.map_part.view.set_room(event.size().height() - _REST_PX)

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

    def _on_opened(self) -> None:
        self.export_button.setEnabled(self.controller.study is not None)
        self._show_ready()
