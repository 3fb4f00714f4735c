"""Crops of many spots at once: raw, cleaned, mask; a click rejects."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListView,
    QVBoxLayout,
    QWidget,
)

from ...review.review import REJECTED, REVIEW_DTYPE, UNDECIDED
from ...review.selection import doubt
from ..widgets.dock import button
from ..widgets.forms import tame
from . import tasks as spots_work
from .controller import SpotsController
from .table import STATUS_COLOURS
from .tasks import CROP_PX, Crop

_PAGE = 60
_SIDE = 40
_ORDERS = ("Lowest SNR first", "Most doubtful first", "As in the table")


class CropModel(QAbstractListModel):
    """One page of spots as pictures."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = np.zeros(0, REVIEW_DTYPE)
        self._images: dict[tuple[int, int], np.ndarray] = {}

    def show_rows(self, rows: np.ndarray) -> None:
        """Other spots; their pictures come later."""
        self.beginResetModel()
        self.rows = rows
        self._images = {}
        self.endResetModel()

    def show_statuses(self, status: np.ndarray) -> None:
        """Decisions on the spots of the page."""
        self.rows = self.rows.copy()
        self.rows["status"] = status
        self._changed()

    def take(self, crops: list[Crop]) -> None:
        """Pictures from the worker."""
        for crop in crops:
            self._images[crop.key] = crop.image
        self._changed()

    @property
    def missing(self) -> bool:
        """Whether pictures are still to come."""
        return len(self._images) < len(self.rows)

    def _changed(self) -> None:
        if len(self.rows):
            self.dataChanged.emit(self.index(0), self.index(len(self.rows) - 1))

    def key(self, row: int) -> tuple[int, int]:
        """Key of a picture."""
        return int(self.rows["frame"][row]), int(self.rows["id"][row])

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole):
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DecorationRole:
            key = self.key(index.row())
            return QIcon(picture(self._images.get(key), int(row["status"])))
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            text = f"Projection {row['frame']}, spot {row['id']}: SNR {row['snr']:.1f}"
            if np.isfinite(row["confidence"]):
                text += f", confidence {row['confidence']:.2f}"
            return text + ". Click to reject or to take that back."
        return None


def picture(image: np.ndarray | None, status: int) -> QPixmap:
    """Raw, cleaned and mask side by side in a frame of the status' colour."""
    made = QPixmap(3 * _SIDE + 6, _SIDE + 4)
    made.fill(QColor(STATUS_COLOURS.get(status, "#808080")))
    painter = QPainter(made)
    painter.fillRect(2, 2, 3 * _SIDE + 2, _SIDE, QColor("#202020"))
    if image is not None:
        pixels = image.tobytes()  # must outlive `grey`
        grey = QImage(
            pixels, image.shape[1], image.shape[0], image.strides[0],
            QImage.Format.Format_Grayscale8,
        )  # fmt: skip
        for part in range(3):
            place = QRect(2 + part * (_SIDE + 1), 2, _SIDE, _SIDE)
            painter.drawImage(place, grey, QRect(part * CROP_PX, 0, CROP_PX, CROP_PX))
    if status == REJECTED:
        painter.setPen(QPen(QColor(STATUS_COLOURS[REJECTED]), 2))
        painter.drawLine(2, 2, 3 * _SIDE + 3, _SIDE + 1)
    painter.end()
    return made


