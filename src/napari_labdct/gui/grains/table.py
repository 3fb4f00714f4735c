"""The table of grains: a model over a structured array, and a view that walks and chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ...grains.edited_map import EditedMap
from ..widgets.forms import tame

ROW_DTYPE = np.dtype(
    [
        ("number", "i4"), ("grain", "i4"), ("diameter_um", "f8"), ("completeness", "f8"),
        ("probability", "f8"), ("neighbours", "i4"), ("locked", "?"),
        ("x_um", "f8"), ("y_um", "f8"), ("z_um", "f8"),
        ("phi1_deg", "f8"), ("phi_deg", "f8"), ("phi2_deg", "f8"), ("spread_deg", "f8"),
        ("hits", "i4"), ("expected", "i4"), ("voxels", "i4"),
        ("orientation_sd_deg", "f8"), ("center_sd_um", "f8"),
        ("ipf_r", "f8"), ("ipf_g", "f8"), ("ipf_b", "f8"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column: its name in the array, its head, how a value is written, a hint."""

    name: str
    head: str
    form: str
    hint: str


COLUMNS = (
    Column("grain", "Grain", "d", "Id of the grain; its square is the IPF colour along z"),
    Column("diameter_um", "Size", ".1f", "Diameter of the sphere of the same volume, um"),
    Column("completeness", "Compl.", ".0%", "Share of the expected reflections that are seen"),
    Column("probability", "Trust", ".3f", "Probability that the grain is real"),
    Column("neighbours", "Neighb.", "d", "How many grains it touches"),
    Column("locked", "Lock", "", "Locked grains are not deleted, merged or grown over"),
    Column("x_um", "x", ".1f", "Centre along the beam at 0 degrees, um"),
    Column("y_um", "y", ".1f", "Centre, um"),
    Column("z_um", "z", ".1f", "Centre along the rotation axis, um"),
    Column("phi1_deg", "phi1", ".2f", "Bunge angle, degrees"),
    Column("phi_deg", "Phi", ".2f", "Bunge angle, degrees"),
    Column("phi2_deg", "phi2", ".2f", "Bunge angle, degrees"),
    Column("spread_deg", "Spread", ".2f", "Of the orientation inside the grain, degrees"),
    Column("hits", "Hits", "d", "Reflections that are seen"),
    Column("expected", "Expect.", "d", "Reflections that are expected"),
    Column("voxels", "Voxels", "d", "Voxels of the grain"),
    Column("orientation_sd_deg", "sd deg", ".4f", "Uncertainty of the orientation, degrees"),
    Column("center_sd_um", "sd um", ".2f", "Uncertainty of the centre, um"),
)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


def rows_of(edited: EditedMap | None) -> np.ndarray:
    """The rows of a map's grains, those that are gone left out."""
    if edited is None:
        return np.zeros(0, ROW_DTYPE)
    numbers = edited.numbers
    table = edited.table[numbers - 1]
    rows = np.zeros(len(numbers), ROW_DTYPE)
    for name in set(ROW_DTYPE.names) & set(table.dtype.names):
        rows[name] = table[name]
    rows["number"] = numbers
    rows["neighbours"] = edited.neighbours[numbers - 1]
    rows["locked"] = edited.locked[numbers - 1]
    return rows


class GrainModel(QAbstractTableModel):
    """Rows that pass a filter, in the order of a column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = np.zeros(0, ROW_DTYPE)
        self.order = np.zeros(0, int)
        self._chosen = np.zeros(0, int)
        self._sort = (0, Qt.SortOrder.AscendingOrder)

    def show_rows(self, rows: np.ndarray, chosen: np.ndarray) -> None:
        """Show the `chosen` (int array) of some rows of `ROW_DTYPE`."""
        self.beginResetModel()
        self.rows, self._chosen = rows, chosen
        self._arrange()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order by a column."""
        if column >= 0:
            self.beginResetModel()
            self._sort = (column, order)
            self._arrange()
            self.endResetModel()

    def _arrange(self) -> None:
        column, direction = self._sort
        values = self.rows[COLUMNS[column].name][self._chosen].astype(float)
        if direction == Qt.SortOrder.DescendingOrder:
            values = -values
        self.order = self._chosen[np.argsort(values, kind="stable")]

    def number(self, row: int) -> int:
        """Label of the grain in a shown row."""
        return int(self.rows["number"][self.order[row]])

    def row(self, number: int | None) -> int:
        """Shown row of a grain, -1 if it is filtered away."""
        found = np.flatnonzero(self.rows["number"][self.order] == (number or 0))
        return int(found[0]) if found.size else -1

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole):
        column, row = COLUMNS[index.column()], self.rows[self.order[index.row()]]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(column, row[column.name])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT
        if role == Qt.ItemDataRole.DecorationRole and column.name == "grain":
            red, green, blue = (min(max(float(row[n]), 0), 1) for n in ("ipf_r", "ipf_g", "ipf_b"))
            return QColor.fromRgbF(red, green, blue)
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ):
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].head
            if role == Qt.ItemDataRole.ToolTipRole:
                return f"{COLUMNS[section].hint}.\nIn a filter: {COLUMNS[section].name}"
        return None


