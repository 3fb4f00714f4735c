"""The table of spots: a model over a structured array, and a view that decides by key.

Sorting and filtering work on an array of row numbers, so 200,000 spots stay fluid; a proxy
model would ask Python for every comparison.  Spots are known by their key (frame, id),
never by a row number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QEvent, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ...core.spot_words import WORDS
from ...review.review import ACCEPTED, REJECTED, REVIEW_DTYPE, UNDECIDED
from ..widgets.forms import tame

Key = tuple[int, int]


@dataclass(frozen=True)
class Column:
    """One column: its name in the array, its head, how a value is written, a hint."""

    name: str
    head: str
    form: str
    hint: str


COLUMNS = (
    Column("frame", "Frame", "d", "Projection, counted from 0"),
    Column("id", "Id", "d", "Number of the spot in its projection"),
    Column("status", "Status", "", "Your decision: A accept, R reject, U undecided"),
    Column("snr", "SNR", ".1f", "Mean signal above the local background over the local noise"),
    Column("confidence", "Conf.", ".2f", "Mean of the network result in the spot, 0 to 1"),
    Column("found_by", "Found by", "", "Network, standard routine, or both"),
    Column("area_px", "Area px", "d", "Pixels of the spot"),
    Column("significance", "Signif.", ".1f", "Height in the best of many matched filters, sigma"),
    Column("peak", "Peak", ".0f", "Highest pixel above the background, counts"),
    Column("sum", "Sum", ".0f", "Intensity above the background, counts"),
    Column("row", "Row", ".1f", "Centroid, weighted by intensity, px"),
    Column("col", "Column", ".1f", "Centroid, weighted by intensity, px"),
    Column("omega_deg", "Omega", ".2f", "Rotation angle, degrees"),
    Column("area_um2", "Area um\u00b2", ".0f", "Area on the detector; needs the pixel size"),
    Column("length_px", "Length", ".1f", "Along the long axis, 4 standard deviations, px"),
    Column("width_px", "Width", ".1f", "Along the short axis, 4 standard deviations, px"),
    Column("orientation_deg", "Angle", ".0f", "Long axis against the rows, degrees"),
    Column("background", "Backgr.", ".0f", "Local background, counts"),
    Column("noise", "Noise", ".1f", "Local noise sigma, counts"),
    Column("row_min", "Row min", "d", "Bounding box, px"),
    Column("row_max", "Row max", "d", "Bounding box, px"),
    Column("col_min", "Col min", "d", "Bounding box, px"),
    Column("col_max", "Col max", "d", "Bounding box, px"),
    Column("touches_edge", "At edge", "", "Touches the edge of the detector"),
    Column("touches_beam_stop", "At stop", "", "Touches the beam stop or the detector mask"),
)
STATUS_COLOURS = {ACCEPTED: "#4aa8ff", REJECTED: "#ff5f1f"}
#: The same as words on a table, by theme: at least 4.5 to 1 against what lies behind them.
STATUS_INKS = {
    "dark": {ACCEPTED: "#5cb3ff", REJECTED: "#ff8355"},
    "light": {ACCEPTED: "#00509e", REJECTED: "#a32a00"},
}
_STATUS_SIGNS = ("\u25cb undecided", "\u2713 accepted", "\u2717 rejected")
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


def row_of(table: np.ndarray, key: Key | None) -> int:
    """Row of a key in a table ordered by frame and id, -1 if there is no such spot."""
    if key is None:
        return -1
    first, last = np.searchsorted(table["frame"], [key[0], key[0] + 1])
    at = int(first + np.searchsorted(table["id"][first:last], key[1]))
    return at if at < last and table["id"][at] == key[1] else -1


class SpotModel(QAbstractTableModel):
    """The rows of a spot table that pass a filter, in the order of a column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = "dark"
        self.table = np.zeros(0, REVIEW_DTYPE)
        self.order = np.zeros(0, np.int64)
        self._chosen: np.ndarray | None = None
        self._fixed = False
        self._sort = (0, Qt.SortOrder.AscendingOrder)

    # ---------------------------------------------------------------- what is shown

    def show_table(
        self, table: np.ndarray, chosen: np.ndarray | None, *, ranked: bool = False
    ) -> None:
        """Show some rows of a table.

        Parameters
        ----------
        table : structured array of `REVIEW_DTYPE`, ordered by frame and id
        chosen : int array, optional
            Rows that pass the filter; all if not given.
        ranked : bool
            Keep the order of `chosen` until a column is clicked.
        """
        self.beginResetModel()
        self.table, self._chosen, self._fixed = table, chosen, ranked
        self._arrange()
        self.endResetModel()

    def follow_theme(self, background: str) -> None:
        """Use the inks for a dark or a light background."""
        self.theme = "dark" if QColor(background).lightnessF() < 0.5 else "light"
        self.show_statuses()

    def show_statuses(self) -> None:
        """Statuses changed in the table; rows stay where they are."""
        if len(self.order):
            last = self.index(len(self.order) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _arrange(self) -> None:
        chosen = np.arange(len(self.table)) if self._chosen is None else self._chosen
        if not self._fixed:
            column, direction = self._sort
            values = self.table[COLUMNS[column].name][chosen]
            if direction == Qt.SortOrder.DescendingOrder:
                # stable in both directions: equal spots stay in the order of the projections
                rank = np.argsort(values[::-1], kind="stable")[::-1]
                chosen = chosen[len(chosen) - 1 - rank] if len(chosen) else chosen
            else:
                chosen = chosen[np.argsort(values, kind="stable")]
        self.order = chosen

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Order by a column."""
        if column < 0:
            return
        self.beginResetModel()
        self._sort, self._fixed = (column, order), False
        self._arrange()
        self.endResetModel()

    # --------------------------------------------------------------------- the keys

    def key(self, row: int) -> Key:
        """Key of a shown row."""
        at = self.order[row]
        return int(self.table["frame"][at]), int(self.table["id"][at])

    def row(self, key: Key | None) -> int:
        """Shown row of a key, -1 if it is filtered away."""
        at = row_of(self.table, key)
        found = np.flatnonzero(self.order == at) if at >= 0 else self.order[:0]
        return int(found[0]) if found.size else -1

    # ------------------------------------------------------------------------- Qt

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole):
        column = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(column, self.table[column.name][self.order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT if column.form else None
        if role == Qt.ItemDataRole.ForegroundRole and column.name == "status":
            inks = STATUS_INKS[self.theme]
            colour = inks.get(int(self.table["status"][self.order[index.row()]]))
            return QBrush(QColor(colour)) if colour else None
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ):
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].head
            if role == Qt.ItemDataRole.ToolTipRole:
                return f"{COLUMNS[section].hint}.\nIn a filter: {COLUMNS[section].name}"
        return None


def _text(column: Column, value) -> str:
    if column.name == "status":
        return _STATUS_SIGNS[int(value)]
    if column.name in WORDS:
        return WORDS[column.name][int(value)]
    if not column.form:
        return "yes" if value else ""
    if column.form == "d":
        return str(int(value))
    return format(float(value), column.form) if np.isfinite(value) else "\u2013"


class SpotView(QTableView):
    """The table on the screen; Up and Down walk, A, R and U decide.

    Attributes
    ----------
    walked : signal(object)
        The key of the row that became current.
    decided : signal(object, int)
        Keys and the status to give them.
    undo_wanted, redo_wanted : signal
    """

    walked = Signal(object)
    decided = Signal(object, int)
    undo_wanted = Signal()
    redo_wanted = Signal()

    _KEYS = {Qt.Key.Key_A: ACCEPTED, Qt.Key.Key_R: REJECTED, Qt.Key.Key_U: UNDECIDED}

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model_ = SpotModel(self)
        self.setModel(self.model_)
        self.advance = True
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
        head.sortIndicatorChanged.connect(self._keep_current)
        wide = {"status": "\u2717 undecided ", "found_by": "Found by  "}
        for k, column in enumerate(COLUMNS):
            text = wide.get(column.name, max(column.head + "    ", "00000.0", key=len))
            self.setColumnWidth(k, self.fontMetrics().horizontalAdvance(text) + 12)
        tame(
            self,
            "Spots",
            "Up and Down walk the spots. A accepts, R rejects, U leaves open; "
            "Ctrl+Z takes back. Click a head to sort.",
        )

    # ------------------------------------------------------------------------- keys

    def current_key(self) -> Key | None:
        """Key of the current row."""
        index = self.currentIndex()
        return self.model_.key(index.row()) if index.isValid() else None

    def keys(self) -> list[Key]:
        """Keys of the selected rows, in the order shown."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.model_.key(row) for row in rows]

    def keeping(self, change: Callable[[], None], key: Key | None = None) -> None:
        """Change the rows and stay at the spot that was current (or at `key`)."""
        wanted = key or self.current_key()
        selected = self.keys()
        self._quiet = True
        change()
        self.go_to(wanted, selected if key is None else ())
        self._quiet = False

    def _keep_current(self, *_: object) -> None:
        """After a click on a head: the model has the new order already."""
        self.scrollTo(self.currentIndex())

    def go_to(self, key: Key | None, selected: Sequence[Key] = ()) -> bool:
        """Make a spot the current row without telling anybody; False if it is not shown."""
        row = self.model_.row(key)
        quiet, self._quiet = self._quiet, True
        if row < 0:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())
        else:
            index = self.model_.index(row, max(0, self.currentIndex().column()))
            flags = QItemSelectionModel.SelectionFlag
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            if 1 < len(selected) <= 2000:
                for other in selected:
                    at = self.model_.row(other)
                    if at >= 0:
                        self.selectionModel().select(
                            self.model_.index(at, 0), flags.Select | flags.Rows
                        )
            self.scrollTo(index)
        self._quiet = quiet
        return row >= 0

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        super().currentChanged(current, previous)
        if current.isValid() and not self._quiet and current.row() != previous.row():
            self.walked.emit(self.model_.key(current.row()))

    def sortByColumn(self, column: int, order: Qt.SortOrder) -> None:
        self.keeping(lambda: QTableView.sortByColumn(self, column, order))

    # --------------------------------------------------------------------- keyboard

    def _meaning(self, event: QKeyEvent) -> str | int | None:
        """What a key means here: "undo", "redo", a status, or nothing of ours."""
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if plain:
            return self._KEYS.get(event.key())
        if event.matches(QKeySequence.StandardKey.Undo):
            return "undo"
        control = event.modifiers() == Qt.KeyboardModifier.ControlModifier
        if event.matches(QKeySequence.StandardKey.Redo) or (
            control and event.key() == Qt.Key.Key_Y
        ):
            return "redo"
        return None

    def event(self, event: QEvent) -> bool:
        # while the table has the focus, its keys win over shortcuts in napari's menus
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and self._meaning(event) is not None
        ):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        meaning = self._meaning(event)
        if meaning is None:
            super().keyPressEvent(event)
            return
        if meaning == "undo":
            self.undo_wanted.emit()
        elif meaning == "redo":
            self.redo_wanted.emit()
        else:
            self.decide(int(meaning))
        event.accept()

    def decide(self, status: int) -> None:
        """Give the selected spots a status and, if there is one alone, go on to the next."""
        keys = self.keys()
        if not keys:
            return
        row = self.currentIndex().row()
        self.decided.emit(keys, status)
        if self.advance and len(keys) == 1 and row + 1 < self.model_.rowCount():
            shown = self.model_.row(keys[0])
            # a filter on the status may have taken the row away: then the next has its place
            self._step_to(row if shown < 0 else shown + 1)

    def _step_to(self, row: int) -> None:
        if 0 <= row < self.model_.rowCount():
            flags = QItemSelectionModel.SelectionFlag
            index = self.model_.index(row, max(0, self.currentIndex().column()))
            self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
