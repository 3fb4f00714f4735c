"""Plots of the spots that pass the filter, drawn with Qt alone so that they follow at once."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import QComboBox, QSizePolicy, QVBoxLayout, QWidget

from ...review.review import REVIEW_DTYPE
from ..widgets.forms import tame
from .tasks import Rings

KINDS = ("Area", "SNR", "Intensity", "Spots per projection", "Where on the detector")
_COLUMNS = {"Area": ("area_px", "px"), "SNR": ("snr", ""), "Intensity": ("sum", "counts")}
_BINS = 40
_CELLS = 64
_BAR = QColor("#00b8d4")
_ALL = QColor(128, 128, 128, 90)
_RING = QColor("#ff9f1c")


class Plot(QWidget):
    """One plot; a drag over a histogram asks for the range, a click on a bar for its frame.

    Attributes
    ----------
    range_wanted : signal(str, float, float)
        A column and the range the user dragged over.
    frame_wanted : signal(int)
        The projection the user clicked on.
    """

    range_wanted = Signal(str, float, float)
    frame_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = KINDS[0]
        self._rows = self._all = np.zeros(0, REVIEW_DTYPE)
        self._shape = (1, 1)
        self._omega: np.ndarray | None = None
        self._edges = np.zeros(2)
        self._counts = self._counts_all = np.zeros(1)
        self._image: QImage | None = None
        self._drag: tuple[float, float] | None = None
        self.rings: dict[str, float] = {}
        self._centre = (0.0, 0.0)
        self.setMinimumSize(QSize(180, 160))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        tame(self, "Plot", "Drag over a histogram to filter by that range")

    def show_rows(self, rows: np.ndarray, table: np.ndarray, scan) -> None:
        """The spots that pass the filter, all spots, and the scan they belong to."""
        self._rows, self._all = rows, table
        if scan is not None:
            self._shape, self._omega = scan.shape, scan.omega_deg
            self._frames = scan.n_frames
        self._count()

    def show_rings(self, found: Rings) -> None:
        """Draw where the hkl families begin over the detector."""
        self._centre, self.rings = found.centre, found.radii_px
        self.update()

    def set_kind(self, kind: str) -> None:
        """Which of `KINDS` is drawn."""
        self.kind = kind
        self._count()

    def _count(self) -> None:
        self._image = None
        rows, table = self._rows, self._all
        if not len(table):
            self._counts = self._counts_all = np.zeros(1)
        elif self.kind in _COLUMNS:
            name = _COLUMNS[self.kind][0]
            # logarithmic bins: areas, intensities and SNR span decades
            values = np.maximum(table[name].astype(float), 0.1)
            low, high = values.min(), max(values.max(), values.min() * 1.01)
            self._edges = np.geomspace(low, high * 1.0001, _BINS + 1)
            self._counts_all = np.histogram(values, self._edges)[0]
            chosen = np.maximum(rows[name].astype(float), 0.1)
            self._counts = np.histogram(chosen, self._edges)[0]
        elif self.kind == KINDS[3]:
            self._edges = np.arange(self._frames + 1) - 0.5
            self._counts_all = np.bincount(table["frame"], minlength=self._frames)
            self._counts = np.bincount(rows["frame"], minlength=self._frames)
        else:
            self._image = self._detector(rows)
        self.update()

    def _detector(self, rows: np.ndarray) -> QImage:
        """Spots in each cell of the detector, brightest where most are."""
        longest = max(self._shape)
        size = [max(1, round(_CELLS * n / longest)) for n in self._shape]
        at = [
            np.clip((rows[a] / n * m).astype(int), 0, m - 1)
            for a, n, m in zip(("row", "col"), self._shape, size)
        ]
        counts = np.bincount(at[0] * size[1] + at[1], minlength=size[0] * size[1])
        level = np.sqrt(counts / max(1, counts.max())).reshape(size)
        grey = np.ascontiguousarray((40 + 215 * level).astype(np.uint8))
        grey[counts.reshape(size) == 0] = 24
        pixels = grey.tobytes()  # must outlive the copy
        made = QImage(pixels, size[1], size[0], size[1], QImage.Format.Format_Grayscale8)
        return made.copy()

    # ---------------------------------------------------------------------- drawing

    def _field(self) -> QRectF:
        height = self.fontMetrics().height()
        wide = self.fontMetrics().horizontalAdvance("00000")
        return QRectF(self.rect()).adjusted(wide + 6, height + 2, -10, -2 * height - 6)

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        ink = self.palette().text().color()
        painter.setPen(ink)
        field = self._field()
        if not len(self._all):
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "No spots yet")
        elif self._image is not None:
            self._draw_detector(painter, field, ink)
        else:
            self._draw_bars(painter, field, ink)
        painter.end()

    def _draw_bars(self, painter: QPainter, field: QRectF, ink: QColor) -> None:
        most = max(1, int(self._counts_all.max()))
        step = field.width() / len(self._counts)
        for counts, colour in ((self._counts_all, _ALL), (self._counts, _BAR)):
            for k, count in enumerate(counts.tolist()):
                tall = field.height() * count / most
                bar = QRectF(
                    field.left() + k * step, field.bottom() - tall, max(1, step - 0.5), tall
                )
                painter.fillRect(bar, colour)
        if self._drag is not None:
            left, right = sorted(self._drag)
            mark = QRectF(left, field.top(), right - left, field.height())
            painter.fillRect(mark, QColor(255, 225, 77, 70))
        painter.setPen(QPen(ink, 1))
        painter.drawLine(field.bottomLeft(), field.bottomRight())
        height = self.fontMetrics().height()
        left = QRectF(0, field.top() - height / 2, field.left() - 4, height)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(left, right, str(most))
        for k in range(5):
            x = field.left() + field.width() * k / 4
            box = QRectF(x - 40, field.bottom() + 3, 80, height)
            flag = Qt.AlignmentFlag.AlignHCenter
            if k == 4:
                box, flag = QRectF(x - 80, box.y(), 88, height), Qt.AlignmentFlag.AlignRight
            painter.drawText(box, flag, self._tick(k / 4))
        below = QRectF(field.left(), field.bottom() + 3 + height, field.width(), height)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, self._axis())
        painter.drawText(
            QRectF(field.left(), 0, field.width(), height),
            Qt.AlignmentFlag.AlignRight,
            f"{len(self._rows)} of {len(self._all)} spots",
        )

    def _tick(self, part: float) -> str:
        if self.kind in _COLUMNS:
            value = self._edges[0] * (self._edges[-1] / self._edges[0]) ** part
            return f"{value:.3g}" if value < 1e4 else f"{value:.1e}"
        frame = round(part * (len(self._counts) - 1))
        return f"{self._omega[frame]:g}\u00b0" if self._omega is not None else str(frame)

    def _axis(self) -> str:
        if self.kind in _COLUMNS:
            unit = _COLUMNS[self.kind][1]
            return f"{self.kind} ({unit})" if unit else self.kind
        return "Rotation angle" if self._omega is not None else "Projection"

    def _draw_detector(self, painter: QPainter, field: QRectF, ink: QColor) -> None:
        scale = min(field.width() / self._image.width(), field.height() / self._image.height())
        wide, tall = self._image.width() * scale, self._image.height() * scale
        left = field.left() + (field.width() - wide) / 2
        place = QRectF(left, field.top(), wide, tall)
        painter.drawImage(place, self._image)
        self._draw_rings(painter, place, scale * self._image.width() / self._shape[1])
        painter.setPen(QPen(ink, 1))
        painter.drawRect(place)
        line = QRectF(field.left(), place.bottom() + 3, field.width(), self.fontMetrics().height())
        words = f"{len(self._rows)} spots, row 0 at the top"
        if self.rings:
            words += "; families begin at their rings"
        painter.drawText(line, Qt.AlignmentFlag.AlignHCenter, words)

    def _draw_rings(self, painter: QPainter, place: QRectF, zoom: float) -> None:
        painter.save()
        painter.setClipRect(place)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(_RING, 1.2))
        row, col = self._centre
        middle = QPointF(place.left() + (col + 0.5) * zoom, place.top() + (row + 0.5) * zoom)
        outside = max(self.rings.values(), default=0) * zoom + 12
        for k, (name, radius) in enumerate(self.rings.items()):
            painter.drawEllipse(middle, radius * zoom, radius * zoom)
            # names stand in a row beside the rings, each with a line to its own
            turn = np.radians(-60 + 120 * k / max(1, len(self.rings) - 1))
            way = QPointF(float(np.cos(turn)), float(np.sin(turn)))
            painter.drawLine(middle + way * radius * zoom, middle + way * outside)
            corner = middle + way * (outside + 3) + QPointF(0, 4)
            words = QRectF(self.fontMetrics().boundingRect(name)).translated(corner)
            painter.fillRect(words.adjusted(-2, 0, 2, 0), QColor(0, 0, 0, 190))
            painter.drawText(corner, name)
        painter.restore()

    # ------------------------------------------------------------------------ mouse

    def mousePressEvent(self, event) -> None:
        if self._image is None and len(self._all):
            x = event.position().x()
            self._drag = (x, x)

    def mouseMoveEvent(self, event) -> None:
        if self._drag is not None:
            self._drag = (self._drag[0], event.position().x())
            self.update()

    def mouseReleaseEvent(self, _event) -> None:
        if self._drag is None:
            return
        (start, stop), self._drag = sorted(self._drag), None
        self.update()
        field = self._field()
        a, b = (min(max((x - field.left()) / field.width(), 0), 1) for x in (start, stop))
        if self.kind == KINDS[3]:
            if stop - start < 4:
                self.frame_wanted.emit(min(int(a * len(self._counts)), len(self._counts) - 1))
            else:
                count = len(self._counts)
                self.range_wanted.emit("frame", float(int(a * count)), float(int(b * count)))
        elif stop - start >= 4:
            span = self._edges[-1] / self._edges[0]
            low, high = (float(self._edges[0] * span**p) for p in (a, b))
            self.range_wanted.emit(_COLUMNS[self.kind][0], low, high)

    def centre(self) -> QPointF:
        """Middle of the field, for tests that press the mouse."""
        return self._field().center()


class Plots(QWidget):
    """The tab with the plots."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = QComboBox()
        self.kind.addItems(KINDS)
        tame(
            self.kind, "Plot", "What is drawn: grey are all spots, blue those that pass the filter"
        )
        self.plot = Plot()
        self._given: tuple | None = None
        self.kind.currentTextChanged.connect(self.plot.set_kind)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.kind)
        layout.addWidget(self.plot, 1)

    def show_rows(self, table: np.ndarray, order: np.ndarray, scan) -> None:
        """Follow the table and its rows that pass the filter; counted only while it is seen."""
        self._given = (table, order, scan)
        self.look()

    def look(self) -> None:
        """Catch up, if the tab is the one in front."""
        if self._given is not None and self.isVisibleTo(self.window()):
            (table, order, scan), self._given = self._given, None
            self.plot.show_rows(table[order], table, scan)

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self.look()
