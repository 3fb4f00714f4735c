"""The pictures of a sweep: one parameter of the routine at several values."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QToolButton, QWidget

from ..widgets.forms import tame
from .tasks import Thumbnail


class Thumbnails(QWidget):
    """The pictures of a sweep; a click adopts the parameters of one.

    Attributes
    ----------
    adopted : signal(RoutineSettings)
    """

    adopted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[QToolButton] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        self.hide()

    def clear(self) -> None:
        for made in self.buttons:
            made.deleteLater()
        self.buttons = []
        self.hide()

    def add(self, thumbnail: Thumbnail) -> None:
        """One more picture, three in a row."""
        rows, cols, _ = thumbnail.picture.shape
        image = QImage(
            thumbnail.picture.data, cols, rows, 3 * cols, QImage.Format.Format_RGB888
        ).copy()
        made = QToolButton()
        made.setIcon(QIcon(QPixmap.fromImage(image)))
        made.setIconSize(QSize(80, 80))
        made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        text = f"{thumbnail.value:g}: {thumbnail.count}"
        made.setText(text)
        made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        tame(made, f"{text} spots", "Value: spots found with it. Click to take this value")
        made.clicked.connect(lambda: self.adopted.emit(thumbnail.settings))
        at = len(self.buttons)
        self._grid.addWidget(made, at // 3, at % 3)
        self.buttons.append(made)
        self.show()
