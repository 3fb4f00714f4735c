"""The part of the Background dock that mixes: preview of a pair, and a training set."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import SettingsError
from ...scan.scan import Scan
from ...training.crops.own_scan_settings import TrainingSetSettings
from ..widgets.dock import button, heading, wrapped
from ..widgets.forms import SettingsForm, tame
from ..widgets.run_bar import RunBar
from .pairs_controller import Mixed, PairsController, Wanted

# A slider sends many values while it is dragged; the last one counts.
_REST_MS = 120


class PairsForm(QWidget):
    """Mixing preview with I0 and tau, and "Make a training set".

    Parameters
    ----------
    controller : PairsController
    """

    def __init__(self, controller: PairsController) -> None:
        super().__init__()
        self.controller = controller
        self._paths: tuple[Path, ...] = ()
        self._scan: Scan | None = None
        self._number = 0
        self._refused = self._said = ""
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._show_pair)
        self._build()
        self.form.changed.connect(self._on_changed)
        self.form.refused.connect(self._on_refused)
        controller.shown.connect(self._on_shown)
        controller.preview_job.changed.connect(self._on_preview_state)
        self._show_ready()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(heading("Training pairs"))
        self.form = SettingsForm(
            TrainingSetSettings, exclude=("i0", "tau"), remember_as="training set"
        )
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        self.i0, self.i0_text = self._slider(
            rows, "Background level I0", 10, 250, 110, "Background level, grey"
        )
        self.tau, self.tau_text = self._slider(
            rows, "Noise level tau", 0, 40, 10, "Noise level of eq. 2"
        )
        self.own_geometry = QCheckBox("Geometry of the open scan")
        tame(
            self.own_geometry, "Geometry of the open scan",
            "Simulate in the geometry of the open scan instead of the paper's; it must be "
            "described in the Scan dock",
        )  # fmt: skip
        self.own_geometry.toggled.connect(self._on_changed)
        row = QHBoxLayout()
        self.preview_button = button(
            "Preview", "Mix one pair of the chosen sets: x, and y_c over it", self._ask
        )
        self.next_button = button("Next pair", "Preview another pair", self._ask_next)
        row.addWidget(self.preview_button)
        row.addWidget(self.next_button)
        row.addStretch()
        self.note = wrapped()
        self.note.setAccessibleName("Training pair: result")
        self.note.hide()
        self.run_bar = RunBar(self.controller.job, "Make a training set", "pair")
        self.run_bar.run_requested.connect(self._make)
        self.run_bar.discard_requested.connect(self.controller.discard)
        layout.addLayout(row)
        layout.addLayout(rows)
        layout.addWidget(self.note)
        layout.addWidget(self.form)
        layout.addWidget(self.own_geometry)
        layout.addWidget(self.run_bar)

    def _slider(self, rows: QFormLayout, name: str, low: int, high: int, start: int, tip: str):
        slider, text = QSlider(Qt.Orientation.Horizontal), QLabel()
        slider.setRange(low, high)
        slider.setValue(start)
        tame(slider, name, tip)
        text.setMinimumWidth(text.fontMetrics().horizontalAdvance("0000"))
        row = QHBoxLayout()
        row.addWidget(slider, 1)
        row.addWidget(text)
        rows.addRow(name, row)
        slider.valueChanged.connect(self._on_changed)
        return slider, text

    # -------------------------------------------------------------------- what is asked for

    def settings(self) -> TrainingSetSettings:
        """The values of form and sliders.

        Raises
        ------
        SettingsError
            A value is out of range.
        """
        settings = self.form.settings()
        if settings.output == "8-bit":
            settings = settings.replace(i0=float(self.i0.value()), tau=self.tau.value() / 10)
        return settings

    def set_sets(self, paths: tuple[Path, ...]) -> None:
        """Use other background sets."""
        if paths != self._paths:
            self._paths = paths
            self._on_changed()
        self._show_ready()

    def set_scan(self, scan: Scan | None) -> None:
        """Follow the open scan, whose geometry may be used."""
        self._scan = scan
        known = scan is not None and not scan.missing_for("predicted spots")
        self.own_geometry.setEnabled(known)
        if not known:
            self.own_geometry.setChecked(False)

    def _wanted(self) -> Wanted:
        scan = self._scan if self.own_geometry.isChecked() else None
        return Wanted(self._paths, self.settings(), scan, self._number)

    def _show_ready(self) -> None:
        why = self._refused or ("" if self._paths else "Choose background sets in the list above.")
        self.run_bar.set_ready(not why, why)
        shown = self.controller.has_preview or self.controller.preview_job.running
        self.preview_button.setText("Hide preview" if shown else "Preview")
        self.preview_button.setEnabled(shown or not why)
        self.next_button.setEnabled(not why)
        paper = self.form.controls["output"].value == "8-bit"
        for slider, text in ((self.i0, self.i0_text), (self.tau, self.tau_text)):
            slider.setEnabled(paper)
            text.setEnabled(paper)
        self.i0_text.setText(str(self.i0.value()))
        self.tau_text.setText(f"{self.tau.value() / 10:g}")

    # ----------------------------------------------------------------------------- preview

    def _ask(self) -> None:
        if self.controller.has_preview or self.controller.preview_job.running:
            self._rest.stop()
            self.controller.hide_preview()
            self._said = ""
            self._tell("")
            self._show_ready()
        else:
            self._show_pair()

    def _ask_next(self) -> None:
        self._number += 1
        self._show_pair()

    def _on_changed(self, *_: object) -> None:
        self._show_ready()
        if self.controller.has_preview:
            self._rest.start()

    def _on_refused(self, sentence: str) -> None:
        self._refused = sentence
        if sentence:
            self._rest.stop()
            self._tell(sentence)
        self._show_ready()

    def _show_pair(self) -> None:
        self._rest.stop()
        if not self._paths:
            return
        try:
            wanted = self._wanted()
        except SettingsError as error:
            self._tell(str(error))
            return
        # the number wraps, as a set has only so many pairs
        self._number = wanted.number % wanted.settings.pairs
        self.controller.preview(self._wanted())
        self._show_ready()

    def _on_shown(self, mixed: Mixed) -> None:
        self._said = mixed.sentence
        self._tell(mixed.sentence)
        self._show_ready()

    def _on_preview_state(self) -> None:
        job = self.controller.preview_job
        if job.state == "failed":
            self._tell(job.error)
        elif job.state == "running":
            self._tell(f"{job.progress.message or 'Mixing'}...")
        elif job.state == "done":  # the last word, whatever came late from the job
            self._tell(self._said)
        self._show_ready()

    def _tell(self, sentence: str) -> None:
        self.note.setText(sentence)
        self.note.setVisible(bool(sentence))

    # --------------------------------------------------------------------------------- set

    def _make(self) -> None:
        try:
            wanted = self._wanted()
        except SettingsError as error:
            self._tell(str(error))
            return
        folder = QFileDialog.getExistingDirectory(self, "An empty folder for the training set")
        if folder:
            self.controller.make(wanted, Path(folder))
