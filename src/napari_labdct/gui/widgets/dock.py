"""The frame of every dock: order of work, stack, body, run bar, status line.

A dock derives from `Dock`, fills `body` in `build` and follows the stack in `show_stack`.
"""

from __future__ import annotations

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError
from ...io.formats import dialog_filter
from ...scan.scan import Scan
from ..app import first_run
from ..app.docks import WAY, frame_of, join_tabs, main_window, open_dock, soon
from ..app.session import Session, session_of
from .combos import StackCombo
from .forms import tame
from .help_window import show_help


class _Column(QScrollArea):
    """Scrolls up and down only, so it is never narrower than what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        if self.widget() is not None:
            bar = self.verticalScrollBar().sizeHint().width()
            hint.setWidth(self.widget().minimumSizeHint().width() + bar)
        return hint

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)


class Dock(QWidget):
    """Base of the docks.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.

    Attributes
    ----------
    title : str
        As in the menu; on the dock's tab, and marked in the line of steps if it is one of them.
    page : str
        The page of the documentation that its ``?`` opens.
    session : Session
    body : QVBoxLayout
        To be filled in `build`; scrolls when it is too tall.
    footer : QVBoxLayout
        Under the scrolling part: the run bar.
    """

    title = ""
    page = "tutorial.md"
    #: Whether the dock is of no use while no scan is open.
    needs_stack = True

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.session: Session = session_of(napari_viewer)
        self.session.watch_soon(self)
        self.session.warm_up()
        self._problem = ""
        self._placed = self._behind = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(6)
        layout.addLayout(self._steps_line())
        self.combo = StackCombo(self.session)
        row = QFormLayout()
        row.addRow("Scan", self.combo)
        layout.addLayout(row)
        self.empty = _EmptyState(self)
        layout.addWidget(self.empty, 1)

        self.content = QWidget()
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(0, 0, 4, 0)
        self.body.setSpacing(6)
        self.scroll = _Column()
        self.scroll.setWidget(self.content)
        layout.addWidget(self.scroll, 1)
        self.footer = QVBoxLayout()
        self.footer.setSpacing(4)
        layout.addLayout(self.footer)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setAccessibleName("Status")
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(self.status)

        self.build()
        self.body.addStretch(1)
        self.session.stack_changed.connect(self._on_stack)
        self.session.scan_changed.connect(self._on_scan)
        self._on_stack(self.session.stack)

    # ------------------------------------------------------- for the docks to fill

    def build(self) -> None:
        """Fill `body` and `footer`; called once."""

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        """Follow the active stack; `scan` is None if there is none or it is unusable."""

    # ------------------------------------------------------------------- the frame

    @property
    def problem(self) -> str:
        """Why the active stack cannot be used; empty if it can."""
        return self._problem

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        if self.status.text() != text:
            self.status.setText(text)
        self.status.setVisible(bool(text))

    def showEvent(self, event) -> None:
        super().showEvent(event)
        if not self._placed:  # napari has put it into the window by then
            self._placed = True
            frame = frame_of(self)
            if frame is not None:
                frame.visibilityChanged.connect(self._on_front)
            size = self.window().size()  # before it grows for one dock below another
            soon(self, lambda: self._join_tabs(size))

    @property
    def behind(self) -> bool:
        """Whether another tab hides the dock: Qt calls both of them visible."""
        return self._behind

    def came_to_front(self) -> None:
        """The dock's tab was chosen; begin with what waited for it."""

    def _on_front(self, visible: bool) -> None:
        self._behind = not visible
        if visible:
            self.came_to_front()

    def _join_tabs(self, size: QSize) -> None:
        if join_tabs(self) and not self.window().isMaximized():
            soon(self, lambda: self.window().resize(size))

    def _steps_line(self) -> QHBoxLayout:
        """The order of work; each step opens its dock."""
        row = QHBoxLayout()
        row.setSpacing(0)
        for k, name in enumerate(WAY):
            if k:
                row.addWidget(QLabel("\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"))
            step = QToolButton()
            step.setAutoRaise(True)
            step.setText(name)
            step.setCheckable(True)
            step.setChecked(name == self.title)
            font = step.font()
            font.setBold(name == self.title)
            step.setFont(font)
            here = "This dock" if name == self.title else f"Open the {name} dock"
            tame(step, f"Step {k + 1} of {len(WAY)}: {name}", f"{here}: step {k + 1} of the work")
            step.clicked.connect(lambda _=False, s=step, n=name: self._go_to(s, n))
            row.addWidget(step)
        row.addStretch(1)
        self.help = QToolButton()
        self.help.setAutoRaise(True)
        self.help.setText("?")
        tame(self.help, f"Help on {self.title}", "What this dock does, and how: the page on it")
        self.help.clicked.connect(lambda: show_help(main_window(self) or self, self.page))
        row.addWidget(self.help)
        return row

    def _go_to(self, step: QToolButton, name: str) -> None:
        step.setChecked(name == self.title)
        viewer = self.session.viewer
        if name != self.title and viewer is not None:
            open_dock(viewer, name)

    def _on_scan(self, layer: Layer) -> None:
        if layer is self.session.stack:
            self._on_stack(layer)

    def _on_stack(self, layer: Layer | None) -> None:
        scan, self._problem = None, ""
        if layer is not None:
            try:
                scan = self.session.scan(layer)
            except LabDCTError as error:
                self._problem = str(error)
        self.empty.setVisible(layer is None and self.needs_stack)
        self.scroll.setVisible(layer is not None or not self.needs_stack)
        self.content.setEnabled(scan is not None or not self.needs_stack)
        self.say(self._problem or (describe(scan) if scan is not None else ""))
        self.show_stack(layer, scan)


