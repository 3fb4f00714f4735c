"""Which view is on: its buttons, the room it gets, what flickers, what stands in its cells."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from ...evaluation.figures import preset_lines
from ...scan.scan import Scan
from ...spots.matching import Match
from ..app.session import Session
from ..widgets.busy import busy
from .profile_panel import ProfilePanel
from .room import Room
from .view_bar import ViewBar
from .views import GRIDS, CompareView

_FLICKER_MS = 500


class Viewing(QObject):
    """Switches between the views of a scan.

    Parameters
    ----------
    session : Session
    refresh : callable
        Called when what is on the screen must be computed again.
    dock : QWidget
        Whose views they are.

    Attributes
    ----------
    view : CompareView
    bar : ViewBar
    profile : ProfilePanel
    switched : signal(str)
        Another view is on, or none (an empty text).
    said : signal(str)
        A sentence for the status line.
    """

    switched = Signal(str)
    said = Signal(str)

    def __init__(self, session: Session, refresh: Callable[[], None], dock: QWidget) -> None:
        super().__init__(dock)
        self._session = session
        self._refresh = refresh
        self._scan: Scan | None = None
        self._names = ("", "")
        self.view = CompareView(session, self._on_left, refresh)
        self.room = Room(dock)
        self.bar = ViewBar()
        self.bar.wanted.connect(self.switch)
        self.bar.widened.connect(self._make_room)
        self.profile = ProfilePanel()
        self.profile.hide()
        self.profile.preset_wanted.connect(self._preset)
        self.profile.pointed.connect(self.view.point_at)
        self.profile.said.connect(self.said)
        self._flicker = QTimer(self)
        self._flicker.setInterval(_FLICKER_MS)
        self._flicker.timeout.connect(self._flip)
        dock.destroyed.connect(_farewell(self.view, self.room))

    def follow(self, stack: Layer | None, scan: Scan | None) -> None:
        """Another scan is looked at; a view of the one before is left."""
        self._scan = scan
        self.bar.setEnabled(scan is not None)
        if self.view.on and self.view.stack is not stack:
            self.view.leave()
            self._on_left()

    def switch(self, name: str) -> None:
        """Switch to one of `VIEWS`, or ``"leave"``."""
        stack = self._session.stack
        with busy():
            if name == "leave":
                self.view.leave()
                self.room.give_back()
            elif stack is not None and self._scan is not None:
                self._make_room(self.bar.wide.isChecked(), name)
                self.view.enter(stack, name)
            self._show()
        self._refresh()

    def _make_room(self, wide: bool, mode: str | None = None) -> None:
        """napari's lists step aside for panels side by side, and come back for one picture."""
        if wide and (self.view.mode if mode is None else mode) in GRIDS:
            self.room.make()
        else:
            self.room.give_back()

    def _on_left(self) -> None:
        self.room.give_back()
        self._show()

    def _show(self) -> None:
        mode = self.view.mode
        self.bar.show_view(mode)
        self.profile.setVisible(mode == "profile")
        if mode == "flicker":
            self._flicker.start()
        else:
            self._flicker.stop()
        self.switched.emit(mode)

    def _flip(self) -> None:
        which = self.view.flip()
        if which:
            self.said.emit(f"Flicker shows {which.upper()}: {self._names['ab'.index(which)]}")

    def tell(self, a: str, b: str, match: Match | None) -> None:
        """Say in the cells what A and B are and found."""
        self._names = (a, b)
        self.view.set_captions(a, b, match)

    def _preset(self, name: str) -> None:
        if self._scan is not None:
            self.view.set_line(preset_lines(self._scan.shape)[name])


def _farewell(view: CompareView, room: Room) -> Callable[..., None]:
    """What a closed dock leaves behind: the user's layers as they were."""

    def give_back() -> None:
        view.leave()
        with suppress(RuntimeError):  # the window itself is gone
            room.give_back()

    # later, for with the whole window closing there is nothing to bring back
    return lambda *_: QTimer.singleShot(0, give_back)