def _text(column: Column, value) -> str:
    if not column.form:
        return "locked" if value else ""
    if column.form == "d":
        return str(int(value))
    return format(float(value), column.form) if np.isfinite(value) else "\u2013"


class GrainTable(QTableView):
    """The table on the screen; Up and Down walk the grains, Left and Right a grain's spots.

    Attributes
    ----------
    walked : signal(int)
        The label of the grain that became current.
    stepped : signal(int)
        -1 or +1: the spot before or after.
    delete_wanted, undo_wanted, redo_wanted : signal
    """

    walked = Signal(int)
    stepped = Signal(int)
    delete_wanted = Signal()
    undo_wanted = Signal()
    redo_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.model_ = GrainModel(self)
        self.setModel(self.model_)
        self._quiet = False
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        side = self.verticalHeader()
        side.setVisible(False)
        side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        side.setDefaultSectionSize(self.fontMetrics().height() + 4)
        head = self.horizontalHeader()
        head.setHighlightSections(False)
        head.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        for k, column in enumerate(COLUMNS):
            text = max(column.head + "    ", "00000.0", key=len)
            self.setColumnWidth(k, self.fontMetrics().horizontalAdvance(text) + 10)
        tame(
            self,
            "Grains",
            "Up and Down walk the grains, Left and Right the spots of a grain; Delete deletes, "
            "Ctrl+Z takes back. Click a head to sort; Ctrl or Shift choose several.",
        )

    def show_rows(self, rows: np.ndarray, chosen: np.ndarray, current: int | None) -> None:
        """Show other rows and stay at a grain."""
        self._quiet = True
        self.model_.show_rows(rows, chosen)
        self.go_to(current)
        self._quiet = False

    def numbers(self) -> list[int]:
        """Labels of the selected rows."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.model_.number(row) for row in rows]

    def select(self, numbers: Sequence[int]) -> None:
        """Select some grains and nothing else."""
        self.clearSelection()
        flags = QItemSelectionModel.SelectionFlag
        for number in numbers:
            row = self.model_.row(number)
            if row >= 0:
                index = self.model_.index(row, 0)
                self.selectionModel().select(index, flags.Select | flags.Rows)

    def go_to(self, number: int | None) -> bool:
        """Make a grain the current row without telling anybody; False if it is not shown."""
        row = self.model_.row(number)
        quiet, self._quiet = self._quiet, True
        if row < 0:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        else:
            index = self.model_.index(row, max(0, self.currentIndex().column()))
            flags = QItemSelectionModel.SelectionFlag
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.scrollTo(index)
        self._quiet = quiet
        return row >= 0

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        super().currentChanged(current, previous)
        if current.isValid() and not self._quiet and current.row() != previous.row():
            self.walked.emit(self.model_.number(current.row()))

    def sortByColumn(self, column: int, order: Qt.SortOrder) -> None:
        index = self.currentIndex()
        current = self.model_.number(index.row()) if index.isValid() else None
        self._quiet = True
        super().sortByColumn(column, order)
        self.go_to(current)
        self._quiet = False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        signal = {
            Qt.Key.Key_Left: lambda: self.stepped.emit(-1),
            Qt.Key.Key_Right: lambda: self.stepped.emit(1),
            Qt.Key.Key_Delete: self.delete_wanted.emit,
        }.get(event.key())
        control = event.modifiers() == Qt.KeyboardModifier.ControlModifier
        if control and event.key() == Qt.Key.Key_Z:
            signal = self.undo_wanted.emit
        elif control and event.key() == Qt.Key.Key_Y:
            signal = self.redo_wanted.emit
        elif event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            signal = None
        if signal is None:
            super().keyPressEvent(event)
        else:
            signal()
            event.accept()
