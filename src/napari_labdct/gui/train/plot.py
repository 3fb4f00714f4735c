"""Curves of a training: losses on a logarithmic axis, F1, stages and the best moment."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from ..app.layers import CYAN, ORANGE
from ..widgets.curve_plot import Curve as Line
from ..widgets.curve_plot import Plot
from ..widgets.forms import tame
from .runs import Curve

_MOST_POINTS = 600


class TrainPlot(Plot):
    """A plot over iterations with the stages and the best validation marked.

    Parameters
    ----------
    name, tooltip : str
    log : bool
        Logarithmic upwards; otherwise from 0 to 1.
    height : int
        Pixels.
    """

    def __init__(self, name: str, tooltip: str, log: bool, height: int) -> None:
        super().__init__(name, tooltip, "iteration")
        self._log = log
        self._stages: list[tuple[int, str]] = []
        self._best: tuple[float, float] | None = None
        self._best_text = ""
        self.setMinimumHeight(height)
        self.setMaximumHeight(height)

    def show_lines(
        self,
        lines: list[Line],
        stages: list[tuple[int, str]],
        best: tuple[float, float] | None,
        best_text: str = "",
    ) -> None:
        """Draw other curves.

        Parameters
        ----------
        lines : list of Curve
            What is not positive is left out of a logarithmic plot.
        stages : list of (int, str)
            Where stages begin, and their names.
        best : (iteration, value), optional
            Where the star stands.
        best_text : str
            Beside the star.
        """
        made = []
        for line in lines:
            x, y = _thinned(line.x, line.y)
            if self._log:
                x, y = x[y > 0], np.log10(y[y > 0])
            made.append(Line(line.name, line.colour, x, y))
        self._stages = stages
        self._best = best
        if best is not None and self._log:
            self._best = (best[0], float(np.log10(best[1]))) if best[1] > 0 else None
        self._best_text = best_text
        self.show_curves(made)

    def _limits(self) -> tuple[float, float, float, float]:
        x = np.concatenate([c.x for c in self.curves])
        right = max(float(x.max()), 1.0)
        if not self._log:
            return 0.0, right, 0.0, 1.0
        y = np.concatenate([c.y for c in self.curves])
        y = y[np.isfinite(y)]
        low, high = (float(y.min()), float(y.max())) if y.size else (-1.0, 0.0)
        margin = 0.05 * (high - low) + 0.02
        return 0.0, right, low - margin, high + margin

    def _axes(self, painter: QPainter, area: QRectF, ink, limits) -> None:
        left, right, low, high = limits
        if self._log:
            low, high = 10**low, 10**high
        super()._axes(painter, area, ink, (left, right, low, high))

    def paintEvent(self, event) -> None:
        super().paintEvent(event)
        if not self.curves:
            return
        left, right, low, high = self._limits()
        area = self._area()

        def point(x: float, y: float) -> QPointF:
            across = min(max((x - left) / max(right - left, 1e-12), 0), 1)
            up = min(max((y - low) / (high - low), 0), 1)
            return QPointF(area.left() + across * area.width(), area.bottom() - up * area.height())

        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() - 2))
        painter.setFont(font)
        ink = self.palette().color(self.foregroundRole())
        painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
        for at, name in self._stages:
            top = point(at, high)
            if at > left:
                painter.drawLine(top, point(at, low))
            if len(self._stages) > 1 and self._log:
                painter.drawText(QRectF(top.x() + 4, area.top() + 1, 140, 14), 0, name)
        if self._best is not None:
            at = point(*self._best)
            painter.setPen(ink)
            painter.setBrush(ink)
            painter.drawEllipse(at, 3, 3)
            # Under the star when it stands high, and at its left when it stands far right.
            width = painter.fontMetrics().horizontalAdvance(self._best_text) + 6
            x = at.x() - width - 2 if at.x() + width > area.right() else at.x() + 6
            y = at.y() + 4 if at.y() - area.top() < 20 else at.y() - 18
            painter.drawText(QRectF(x, y, width, 14), 0, self._best_text)
        painter.end()


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, so that no more points are drawn than can be told apart."""
    each = -(-len(x) // _MOST_POINTS)
    if each <= 1:
        return x, y
    whole = len(x) // each * each
    return tuple(a[:whole].reshape(-1, each).mean(axis=1) for a in (x, y))


def loss_lines(curve: Curve) -> list[Line]:
    """Training and validation loss of a curve."""
    train = Line("training loss", CYAN, np.array(curve.iterations, float), np.array(curve.loss))
    return [train, Line("validation loss", ORANGE, *curve.numbers("loss"))]


def score_lines(curve: Curve) -> list[Line]:
    """F1, precision and recall of a curve's validations."""
    names = (
        ("f1", "F1", "#ffffff"),
        ("precision", "precision", CYAN),
        ("recall", "recall", ORANGE),
    )
    return [Line(shown, colour, *curve.numbers(name)) for name, shown, colour in names]


class Triptych(QWidget):
    """A validation crop: frame, output of the network, truth; a click shows the next crop."""

    def __init__(self) -> None:
        super().__init__()
        self._pictures: dict[str, np.ndarray] = {}
        self._index = 0
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(1)
        self.views: dict[str, QLabel] = {}
        for column, (name, caption) in enumerate(
            (("frame", "x, projection"), ("output", "output"), ("target", "y_c, truth"))
        ):
            view = QLabel()
            view.setAlignment(Qt.AlignmentFlag.AlignCenter)
            view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
            tame(view, f"Validation: {caption}", "A crop that is never trained on; click for more")
            self.views[name] = view
            grid.addWidget(view, 0, column)
            words = QLabel(f"<small>{caption}</small>")
            words.setAlignment(Qt.AlignmentFlag.AlignCenter)
            words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
            grid.addWidget(words, 1, column)
            grid.setColumnStretch(column, 1)
        grid.setRowStretch(0, 1)
        self.setFixedHeight(128)

    def show_pictures(self, pictures: dict[str, np.ndarray]) -> None:
        """Show other crops ``(k, n, n)`` called frame, output and target."""
        self._pictures = pictures
        self._paint()

    def mousePressEvent(self, event) -> None:
        self._index += 1
        self._paint()

    def resizeEvent(self, event) -> None:
        self._paint()

    def _paint(self) -> None:
        keep, smooth = (
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        for name, view in self.views.items():
            stack = self._pictures.get(name)
            if stack is None or not len(stack):
                view.clear()
                continue
            grey = stretched(stack[self._index % len(stack)])
            rows, cols = grey.shape
            image = QImage(grey.data, cols, rows, cols, QImage.Format.Format_Grayscale8)
            view.setPixmap(QPixmap.fromImage(image.copy()).scaled(view.size(), keep, smooth))


def stretched(image: np.ndarray) -> np.ndarray:
    """A picture as grey levels 0 to 255; counts are stretched, what is 8 bit stays."""
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    low, high = np.percentile(image, (1, 99.7))
    grey = (image - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    return np.ascontiguousarray(np.clip(grey, 0, 255), np.uint8)
