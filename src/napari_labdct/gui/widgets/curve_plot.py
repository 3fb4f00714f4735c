"""A small plot that follows the theme: curves over omega, profiles along a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from .forms import tame


@dataclass(frozen=True)
class Curve:
    """One line of a plot: its name, colour, and values."""

    name: str
    colour: str
    x: np.ndarray
    y: np.ndarray


class Plot(QWidget):
    """Curves with a marker and shaded bands.

    Attributes
    ----------
    clicked, hovered : signal(float)
        The x value under the pointer.
    left : signal
        The pointer is elsewhere.
    """

    clicked = Signal(float)
    hovered = Signal(float)
    left = Signal()

    def __init__(self, name: str, tooltip: str, x_label: str = "", dotted: float | None = None):
        super().__init__()
        self.curves: list[Curve] = []
        self.bands: list[tuple[float, float]] = []
        self.marker: float | None = None
        self.x_label = x_label
        self._dotted = dotted
        self._top: float | None = None
        tame(self, name, tooltip)
        self.setMinimumHeight(130)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def show_curves(
        self,
        curves: Sequence[Curve],
        bands: Sequence[tuple[float, float]] = (),
        top: float | None = None,
    ) -> None:
        """Draw other curves; `top` cuts what is higher."""
        self.curves = [c for c in curves if c.x.size]
        self.bands = list(bands)
        self._top = top
        self.update()

    def set_marker(self, x: float | None) -> None:
        """A vertical line at `x`."""
        if x != self.marker:
            self.marker = x
            self.update()

    # ------------------------------------------------------------------ geometry

    def _area(self) -> QRectF:
        return QRectF(44, 18, max(10, self.width() - 52), max(10, self.height() - 48))

    def _limits(self) -> tuple[float, float, float, float]:
        x = np.concatenate([c.x for c in self.curves])
        y = np.concatenate([c.y for c in self.curves])
        y = y[np.isfinite(y)]
        low, high = (float(min(0, y.min())), float(y.max())) if y.size else (0.0, 1.0)
        high = high if self._top is None else min(high, self._top)
        return float(x.min()), float(x.max()), low, max(high * 1.05, low + 1e-9)

    def _x_at(self, pixel: float) -> float | None:
        if not self.curves:
            return None
        left, right, _, _ = self._limits()
        area = self._area()
        part = (pixel - area.left()) / area.width()
        return left + min(max(part, 0.0), 1.0) * (right - left)

    def mousePressEvent(self, event) -> None:
        x = self._x_at(event.position().x())
        if x is not None:
            self.clicked.emit(x)

    def mouseMoveEvent(self, event) -> None:
        x = self._x_at(event.position().x())
        if x is not None:
            self.hovered.emit(x)

    def leaveEvent(self, event) -> None:
        self.left.emit()

    # ------------------------------------------------------------------- drawing

    def paintEvent(self, event) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(self.foregroundRole())
        faint = QColor(ink)
        faint.setAlpha(70)
        font = painter.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() - 2))
        painter.setFont(font)
        area = self._area()
        painter.setPen(QPen(faint, 1))
        painter.drawRect(area)
        if not self.curves:
            painter.end()
            return
        left, right, low, high = self._limits()

        def point(x: float, y: float) -> QPointF:
            across = (x - left) / max(right - left, 1e-12)
            up = (min(max(y, low), high) - low) / (high - low)
            return QPointF(area.left() + across * area.width(), area.bottom() - up * area.height())

        for start, end in self.bands:
            shade = QColor(ink)
            shade.setAlpha(35)
            painter.fillRect(QRectF(point(start, high), point(end, low)), shade)
        self._axes(painter, area, ink, (left, right, low, high))
        if self._dotted is not None and low < self._dotted < high:
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DotLine))
            painter.drawLine(point(left, self._dotted), point(right, self._dotted))
        for curve in self.curves:
            painter.setPen(QPen(_readable(curve.colour, self.palette()), 1.3))
            good = np.isfinite(curve.y)
            points = [point(x, y) for x, y in zip(curve.x[good], curve.y[good])]
            painter.drawPolyline(QPolygonF(points))
            if len(points) < 80:
                for p in points:
                    painter.drawEllipse(p, 1.5, 1.5)
        if self.marker is not None and left <= self.marker <= right:
            painter.setPen(QPen(ink, 1))
            painter.drawLine(point(self.marker, low), point(self.marker, high))
        self._legend(painter, area)
        painter.end()

    def _axes(self, painter: QPainter, area: QRectF, ink: QColor, limits) -> None:
        left, right, low, high = limits
        painter.setPen(ink)
        flags = Qt.AlignmentFlag
        for value in (low, high):
            y = area.bottom() if value == low else area.top() + 8
            box = QRectF(0, y - 8, area.left() - 4, 16)
            painter.drawText(box, flags.AlignRight | flags.AlignVCenter, _short(value))
        below = area.bottom() + 2
        painter.drawText(QRectF(area.left(), below, 80, 16), flags.AlignLeft, f"{left:.4g}")
        end = QRectF(area.right() - 80, below, 80, 16)
        painter.drawText(end, flags.AlignRight, f"{right:.4g}")
        middle = QRectF(area.left(), below, area.width(), 16)
        painter.drawText(middle, flags.AlignHCenter, self.x_label)

    def _legend(self, painter: QPainter, area: QRectF) -> None:
        x = area.left()
        for curve in self.curves:
            painter.setPen(_readable(curve.colour, self.palette()))
            width = painter.fontMetrics().horizontalAdvance(curve.name) + 12
            box = QRectF(x, 0, width, area.top() - 2)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, curve.name)
            x += width


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _readable(colour: str, palette) -> QColor:
    """The colour, darker on a light ground so that it can be read."""
    made = QColor(colour)
    if palette.window().color().lightness() > 128:
        if made.lightness() > 200:
            return QColor("#444444")
        return made.darker(170)
    return made