def describe(scan: Scan) -> str:
    """One line on a scan for the status line."""
    rows, cols = scan.shape
    plural = "s" if scan.n_frames != 1 else ""
    text = f"{scan.n_frames} projection{plural}, {rows} x {cols}, {scan.dtype.name}"
    if scan.omega_deg is not None:
        text += f", {scan.omega_deg[0]:g} to {scan.omega_deg[-1]:g} deg"
    return text


def heading(text: str) -> QLabel:
    """A section's title."""
    label = QLabel(f"<b>{text}</b>")
    label.setContentsMargins(0, 4, 0, 0)
    return label


def wrapped(text: str = "") -> QLabel:
    """A text that breaks into lines as the dock gets narrow."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def button(text: str, tooltip: str, clicked=None) -> QPushButton:
    """A push button with its accessible name and tooltip."""
    made = QPushButton(text)
    tame(made, text, tooltip)
    if clicked is not None:
        made.clicked.connect(clicked)
    return made


class _EmptyState(QWidget):
    """What a dock says when no scan is open, with the buttons that help."""

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._session = dock.session
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 8)
        layout.addWidget(
            wrapped(
                "<b>No scan is open.</b><br>Open the projections (one TIFF, or a folder of "
                "them), drop them on the window, or try the sample."
            )
        )
        row = QHBoxLayout()
        row.addWidget(
            button("Open files...", "Open one or several files as one scan", self._ask_files)
        )
        row.addWidget(
            button("Open folder...", "Open a folder of projections as one scan", self._ask_folder)
        )
        row.addWidget(
            button("Open sample", "Open the small scan that comes with LabDCT", self._sample)
        )
        layout.addLayout(row)
        layout.addWidget(self._offer())
        self.message = wrapped()
        self.message.hide()
        layout.addWidget(self.message)
        layout.addStretch(1)
        self._session.job("open").changed.connect(self._show_opening)

    def _offer(self) -> QWidget:
        """Five steps for a newcomer, until they were taken or declined."""
        self.offer = QWidget()
        row = QHBoxLayout(self.offer)
        row.setContentsMargins(0, 8, 0, 0)
        row.addWidget(QLabel("New to LabDCT?"))
        row.addWidget(
            button("Show me around", "Five steps on the sample scan, a minute each", self._around)
        )
        row.addWidget(button("No, thanks", "Do not offer this again", self._decline))
        row.addStretch(1)
        return self.offer

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self.offer.setVisible(first_run.wanted())

    def _around(self) -> None:
        self.offer.hide()
        self._sample()
        viewer, window = self._session.viewer, main_window(self)
        if viewer is not None and window is not None:
            first_run.show_around(viewer, window)

    def _decline(self) -> None:
        first_run.decline()
        self.offer.hide()

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open the projections", "", dialog_filter())
        if paths:
            self.open(paths)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a folder of projections")
        if path:
            self.open([path])

    def _sample(self) -> None:
        from ...core.errors import ScanError
        from ...io.sample import sample_folder

        try:
            self.open([str(sample_folder() / "demo")])
        except ScanError as error:
            self._fail(str(error))

    def open(self, paths: list[str]) -> None:
        """Open a scan in the background."""
        self._session.open(paths, self._fail)

    def _show_opening(self) -> None:
        if self._session.job("open").running:
            self._fail("Opening...")
        elif self.message.text() == "Opening...":
            self._fail("")

    def _fail(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))
