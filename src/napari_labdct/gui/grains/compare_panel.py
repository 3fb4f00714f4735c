"""The map against a better one: table 2, eq. 4, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
)

from ...io.grain_map_files import grain_dialog_filter
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame, with_button
from ..widgets.run_bar import RunBar
from ..widgets.section import Section

if TYPE_CHECKING:
    from .controller import GrainsController

_ROWS = (
    ("grains", "map_grains", "{:d}"),
    ("one to one", "one_to_one", "{:d}"),
    ("one to several", "one_to_several", "{:d}"),
    ("false negative", "false_negative", "{:d}"),
    ("false positive", "false_positive", "{:d}"),
    ("misorientation, median (deg)", "misorientation_median_deg", "{:.4f}"),
    ("centres apart, median (um)", "distance_median_um", "{:.2f}"),
    ("size over the reference's", "size_ratio_median", "{:.3f}"),
    ("boundary of a grain, eq. 4 (um)", "boundary_mean_um", "{:.2f}"),
    ("all boundary voxels (um)", "boundary_of_volume_um", "{:.2f}"),
    ("voxels of the right grain", "voxels_right", "{:.1%}"),
)


class ComparePanel(Section):
    """Reference, second map, numbers, boundaries and the report.

    Attributes
    ----------
    boundaries_wanted : signal
        The user wants to see the boundaries, coloured by deviation.
    """

    boundaries_wanted = Signal()

    def __init__(self, controller: GrainsController) -> None:
        super().__init__("Compare with another map", "How well the map agrees with a better one")
        self._controller = controller
        self.say("table 2 and boundaries (eq. 4)")
        self._build()
        controller.compared.connect(self.show_report)
        controller.opened.connect(lambda: self.show_report(controller.report))
        self.show_report(controller.report)

    def _build(self) -> None:
        self.reference, self.second = QLineEdit(), QLineEdit()
        tame(self.reference, "Reference map", "The better map: a synchrotron's, or the truth")
        tame(self.second, "Third map", "Another map to compare with the reference, if you like")
        self.reference.setPlaceholderText("the better map")
        self.second.setPlaceholderText("not given")
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        for name, line in (("Reference", self.reference), ("And", self.second)):
            tip = f"Choose the file of the {line.accessibleName().lower()}"
            box = with_button(line, "File...", tip, lambda at=line: self._ask(at))
            form.addRow(name, box)
        self.register = QCheckBox("Find how they lie")
        tame(self.register, "Registration", "Find rotation, shift and convention of orientations")
        self.register.setChecked(True)
        self.within = QDoubleSpinBox()
        tame(self.within, "Within", "Orientations of one grain differ by this at most")
        self.within.setRange(0.05, 30)
        self.within.setValue(1.0)
        self.within.setSuffix(" deg")
        row = QHBoxLayout()
        row.addWidget(self.register, 1)
        row.addWidget(self.within)
        self.bar = RunBar(self._controller.compare_job, "Compare", unit="")
        self.bar.run_requested.connect(self._run)
        self.table = QTableWidget(len(_ROWS), 1)
        tame(self.table, "Table 2", "Grains of the reference by how they were found; eq. 4")
        self.table.setVerticalHeaderLabels([row[0] for row in _ROWS])
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        size = self.fontMetrics().height() + 4
        self.table.verticalHeader().setDefaultSectionSize(size)
        self.table.setFixedHeight((len(_ROWS) + 1) * size + 12)
        self.note = wrapped()
        self.note.setAccessibleName("How the maps lie over the reference")
        self.boundaries = button(
            "Show boundaries", "The reference's boundaries, coloured by their deviation (eq. 4)",
            self.boundaries_wanted.emit,
        )  # fmt: skip
        self.write = button(
            "Write report...", "report.html, its tables and pictures, into a folder", self._write
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.boundaries)
        buttons.addWidget(self.write)
        buttons.addStretch(1)
        self.fill(form, row, self.bar, self.table, self.note, buttons)

    def show_report(self, report: Any) -> None:
        """The numbers of table 2 for each map."""
        for widget in (self.table, self.note, self.boundaries, self.write):
            widget.setVisible(report is not None)
        if report is None:
            return
        self.table.setColumnCount(len(report.names))
        self.table.setHorizontalHeaderLabels(report.names)
        notes = []
        for k, (name, result) in enumerate(zip(report.names, report.results, strict=True)):
            numbers = report.numbers(k)
            for row, (_, key, form) in enumerate(_ROWS):
                text = form.format(numbers[key])
                if key == "one_to_several":
                    text += f" ({numbers['several_of_map']})"
                elif key == "map_grains":
                    text += f" of {numbers['grains']} in the reference"
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, k, item)
            notes += [f"{name}: {said}" for said in result.registration.words()]
        self.table.resizeColumnsToContents()
        self.note.setText(" ".join(notes))
        first = report.results[0]
        self.say(f"{len(first.one_to_one)} of {first.table2()['grains']} one to one")

    def _ask(self, line: QLineEdit) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Grain map", "", grain_dialog_filter())
        if path:
            line.setText(path)

    def _run(self) -> None:
        controller, reference = self._controller, self.reference.text().strip()
        if controller.study is None:
            controller.said.emit("Map the grains, or open a map, before it is compared.")
        elif controller.study.opened.grains is None:
            controller.said.emit("A list of point grains has no volume that could be compared.")
        elif not reference:
            controller.said.emit("Choose the reference map first.")
        else:
            second = self.second.text().strip()
            controller.compare(
                Path(reference).expanduser(), Path(second).expanduser() if second else None,
                self.within.value(), self.register.isChecked(),
            )  # fmt: skip

    def _write(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for the report")
        if path:
            self._controller.write_report(Path(path))