class Gallery(QWidget):
    """The gallery tab.

    Attributes
    ----------
    clicked : signal(object)
        The key of a spot the user clicked on to look at (with Ctrl).
    """

    clicked = Signal(object)

    def __init__(self, controller: SpotsController, job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._job = job
        self._table = self._cutting = np.zeros(0, REVIEW_DTYPE)
        self._order = np.zeros(0, np.int64)
        self._page = 0
        self._stale = True
        self.order = QComboBox()
        self.order.addItems(_ORDERS)
        tame(self.order, "Order of the gallery", "Weak and doubtful spots need your eyes first")
        self.order.currentIndexChanged.connect(self._first_page)
        self.where = QLabel()
        self.back = button("\u25c0", "The spots before these", lambda: self._turn(-1))
        self.forth = button("\u25b6", "The next spots", lambda: self._turn(1))
        for arrow, name in ((self.back, "Previous page"), (self.forth, "Next page")):
            arrow.setAccessibleName(name)
            arrow.setFixedWidth(32)
        top = QHBoxLayout()
        top.addWidget(self.order, 1)
        for widget in (self.where, self.back, self.forth):
            top.addWidget(widget)
        self.model = CropModel(self)
        self.view = QListView()
        self.view.setModel(self.model)
        self.view.setViewMode(QListView.ViewMode.IconMode)
        self.view.setResizeMode(QListView.ResizeMode.Adjust)
        self.view.setMovement(QListView.Movement.Static)
        self.view.setUniformItemSizes(True)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.view.setIconSize(QSize(3 * _SIDE + 6, _SIDE + 4))
        self.view.setGridSize(QSize(3 * _SIDE + 9, _SIDE + 7))
        self.view.setMinimumHeight(150)
        tame(
            self.view,
            "Gallery",
            "Projection, network result and mask of each spot. Click to reject, click again to "
            "take it back; Ctrl+click shows the spot in its projection.",
        )
        self.view.clicked.connect(self._on_click)
        hint = QLabel(
            "<small>projection | network result | mask. Click rejects, Ctrl+click shows.</small>"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.view, 1)
        layout.addWidget(hint)
        job.delivered.connect(self._on_delivered)
        job.ended.connect(self._on_ended)

    def show_rows(self, table: np.ndarray, order: np.ndarray) -> None:
        """The table and those of its rows that pass the dock's filter, in the table's order."""
        self._table, self._order = table, order
        self._stale = True
        self.look()

    def look(self) -> None:
        """Catch up, if the tab is the one in front."""
        if self._stale and self.isVisibleTo(self.window()):
            self._first_page()

    def show_statuses(self, table: np.ndarray) -> None:
        """Decisions changed."""
        if not len(self.model.rows):
            return
        at = [self._controller.row_of(self.model.key(k)) for k in range(len(self.model.rows))]
        status = [int(table["status"][k]) if k >= 0 else UNDECIDED for k in at]
        self.model.show_statuses(np.array(status, np.uint8))

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self.look()

    def _first_page(self, *_: object) -> None:
        self._page = 0
        self._show_page()

    def _turn(self, step: int) -> None:
        self._page += step
        self._show_page()

    def _show_page(self) -> None:
        self._stale = False
        table, order = self._table, self._order
        pages = max(1, -(-len(order) // _PAGE))
        self._page = min(max(0, self._page), pages - 1)
        first = self._page * _PAGE
        if self.order.currentIndex() == 0:
            order = order[np.argsort(table["snr"][order], kind="stable")]
        elif self.order.currentIndex() == 1:
            seen = table[["snr", "confidence"]][order]
            order = order[np.argsort(-doubt(seen), kind="stable")]
        rows = table[order[first : first + _PAGE]]
        self.model.show_rows(rows)
        self.show_statuses(self._controller.table)
        last = first + len(rows)
        self.where.setText(f"{first + 1 if last else 0}\u2013{last} of {len(order)}")
        self.back.setEnabled(self._page > 0)
        self.forth.setEnabled(self._page < pages - 1)
        self._cut()

    def _cut(self) -> None:
        measured, rows = self._controller.measured, self.model.rows
        if measured is None or not len(rows):
            return
        if self._job.running:
            self._job.cancel()  # `_on_ended` starts anew
            return
        self._cutting = rows
        self._job.start(lambda: spots_work.crops(measured, rows), "Cut crops")

    def _on_delivered(self, crops: list[Crop]) -> None:
        self.model.take(crops)

    def _on_ended(self, _state: str) -> None:
        same = np.array_equal(self._cutting[["frame", "id"]], self.model.rows[["frame", "id"]])
        if not same and self.isVisibleTo(self.window()):
            self._cut()

    def _on_click(self, index: QModelIndex) -> None:
        from qtpy.QtWidgets import QApplication

        key = self.model.key(index.row())
        if QApplication.keyboardModifiers() & Qt.KeyboardModifier.ControlModifier:
            self.clicked.emit(key)
            return
        rejected = self.model.rows["status"][index.row()] == REJECTED
        self._controller.set_status([key], UNDECIDED if rejected else REJECTED)
