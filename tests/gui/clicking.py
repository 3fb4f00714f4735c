"""Press what a user could press: refuses a control that is hidden or disabled."""

from __future__ import annotations

from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QCheckBox, QComboBox, QWidget


def reachable(widget: QWidget) -> None:
    """Fail unless a user could see the widget in its window and use it."""
    name = f"{type(widget).__name__} '{widget.accessibleName() or widget.toolTip()}'"
    assert widget.isVisibleTo(widget.window()), f"{name} is hidden"
    assert widget.isEnabled(), f"{name} is disabled"


def click(widget: QAbstractButton) -> None:
    """Press a button, or tick a box, with the mouse."""
    reachable(widget)
    place = QPoint(8, widget.height() // 2) if isinstance(widget, QCheckBox) else QPoint()
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place)


def choose(combo: QComboBox, text: str) -> None:
    """Choose an entry of a combo by what it says."""
    reachable(combo)
    at = combo.findText(text)
    assert at >= 0, f"no '{text}' among {[combo.itemText(k) for k in range(combo.count())]}"
    combo.setCurrentIndex(at)
