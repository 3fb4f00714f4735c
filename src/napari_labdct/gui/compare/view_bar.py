"""The buttons of the views, and whether napari's lists step aside for their panels."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QGridLayout, QPushButton, QWidget

from ..app import preferences
from ..widgets.forms import tame
from .views import VIEWS

_CHOICES = (*VIEWS, "leave")
_REMEMBERED = "compare_dock"


class ViewBar(QWidget):
    """A button for each view and one to leave them.

    Attributes
    ----------
    wanted : signal(str)
        One of `VIEWS`, or ``"leave"``.
    widened : signal(bool)
        Whether panels side by side may take the place of napari's lists.
    """

    wanted = Signal(str)
    widened = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        self.buttons = QButtonGroup(self)
        self.buttons.setExclusive(False)
        for k, name in enumerate(_CHOICES):
            made = QPushButton(name.capitalize())
            made.setCheckable(name != "leave")
            tip = "Bring back the layers as they were" if name == "leave" else f"View: {name}"
            key = (k + 1) % len(_CHOICES)
            tame(made, name.capitalize(), f"{tip} (key {key} while this dock has the focus)")
            self.buttons.addButton(made, k)
            grid.addWidget(made, k // 4, k % 4)
        self.buttons.idClicked.connect(lambda k: self.wanted.emit(_CHOICES[k]))
        self.wide = QCheckBox("Wide panels")
        tame(
            self.wide,
            "Wide panels",
            "While panels stand side by side, hide napari's layer list and controls at the left",
        )
        self.wide.setChecked(bool(preferences.load_last(_REMEMBERED).get("wide", True)))
        self.wide.toggled.connect(self._on_wide)
        grid.addWidget(self.wide, 1, 2, 1, 2)

    def show_view(self, mode: str) -> None:
        """Mark the button of the view that is on; none if `mode` is empty."""
        for k, name in enumerate(VIEWS):
            with QSignalBlocker(self.buttons):
                self.buttons.button(k).setChecked(mode == name)

    @staticmethod
    def of_key(text: str) -> str:
        """The view that a key stands for, or an empty text."""
        return dict(zip("123450", _CHOICES)).get(text, "")

    def _on_wide(self, on: bool) -> None:
        preferences.save_last(_REMEMBERED, {"wide": on})
        self.widened.emit(on)
