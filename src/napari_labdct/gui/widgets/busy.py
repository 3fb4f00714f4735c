"""The busy cursor while the window cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication


@contextmanager
def busy() -> Iterator[None]:
    """Show the busy cursor until what was asked for is done and drawn."""
    QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
    try:
        yield
    finally:
        QTimer.singleShot(0, QApplication.restoreOverrideCursor)  # after it was drawn
