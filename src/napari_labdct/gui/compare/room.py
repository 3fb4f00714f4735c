"""Room for panels side by side: napari's own docks at the left step aside meanwhile."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


class Room:
    """Hides what is docked at the left of a window, and shows it again.

    Parameters
    ----------
    inside : QWidget
        Something in the window.
    """

    def __init__(self, inside: QWidget) -> None:
        self._inside = inside
        self._hidden: list[QDockWidget] = []

    def make(self) -> None:
        """Hide what is at the left, unless it is hidden already or floats."""
        window = self._inside.window()
        if self._hidden or not isinstance(window, QMainWindow):
            return
        for dock in window.findChildren(QDockWidget):
            left = window.dockWidgetArea(dock) == Qt.DockWidgetArea.LeftDockWidgetArea
            if left and not dock.isHidden() and not dock.isFloating():
                if dock.isAncestorOf(self._inside):
                    continue
                self._hidden.append(dock)
        for dock in self._hidden:
            dock.hide()

    def give_back(self) -> None:
        """Show again what `make` has hidden."""
        hidden, self._hidden = self._hidden, []
        for dock in hidden:
            dock.show()
