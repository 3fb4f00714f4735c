"""The Background dock: the steps of Appendix A on the projection shown, then the whole scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
)

from ...background import Card, ExtractionSettings
from ...core.errors import LabDCTError, SettingsError
from ...scan.scan import Scan
from ..widgets.dock import Dock, button, heading, wrapped
from ..widgets.forms import SettingsForm, tame
from ..widgets.run_bar import RunBar
from .controller import BackgroundController
from .pairs_controller import PairsController
from .pairs_form import PairsForm
from .tasks import STEPS, Shown

# Long enough for a number to be typed, short enough to feel at once.
_REST_MS = 400
_PICTURE_PX = 56
_SETS_SEEN = 3
_PROJECTION = "a: projection"


class BackgroundDock(Dock):
    """Background of any scan, and the sets made of them.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    needs_stack = False

    def build(self) -> None:
        self.controller: BackgroundController = self.session.controller(BackgroundController)
        self._usable = False
        self.form = SettingsForm(ExtractionSettings, remember_as="background")
        self.body.addWidget(self.form)
        self._build_steps()
        self._build_sets()
        self.pairs = PairsForm(self.session.controller(PairsController))
        self.body.addWidget(self.pairs)
        self.run_bar = RunBar(self.controller.job, "Extract", "step")
        self.run_bar.run_requested.connect(self._extract)
        self.run_bar.discard_requested.connect(self.controller.discard)
        self.footer.addWidget(self.run_bar)

        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._show_steps)
        self.form.changed.connect(self._on_changed)
        self.form.refused.connect(self._on_refused)
        c = self.controller
        c.shown.connect(self._on_shown)
        c.steps_job.changed.connect(self._on_steps_state)
        c.sets.listed.connect(self._on_listed)
        c.file_job.ended.connect(self._on_file_ended)
        self.session.frame_changed.connect(self._on_frame)
        self._show_buttons()
        c.sets.read()

    # ------------------------------------------------------------------- the widgets

    def _build_steps(self) -> None:
        row = QHBoxLayout()
        self.steps_button = button(
            "Show steps", "Show what each step does to the projection on the screen", self._ask
        )
        self.step_shown = QComboBox()
        self.step_shown.addItems((_PROJECTION, *STEPS))
        self.step_shown.setCurrentText(STEPS[3])
        self.step_shown.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.step_shown.setMinimumContentsLength(8)
        tame(self.step_shown, "Step shown", "Which of the images to look at (Fig. 11 a to f)")
        self.step_shown.currentTextChanged.connect(self.controller.show_only)
        self.follow = QCheckBox("Follow")
        self.follow.setChecked(True)
        tame(self.follow, "Follow changes", "Show again when a setting or the projection changes")
        row.addWidget(self.steps_button)
        row.addWidget(self.step_shown, 1)
        row.addWidget(self.follow)
        self.body.addLayout(row)
        self.note = wrapped()
        self.note.setAccessibleName("Steps: result")
        self.note.hide()
        self.body.addWidget(self.note)

    def _build_sets(self) -> None:
        self.body.addWidget(heading("Background sets"))
        self.sets = QListWidget()
        self.sets.setIconSize(QSize(_PICTURE_PX, _PICTURE_PX))
        self.sets.setUniformItemSizes(True)
        self.sets.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.sets.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sets.setTextElideMode(Qt.TextElideMode.ElideRight)
        tame(
            self.sets, "Background sets",
            "Backgrounds that were extracted; choose one, or several for a training set",
        )  # fmt: skip
        self.sets.itemSelectionChanged.connect(self._show_buttons)
        self.sets.itemDoubleClicked.connect(self._show_set)
        self.body.addWidget(self.sets)
        self.sets_note = wrapped()
        self.sets_note.setAccessibleName("Background sets: result")
        self.body.addWidget(self.sets_note)
        row = QHBoxLayout()
        self.show_button = button("Show", "Show the mean background of the set", self._show_set)
        self.save_button = button("Save as...", "Copy the set to a file", self._save_set)
        self.delete_button = button("Delete...", "Delete the set", self._delete_set)
        self.add_button = button("Add...", "Add a set from a file to the list", self._add_set)
        for one in (self.show_button, self.save_button, self.delete_button, self.add_button):
            row.addWidget(one)
        row.addStretch()
        self.body.addLayout(row)

    # ------------------------------------------------------------------------- stack

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        """Offer the run if the stack is a scan."""
        self._usable = scan is not None
        self.pairs.set_scan(scan)
        self._show_ready()
        if layer is None:
            self.say("Open a scan to extract its background.")

    def _show_ready(self, refused: str = "") -> None:
        why = refused or self.problem or ("" if self._usable else "Open a scan first.")
        self.run_bar.set_ready(not why, why)
        self.steps_button.setEnabled(not why)

    # ------------------------------------------------------------------------- steps

    def _ask(self) -> None:
        if self.controller.has_steps or self.controller.steps_job.running:
            self.controller.hide_steps()
            self._tell("")
            self.steps_button.setText("Show steps")
        else:
            self._show_steps()

    def _show_steps(self) -> None:
        self._rest.stop()
        stack = self.session.stack
        if stack is None or not self._usable:
            return
        try:
            settings = self.form.settings()
        except SettingsError as error:
            self._tell(str(error))
            return
        self.steps_button.setText("Hide steps")
        self.controller.show_only(self.step_shown.currentText())
        self.controller.show_steps(stack, settings)

    def _on_changed(self, _settings: ExtractionSettings) -> None:
        if self.follow.isChecked() and self.controller.has_steps:
            self._rest.start()

    def _on_frame(self) -> None:
        if self.follow.isChecked() and self.controller.has_steps:
            self._rest.start()

    def _on_refused(self, sentence: str) -> None:
        self._show_ready(sentence)
        if sentence:
            self._rest.stop()
            self._tell(sentence)

    def _on_shown(self, shown: Shown) -> None:
        self._tell(shown.sentence)

    def _on_steps_state(self) -> None:
        job = self.controller.steps_job
        if job.state == "failed":
            self._tell(job.error)
            self.steps_button.setText("Hide steps" if self.controller.has_steps else "Show steps")
        elif job.state == "stopped" and not self.controller.has_steps:
            self._tell("")
            self.steps_button.setText("Show steps")
        elif job.state == "running":
            step = job.progress
            count = f" {step.done} of {step.total}" if step.total else ""
            self._tell(f"{step.message or 'Working'}{count}...")

    def _tell(self, sentence: str) -> None:
        self.note.setText(sentence)
        self.note.setVisible(bool(sentence))

    # --------------------------------------------------------------------------- run

    def _extract(self) -> None:
        stack = self.session.stack
        if stack is None:
            return
        try:
            self.controller.extract(stack, self.form.settings())
        except LabDCTError as error:
            self.say(str(error))

    # -------------------------------------------------------------------------- sets

    def _on_listed(self, found: list[tuple[Path, Card | str]]) -> None:
        chosen = self._all_chosen()
        self.sets.clear()
        for path, card in found:
            item = QListWidgetItem(self.sets)
            item.setData(Qt.ItemDataRole.UserRole, str(path))
            if isinstance(card, str):
                item.setText(path.stem)
                item.setToolTip(card)
            else:
                rows, cols = card.shape
                plural = "s" if card.n_frames != 1 else ""
                item.setText(
                    f"{card.name}\n{card.n_frames} projection{plural}, {rows} x {cols}\n"
                    f"noise variance {card.gain:.2g} x level"
                )
                item.setIcon(QIcon(_pixmap(card.thumbnail)))
                item.setToolTip(f"{path}\n{card.created}")
            if path in chosen:
                item.setSelected(True)
        # as high as its entries, for space is short; three at most, then it scrolls
        self.sets.setFixedHeight(min(max(len(found), 1), _SETS_SEEN) * (_PICTURE_PX + 8) + 4)
        self.sets.setVisible(bool(found))
        if not found:
            self.sets_note.setText("None yet. Extract makes one of the open scan.")
        self.sets_note.setVisible(not found)
        self._show_buttons()

    def _all_chosen(self) -> tuple[Path, ...]:
        items = self.sets.selectedItems()
        return tuple(sorted(Path(x.data(Qt.ItemDataRole.UserRole)) for x in items))

    def _chosen(self) -> Path | None:
        chosen = self._all_chosen()
        return chosen[0] if len(chosen) == 1 else None

    def _show_buttons(self) -> None:
        chosen = self._chosen() is not None
        for one in (self.show_button, self.save_button, self.delete_button):
            one.setEnabled(chosen)
        self.pairs.set_sets(self._all_chosen())

    def _show_set(self, *_: object) -> None:
        path = self._chosen()
        if path is not None:
            self.controller.show_set(path)

    def _save_set(self) -> None:
        path = self._chosen()
        if path is None:
            return
        target, _ = QFileDialog.getSaveFileName(
            self, "Save the background set", path.name, "Background sets (*.h5)"
        )
        if target:
            self.controller.export_set(path, Path(target).with_suffix(".h5"))

    def _add_set(self) -> None:
        source, _ = QFileDialog.getOpenFileName(
            self, "Add a background set", "", "Background sets (*.h5 *.hdf5)"
        )
        if source:
            self.controller.import_set(Path(source))

    def _delete_set(self) -> None:
        path = self._chosen()
        if path is None:
            return
        asked = QMessageBox.question(
            self, "Delete background set", f"Delete {path.name}? This cannot be undone."
        )
        if asked == QMessageBox.StandardButton.Yes:
            try:
                self.controller.delete_set(path)
            except LabDCTError as error:
                self._say_of_sets(str(error))

    def _on_file_ended(self, state: str) -> None:
        job = self.controller.file_job
        self._say_of_sets(job.error if state == "failed" else job.note)

    def _say_of_sets(self, sentence: str) -> None:
        self.say(sentence or self.status.text())


def _pixmap(picture: np.ndarray) -> QPixmap:
    picture = np.ascontiguousarray(picture)
    rows, cols = picture.shape
    image = QImage(picture.data, cols, rows, cols, QImage.Format.Format_Grayscale8).copy()
    return QPixmap.fromImage(image).scaled(
        _PICTURE_PX,
        _PICTURE_PX,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
