"""The tabs of the Review dock that correct spots and that take them away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...io.spot_tables import holds_pairs
from ...review.corrections import GrowSettings
from ...review.review import ACCEPTED, REJECTED
from ..widgets.dock import button, heading, wrapped
from ..widgets.forms import SettingsForm, tame
from .controller import SpotsController
from .table import Key


class CorrectTab(QWidget):
    """Paint, erase, split, merge, add by click.

    Parameters
    ----------
    controller : SpotsController
    keys : callable
        The spots selected in the table.
    """

    def __init__(self, controller: SpotsController, keys: Callable[[], list[Key]]) -> None:
        super().__init__()
        self._controller = controller
        self._keys = keys
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(heading("With the selected spots"))
        grid = QGridLayout()
        grid.setSpacing(4)
        self.split = button(
            "Split", "Cut the selected spot along its valleys (watershed)", self._split
        )
        self.parts = QSpinBox()
        self.parts.setRange(2, 6)
        self.parts.setPrefix("into ")
        tame(self.parts, "Parts", "Into how many spots")
        self.merge = button(
            "Merge", "Make one spot of the selected ones of a projection", self._merge
        )
        self.erase = button(
            "Erase", "Remove the selected spots; to keep them as wrong ones, reject", self._erase
        )
        for k, widget in enumerate((self.split, self.parts, self.merge, self.erase)):
            grid.addWidget(widget, k // 2, k % 2)
        layout.addLayout(grid)

        layout.addWidget(heading("On the image"))
        self.add = self._tool(
            "Add by click", "Click on a spot that was missed; it grows to its contour"
        )
        self.paint = self._tool("Paint new spot", "Draw a spot with the brush")
        self.extend = self._tool("Paint on selected", "Make the selected spot larger")
        self.rub = self._tool("Erase pixels", "Take pixels away with the eraser")
        tools = QGridLayout()
        tools.setSpacing(4)
        for k, tool in enumerate((self.add, self.paint, self.extend, self.rub)):
            tools.addWidget(tool, k // 2, k % 2)
        layout.addLayout(tools)
        self.grow = SettingsForm(GrowSettings, remember_as="grow", reset_button=False)
        self.grow.changed.connect(self._set_grow)
        controller.grow_settings = self.grow.settings()
        layout.addWidget(self.grow)
        layout.addWidget(
            wrapped(
                "<small>Corrected projections are measured again; Undo takes every correction "
                "back. A spot that you draw counts as accepted.</small>"
            )
        )
        layout.addStretch(1)

    def _tool(self, text: str, tooltip: str) -> QPushButton:
        made = button(text, tooltip)
        made.setCheckable(True)
        made.toggled.connect(lambda on: self._chosen(made, on))
        return made

    def _chosen(self, tool: QPushButton, on: bool) -> None:
        controller = self._controller
        if on:
            for other in (self.add, self.paint, self.extend, self.rub):
                if other is not tool:
                    with QSignalBlocker(other):
                        other.setChecked(False)
        controller.adding = self.add.isChecked()
        if tool is self.add or not on:
            controller.stop_painting()
        elif tool is self.paint:
            controller.paint("paint")
        elif tool is self.rub:
            controller.paint("erase")
        elif controller.current is None:
            controller.said.emit("Choose the spot to make larger in the table or on the image.")
            tool.setChecked(False)
        else:
            controller.paint("paint", controller.current[1])

    def tools_off(self) -> None:
        """Put brush and click tool away."""
        for tool in (self.add, self.paint, self.extend, self.rub):
            tool.setChecked(False)

    def on_frame(self) -> None:
        """Another projection is shown: a new spot needs an id that is free there."""
        if self.paint.isChecked():
            self._controller.paint("paint")
        elif self.extend.isChecked():
            self.extend.setChecked(False)

    def _set_grow(self, settings: GrowSettings) -> None:
        self._controller.grow_settings = settings

    def _split(self) -> None:
        keys = self._keys()
        self._controller.split(keys[0] if keys else None, self.parts.value())

    def _merge(self) -> None:
        self._controller.merge(self._keys())

    def _erase(self) -> None:
        self._controller.erase(self._keys())


_TABLES = (
    "CSV (*.csv);;HDF5 with labels (*.h5);;COCO-like JSON (*.json);;Parquet (*.parquet);;"
    "ImageD11 (*.flt)"
)
_TABLE_ENDS = (".csv", ".h5", ".hdf5", ".json", ".parquet", ".flt")
_TIFF = "TIFF (*.tif)"


class ExportTab(QWidget):
    """Take spots away in other formats, and bring decisions and labels back.

    Parameters
    ----------
    controller : SpotsController
    shown : callable
        Row numbers of the table that pass the dock's filter, and what the filter is.
    """

    def __init__(
        self, controller: SpotsController, shown: Callable[[], tuple[np.ndarray, str]]
    ) -> None:
        super().__init__()
        self._controller = controller
        self._shown = shown
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        self.which = QComboBox()
        self.which.addItems(
            ["All but rejected", "Accepted only", "All", "Those that pass the filter"]
        )
        tame(self.which, "Which spots", "The spots that are written")
        self.size = QSpinBox()
        self.size.setRange(0, 16384)
        self.size.setSpecialValueText("as the scan")
        self.size.setSuffix(" px")
        tame(self.size, "Size of stacks", "Longer edge of the stacks, for indexing programs")
        form.addRow("Spots", self.which)
        form.addRow("Size of stacks", self.size)
        layout.addLayout(form)
        grid = QGridLayout()
        grid.setSpacing(4)
        makers = (
            ("Table...", "CSV, HDF5, COCO-like JSON or Parquet", self._table),
            ("Mask...", "8-bit TIFF, 0 and 255, same order of projections", self._binary),
            ("Label stack...", "16-bit TIFF, the spots' ids", self._labels),
            ("Training pairs...", "Projections, medians and masks you reviewed", self._pairs),
            ("Picture...", "PNG of the present view", self._picture),
        )
        for k, (text, tooltip, slot) in enumerate(makers):
            grid.addWidget(button(text, tooltip, slot), k // 2, k % 2)
        layout.addLayout(grid)
        layout.addWidget(heading("Back in again"))
        row = QHBoxLayout()
        row.addWidget(
            button("Decisions...", "Accepted and rejected from a table", self._read_decisions)
        )
        row.addWidget(
            button("Labels...", "Label images: TIFF, HDF5 or COCO-like JSON", self._read_labels)
        )
        layout.addLayout(row)
        layout.addWidget(
            wrapped("<small>Each file is written with its recipe. Imports can be undone.</small>")
        )
        layout.addStretch(1)

    def rows(self) -> tuple[np.ndarray, dict[str, str]]:
        """The spots to be written, ordered by frame and id, and how they were chosen."""
        table = self._controller.table
        choice = self.which.currentIndex()
        about = {"spots_written": self.which.currentText()}
        if choice == 0:
            return table[table["status"] != REJECTED], about
        if choice == 1:
            return table[table["status"] == ACCEPTED], about
        if choice == 2:
            return table, about
        order, text = self._shown()
        return table[np.sort(order)], {**about, "filter": text}

    def write(self, path: str | Path, kind: str) -> None:
        """Write the chosen spots; `kind` as in `spots_files.export`."""
        rows, about = self.rows()
        self._controller.export(rows, Path(path), kind, self.size.value() or None, **about)

    def _name(self, end: str) -> str:
        stack = self._controller.stack
        return f"{stack.name if stack is not None else 'scan'}_{end}"

    def _table(self) -> None:
        path, chosen = QFileDialog.getSaveFileName(
            self, "Write the spot table", self._name("spots.csv"), _TABLES
        )
        if path:
            end = chosen.rsplit("*", 1)[-1].rstrip(")")
            known = Path(path).suffix.lower() in _TABLE_ENDS
            self.write(path if known else path + end, "table")

    def _binary(self) -> None:
        self._ask_stack("Write the mask", "spots.tif", "binary")

    def _labels(self) -> None:
        self._ask_stack("Write the label stack", "labels.tif", "labels")

    def _ask_stack(self, title: str, end: str, kind: str) -> None:
        path, _ = QFileDialog.getSaveFileName(self, title, self._name(end), _TIFF)
        if path:
            tiff = Path(path).suffix.lower() in (".tif", ".tiff")
            self.write(path if tiff else path + ".tif", kind)

    def _pairs(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for the training pairs")
        if path and (not holds_pairs(path) or self._may_replace(path)):
            self.write(path, "pairs")

    def _may_replace(self, folder: str) -> bool:
        """A dialog for a folder does not ask about what is in it."""
        text = f"{folder} holds training pairs already. Replace them?"
        yes = QMessageBox.StandardButton.Yes
        return QMessageBox.question(self, "Training pairs", text) == yes

    def _picture(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the view", self._name("view.png"), "PNG (*.png)"
        )
        if path:
            png = Path(path).suffix.lower() == ".png"
            self._controller.save_picture(Path(path if png else path + ".png"))

    def _read_decisions(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Read decisions", "", "Spot tables (*.csv *.h5 *.json *.parquet)"
        )
        if path:
            self._controller.import_decisions(Path(path))

    def _read_labels(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Read label images", "", "Label images (*.tif *.tiff *.h5 *.json)"
        )
        if path:
            self._controller.import_labels(Path(path))
