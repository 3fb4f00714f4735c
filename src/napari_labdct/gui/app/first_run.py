"""Five steps on the sample scan for somebody who opens the plugin for the first time."""

from __future__ import annotations

from dataclasses import dataclass

from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMainWindow, QPushButton, QToolBar, QWidget

from . import preferences
from .docks import open_dock

_KEPT = "first_run"


@dataclass(frozen=True)
class Step:
    """One step: the dock it happens in, and what to do there."""

    dock: str
    text: str


STEPS = (
    Step(
        "Scan",
        "This is the sample scan: 24 projections of aluminium. Move the slider under the picture: "
        "spots come and go as the sample turns. The Scan dock holds what is known of it.",
    ),
    Step(
        "Denoise",
        "Choose <i>This projection</i> and press <i>Denoise</i>. The network's spots appear in "
        "cyan. <i>Whole stack</i> then does all projections.",
    ),
    Step(
        "Compare",
        "Here the network stands beside the standard routine, live. Press <i>Side by side</i>, "
        "then move the sliders of the routine.",
    ),
    Step(
        "Review",
        "Every spot of this projection is in the table. Walk with the arrow keys: A accepts, "
        "R rejects, Ctrl+Z takes back. It saves itself.",
    ),
    Step(
        "Review",
        "The <i>Export</i> page of this dock writes masks, labels and tables. That is all: now "
        "open your own scan with File > Open. The <b>?</b> in each dock opens its page.",
    ),
)


def wanted() -> bool:
    """Whether the steps may still be offered: they were neither done nor declined."""
    return not preferences.load_last(_KEPT).get("ended", False)


def decline() -> None:
    """Never offer the steps again."""
    preferences.save_last(_KEPT, {"ended": True})


class FirstRun(QWidget):
    """The line below the picture that says what to do next.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Attributes
    ----------
    ended : signal
        The last step is done, or the user has had enough.
    """

    ended = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.index = 0
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.back = QPushButton("Back")
        self.next = QPushButton("Next")
        self.skip = QPushButton("Skip the rest")
        self.back.setToolTip("The step before")
        self.next.setToolTip("Opens the dock of the next step")
        self.skip.setToolTip("Close this; it will not be offered again")
        self.back.clicked.connect(lambda: self._go(self.index - 1))
        self.next.clicked.connect(lambda: self._go(self.index + 1))
        self.skip.clicked.connect(self._end)
        self.setMaximumHeight(4 * self.fontMetrics().height())  # wrapped text asks for far more
        row = QHBoxLayout(self)
        row.addWidget(self.text, 1)
        for button in (self.back, self.next, self.skip):
            row.addWidget(button)

    def start(self) -> None:
        """Show the first step."""
        self._go(0)

    def _go(self, index: int) -> None:
        if index >= len(STEPS):
            self._end()
            return
        self.index = index
        step, last = STEPS[index], index == len(STEPS) - 1
        self.text.setText(f"<b>Step {index + 1} of {len(STEPS)}: {step.dock}.</b> {step.text}")
        self.back.setEnabled(index > 0)
        self.next.setText("Done" if last else "Next")
        self.skip.setVisible(not last)
        open_dock(self._viewer, step.dock)

    def _end(self) -> None:
        decline()
        self.ended.emit()


def show_around(viewer: Viewer, window: QMainWindow) -> FirstRun:
    """Begin the five steps at the bottom of a window; the caller opens the sample."""
    guide = FirstRun(viewer)
    bar = QToolBar("First steps")  # lower than a dock, whose title needs the room of three lines
    bar.setObjectName("LabDCT first steps")  # napari keeps the place of what has a name
    bar.setMovable(False)
    bar.addWidget(guide)
    window.addToolBar(Qt.ToolBarArea.BottomToolBarArea, bar)
    guide.ended.connect(bar.deleteLater)
    guide.ended.connect(lambda: window.removeToolBar(bar))
    decline()  # taken once, it is not offered in the next dock or the next time
    guide.start()
    return guide
