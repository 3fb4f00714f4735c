"""Calibrate: the geometry before and after, and where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QTableWidget, QTableWidgetItem

from ...core.errors import LabDCTError
from ...grains.calibration import Calibration, CalibrationSettings
from ...grains.geometry_fit import NAMES, UNITS
from ..widgets.dock import button, wrapped
from ..widgets.forms import SettingsForm, tame
from ..widgets.run_bar import RunBar
from ..widgets.section import Section
from .tasks import described_in, for_the_window

if TYPE_CHECKING:
    from .controller import GrainsController

_HEADS = ("", "given", "found", "\u00b1", "")


class CalibratePanel(Section):
    """A button that finds the geometry, and a table of what changed.

    Parameters
    ----------
    controller : GrainsController
    start : callable
        Starts a calibration with some settings; the dock knows of what.
    """

    def __init__(
        self, controller: GrainsController, start: Callable[[CalibrationSettings], None]
    ) -> None:
        super().__init__("Calibrate", "Find distances, centre, tilts and direction from the spots")
        self._controller, self._start = controller, start
        self.say("the geometry from the spots")
        self.form = SettingsForm(CalibrationSettings, remember_as="calibrate", reset_button=False)
        self.more = Section("How far off", "What the search may assume, and what it tries")
        self.more.fill(self.form)
        self.bar = RunBar(controller.calibrate_job, "Calibrate", unit="")
        self.bar.run_requested.connect(self._run)
        self.table = QTableWidget(len(NAMES), len(_HEADS))
        tame(self.table, "Geometry before and after", "What the scan said, and what the spots say")
        self.table.setHorizontalHeaderLabels(_HEADS)
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 4)
        self.table.setFixedHeight((len(NAMES) + 1) * (self.fontMetrics().height() + 8))
        self.note = wrapped()
        self.note.setAccessibleName("Result of the calibration")
        self.use = button(
            "Use it", "Give the open scan this geometry; scan.yaml stays as it is", self._use
        )
        self.write = button(
            "Write scan.yaml",
            "Write it into scan.yaml; the old file is kept beside it",
            self._write,
        )
        row = QHBoxLayout()
        row.addWidget(self.use)
        row.addWidget(self.write)
        row.addStretch(1)
        self.fill(self.bar, self.more, self.table, self.note, row)
        controller.calibrated.connect(self.show_result)
        controller.calibrate_job.changed.connect(self._show_fault)
        self.show_result(controller.calibration)

    def show_result(self, found: Calibration | None) -> None:
        """The numbers before and after."""
        for widget in (self.table, self.note, self.use, self.write):
            widget.setVisible(found is not None)
        if found is None:
            return
        rows = zip(NAMES, UNITS, found.given, found.found, found.sd, strict=True)
        for k, (name, unit, old, new, sd) in enumerate(rows):
            texts = (name, f"{old:.4f}", f"{new:.4f}", f"{sd:.4f}", unit)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                if 0 < column < 4:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(k, column, item)
        self.table.resizeColumnsToContents()
        text = (
            f"Predicted and seen spots are {found.before_px:.2f} px apart with the given geometry, "
            f"{found.residual_px:.2f} px with the one found ({found.grains} grains, "
            f"{found.spots} spots)."
        )
        self.note.setText(" ".join([text, *map(for_the_window, found.notes)]))
        self.say(f"{found.before_px:.2f} px before, {found.residual_px:.2f} px found")
        there = described_in(found.scan)
        self.write.setEnabled(there is not None)
        self.write.setToolTip(
            f"Write it into {there}; the old file is kept beside it"
            if there is not None
            else "There is no scan.yaml beside the scan; save one in the Scan dock first"
        )

    def _run(self) -> None:
        try:
            self._start(self.form.settings())
        except LabDCTError as error:
            self._controller.said.emit(for_the_window(str(error)))

    def _show_fault(self) -> None:
        if self._controller.calibrate_job.running and self._controller.calibration is None:
            self.show_result(None)

    def _use(self) -> None:
        self._controller.use_calibration()

    def _write(self) -> None:
        found = self._controller.calibration
        path = None if found is None else described_in(found.scan)
        if path is not None:
            self._controller.write_calibration(path)
