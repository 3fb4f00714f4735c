"""The docks of the manifest: opened as tabs of one another, and all at once as a workspace."""

from __future__ import annotations

from collections.abc import Callable

from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from .preferences import PLUGIN

#: The way from a scan to its spots and grains, in the order of work; a dock each.
WAY = ("Scan", "Denoise", "Compare", "Review", "Grains")
_OURS = "napari-labdct dock"


def has_dock(name: str) -> bool:
    """Whether the manifest has a dock called `name`."""
    from npe2 import PluginManager

    try:
        manifest = PluginManager.instance().get_manifest(PLUGIN)
    except KeyError:
        return False
    return any(w.display_name == name for w in manifest.contributions.widgets or ())


def open_dock(viewer: Viewer, name: str) -> QWidget:
    """Open one of this package's docks as a tab beside the others, or bring it to the front."""
    frame, panel = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    join_tabs(panel)
    frame.show()
    frame.raise_()
    return panel


def soon(owner: QWidget, call: Callable[[], object]) -> None:
    """Call something when the event at hand is over, unless the owner is gone by then."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.timeout.connect(call)
    timer.timeout.connect(timer.deleteLater)
    timer.start(0)


def join_tabs(panel: QWidget) -> bool:
    """Make a panel's dock a tab of the first one of this package; True if it has become one."""
    mine, window = frame_of(panel), main_window(panel)
    if mine is None or window is None:
        return False
    first = next(
        (
            frame
            for frame in window.findChildren(QDockWidget)
            if frame is not mine and frame.property(_OURS) and not frame.isHidden()
            and not frame.isFloating()
        ),
        None,
    )  # fmt: skip
    if mine.property(_OURS):  # where the user has put it
        return False
    mine.setProperty(_OURS, True)
    mine.setWindowTitle(panel.title)
    if first is None or mine.isFloating():
        return False
    window.tabifyDockWidget(first, mine)
    mine.raise_()
    return True


def main_window(panel: QWidget) -> QMainWindow | None:
    """The window that a panel's dock belongs to, also while the dock floats."""
    frame = frame_of(panel)
    window = None if frame is None else frame.parentWidget()
    return window if isinstance(window, QMainWindow) else None


def frame_of(panel: QWidget) -> QDockWidget | None:
    """The dock widget that napari put a panel into."""
    widget = panel.parentWidget()
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


class Workspace(QWidget):
    """Plugins > LabDCT > Workspace: opens every dock of `WAY` and goes away itself.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._opened = False

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if not self._opened:
            self._opened = True
            soon(self, self._open)

    def _open(self) -> None:
        self._viewer.window.remove_dock_widget(frame_of(self))
        for name in WAY:
            open_dock(self._viewer, name)
        open_dock(self._viewer, WAY[0])
        self.deleteLater()
