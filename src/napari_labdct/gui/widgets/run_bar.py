"""The bar under every dock that runs something: Run, Cancel, how far, what went wrong."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..app.job import WatchedJob
from .forms import tame


class RunBar(QWidget):
    """Shows one `Job` and lets the user start, cancel, resume or discard it.

    The bar never starts work itself: it says what the user wants.

    Parameters
    ----------
    job : WatchedJob
    verb : str
        What the button says when nothing runs, for example "Denoise".
    unit : str
        What is counted, for example "projection"; empty if steps mean nothing to a user: then
        shares and the time left are shown.
    quiet : bool
        For jobs that another button starts: nothing is shown until the job begins.
    cancel : (str, str)
        What the button says while the job runs, and while it is being cancelled.

    Attributes
    ----------
    run_requested, discard_requested : signal
        The user pressed Run, or Discard for a stopped job.
    """

    run_requested = Signal()
    discard_requested = Signal()

    def __init__(
        self,
        job: WatchedJob,
        verb: str = "Run",
        unit: str = "projection",
        quiet: bool = False,
        cancel: tuple[str, str] = ("Cancel", "Cancelling..."),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._job = job
        self._verb = verb
        self._unit = unit
        self._quiet = quiet
        self._cancel = cancel
        self._ready = True
        self._why_not = ""
        self._about = ""
        self._build()
        job.changed.connect(self._show)
        self._show()

    def _build(self) -> None:
        self.button = QPushButton(self._verb)
        self.button.clicked.connect(self._pressed)
        self.button.setMinimumWidth(92)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        tame(self.bar, "Progress", "How much is done")
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.resume_button = QPushButton("Resume")
        tame(self.resume_button, "Resume", "Go on where it stopped; what is done is kept")
        self.resume_button.clicked.connect(self._job.resume)
        self.discard_button = QPushButton("Discard")
        tame(self.discard_button, "Discard", "Delete what was done and forget this run")
        self.discard_button.clicked.connect(self.discard_requested)
        self.details_button = QPushButton("Details")
        self.details_button.setCheckable(True)
        tame(self.details_button, "Details", "What a developer needs to know of the fault")
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setMaximumHeight(110)
        tame(self.details, "Details of the fault", "What a developer needs to know of the fault")
        self.details_button.toggled.connect(self.details.setVisible)

        top = QHBoxLayout()
        top.addWidget(self.button)
        top.addWidget(self.bar, 1)
        self._buttons = QWidget()
        row = QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.resume_button, self.discard_button, self.details_button):
            row.addWidget(button)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.label)
        layout.addWidget(self._buttons)
        layout.addWidget(self.details)
        self.details.hide()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def set_ready(self, ready: bool, why_not: str = "") -> None:
        """Whether Run may be pressed; `why_not` becomes its tooltip."""
        self._ready = ready
        self._why_not = why_not
        self._show()

    def set_about(self, name: str) -> None:
        """Say whose run this is, if it is not that of the scan the dock shows; empty: its own."""
        if name != self._about:
            self._about = name
            self._show()

    def _pressed(self) -> None:
        if self._job.state == "running":
            self._job.cancel()
        elif not self._job.running:
            self.run_requested.emit()

    def _show(self) -> None:
        job = self._job
        state = job.state
        running = job.running
        words = dict(zip(("running", "cancelling"), self._cancel))
        text = words.get(state, self._verb)
        if self.button.text() != text:
            self.button.setText(text)
            self.button.setAccessibleName(text)
        self.button.setEnabled(state == "running" or (not running and self._ready))
        hint = {
            "running": "Stop after the present projection; what is done is kept",
            "cancelling": "Waiting for the present projection to end",
        }.get(state, "" if self._ready else self._why_not)
        self.button.setToolTip(hint or self._verb)
        if self._quiet:
            self.setVisible(state != "idle")
            self.button.setVisible(running)
        done, total = job.progress.done, job.progress.total
        self.bar.setVisible(state in ("running", "cancelling", "done", "stopped"))
        self.bar.setRange(0, total if total or not running else 0)
        self.bar.setValue(done)
        text = f"{done} / {total}" if self._unit else "%p %"
        self.bar.setFormat(text if total else "")
        if not total and not running:
            self.bar.hide()
        said = self._sentence()
        self._set_text(f"'{self._about}': {said}" if said and self._about else said)
        self.resume_button.setVisible(job.resumable)
        self.discard_button.setVisible(job.resumable)
        self.details_button.setVisible(state == "failed" and bool(job.details))
        if job.details != self.details.toPlainText():
            self.details.setPlainText(job.details)
        if state != "failed":
            self.details_button.setChecked(False)
        self._buttons.setVisible(job.resumable)

    def _set_text(self, text: str) -> None:
        if self.label.text() != text:
            self.label.setText(text)
        self.label.setVisible(bool(text))

    def _sentence(self) -> str:
        """The line under the bar."""
        job = self._job
        done, total = job.progress.done, job.progress.total
        if job.state == "failed":
            return job.error
        if job.state == "stopped":
            at = f"{done} of {total}" if self._unit else f"{done / max(total, 1):.0%}"
            return f"Stopped at {at}." if total else "Stopped before it began."
        if job.state == "done":
            return " ".join(p for p in (self._finished(), job.note) if p)
        if not job.running:
            return ""
        if not total:
            return f"{job.progress.message or 'Starting'}..."
        parts = []
        if job.seconds_per_step is not None:
            if self._unit:
                parts.append(f"{_time(job.seconds_per_step)} a {self._unit}")
            if job.state == "running":
                parts.append(f"{_time(job.seconds_left)} left")
        return ", ".join(parts) + (f". {job.note}" if job.note and parts else job.note)

    def _finished(self) -> str:
        total = self._job.progress.total
        if not total or not self._unit:
            return "Done."
        return f"Done: {total} {self._unit}{'s' if total != 1 else ''}."


def _time(seconds: float | None) -> str:
    """A time as one reads it: 0.21 s, 12 s, 3 min."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
