"""Combo boxes of the docks: the one stack chooser, and those of long entries."""

from __future__ import annotations

import weakref

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QWidget

from ..app.session import Session
from .forms import tame


def narrow_combo(name: str, tooltip: str) -> QComboBox:
    """A combo box that is not as wide as its longest entry."""
    combo = QComboBox()
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(10)
    tame(combo, name, tooltip)
    return combo


class StackCombo(QComboBox):
    """Shows and sets the session's active stack; follows renaming, opening and removal."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._layers: list[weakref.ref[Layer]] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        tame(self, "Scan", "The projection stack that all LabDCT docks work on")
        session.stacks_changed.connect(self._fill)
        session.stack_changed.connect(self._fill)
        self.activated.connect(self._chosen)
        self._fill()

    def _fill(self, _layer: object = None) -> None:
        stacks = self._session.stacks()
        with QSignalBlocker(self):
            self.clear()
            self._layers = [weakref.ref(layer) for layer in stacks]
            self.addItems([layer.name for layer in stacks])
            active = self._session.stack
            self.setCurrentIndex(stacks.index(active) if active in stacks else -1)
        self.setEnabled(bool(stacks))

    def _chosen(self, index: int) -> None:
        layer = self._layers[index]()
        if layer is not None:
            self._session.set_stack(layer)
