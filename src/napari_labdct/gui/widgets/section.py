"""A part of a form that folds away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .forms import tame


class Section(QWidget):
    """A group that folds to one line: its title and what it holds.

    Parameters
    ----------
    title : str
    tooltip : str
    open_ : bool
        Unfolded at first.
    """

    def __init__(self, title: str, tooltip: str, open_: bool = False) -> None:
        super().__init__()
        self.title = QToolButton()
        self.title.setText(title)
        self.title.setCheckable(True)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.setAutoRaise(True)
        tame(self.title, title, tooltip)
        self.summary = QLabel()
        self._said = ""
        self.summary.setAccessibleName(f"{title}: summary")
        self.summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.title)
        head.addWidget(self.summary, 1)
        self.inside = QWidget()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self.inside)
        self.title.toggled.connect(self._fold)
        self.title.setChecked(open_)
        self._fold(open_)

    def _fold(self, on: bool) -> None:
        self.inside.setVisible(on)
        self.summary.setText("" if on else self._said)
        self.title.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)

    def fill(self, *things: QWidget | QLayout) -> None:
        """Put things into it, from top to bottom."""
        layout = QVBoxLayout(self.inside)
        layout.setContentsMargins(12, 0, 0, 4)
        layout.setSpacing(4)
        for thing in things:
            if isinstance(thing, QLayout):
                layout.addLayout(thing)
            else:
                layout.addWidget(thing)

    def say(self, text: str) -> None:
        """The summary beside the title of a folded section."""
        self._said = text
        self.summary.setText("" if self.title.isChecked() else text)
        self.summary.setToolTip(text)
