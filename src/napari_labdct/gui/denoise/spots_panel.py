"""The lower half of the Denoise dock: threshold and spot size, live, tracks and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError
from ...spots.binarisation import SpotSettings
from ..widgets.dock import button, heading, wrapped
from ..widgets.forms import SettingsForm, WholeBox, tame
from .controller import DenoiseController

if TYPE_CHECKING:
    from ..app.session import Session


class SpotsPanel(QWidget):
    """How the newest network result of the active stack is cut, and where it is written.

    Parameters
    ----------
    session : Session
    controller : DenoiseController

    Attributes
    ----------
    said : signal(str)
        A sentence for the status line.
    """

    said = Signal(str)

    def __init__(self, session: Session, controller: DenoiseController) -> None:
        super().__init__()
        self._session, self._controller = session, controller
        self._usable = False
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)
        self._build_cut()
        self._build_buttons()
        self.slider.valueChanged.connect(self._threshold_moved)
        self.threshold.valueChanged.connect(self._threshold_moved)
        self.form.changed.connect(self._cut)
        controller.spots.cut.connect(self._show_count)
        session.frame_changed.connect(self._on_frame)

    def _build_cut(self) -> None:
        self._layout.addWidget(heading("Spots, live"))
        self.controls = QWidget()
        grid = QGridLayout(self.controls)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        hint = (
            "Pixels of the network result at or above it are spot. Acts at once; the network does "
            "not run again."
        )
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.threshold = WholeBox()
        for control in (self.slider, self.threshold):
            control.setRange(1, 255)
            control.setValue(SpotSettings().threshold)
            tame(control, "Threshold", hint)
        label = self.threshold_label = QLabel("Threshold")
        label.setBuddy(self.threshold)
        grid.addWidget(label, 0, 0)
        grid.addWidget(self.threshold, 0, 1)
        grid.addWidget(self.slider, 1, 0, 1, 2)
        self.form = SettingsForm(
            SpotSettings, exclude=("threshold",), remember_as="spots", reset_button=False
        )
        grid.addWidget(self.form, 2, 0, 1, 2)
        self.count = wrapped()
        self.count.setAccessibleName("Number of spots")
        grid.addWidget(self.count, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._layout.addWidget(self.controls)

    def _build_buttons(self) -> None:
        self.track_button = button(
            "Track through the rotation",
            "A reflection goes on over the detector as the sample turns: spots that the "
            "projections before and after have too become surer, others less so. Takes seconds "
            "and makes a result of its own.",
            self._track,
        )
        self._layout.addWidget(self.track_button)
        self.track_hint = wrapped()
        self.track_hint.setAccessibleName("What tracks still need")
        self._layout.addWidget(self.track_hint)
        row = QHBoxLayout()
        self.export_button = button(
            "Export mask...",
            "Write the mask as 8-bit TIFF (0 and 255), one page a projection, same order",
            self._export,
        )
        self.save_button = button(
            "Save network result...",
            "Write the network result (0 to 255) as TIFF, one page a projection",
            self._save,
        )
        row.addWidget(self.export_button)
        row.addWidget(self.save_button)
        self._layout.addLayout(row)

    # -------------------------------------------------------------------- settings

    def settings(self) -> SpotSettings:
        """Threshold and minimum size as shown."""
        return self.form.settings().replace(threshold=self.threshold.value())

    def set_threshold(self, value: int) -> None:
        """Show another threshold; nothing is cut."""
        for control in (self.slider, self.threshold):
            with QSignalBlocker(control):
                control.setValue(value)

    def _threshold_moved(self, value: int) -> None:
        self.set_threshold(value)
        self._cut()

    def _cut(self, *_: object) -> None:
        layer = self._session.stack
        if layer is None:
            return
        try:
            self._controller.spots.set_spots(layer, self.settings())
        except LabDCTError as error:
            self.said.emit(str(error))

    def _show_count(self, count: int, index: int) -> None:
        if index == self._session.shown_frame():
            self.count.setText(f"{count} spot{'s' if count != 1 else ''} in projection {index}")

    def _on_frame(self) -> None:
        self._show_undone()
        self._controller.spots.recount(self._session.stack)

    def _show_undone(self) -> None:
        """Say that the projection on the screen was not denoised, which is not "no spots"."""
        stack = self._session.stack
        if self._controller.mask_layer(stack) is not None and not self._controller.is_done(stack):
            frame = self._session.shown_frame(stack)
            self.count.setText(f"Projection {frame} is not denoised yet")

    # ------------------------------------------------------------------ what is there

    def show_stack(self, layer: Layer | None, usable: bool) -> None:
        """Follow the active stack; `usable` is False if it is no scan."""
        self._usable = usable
        mask = self._controller.mask_layer(layer)
        if mask is not None:
            settings = mask.data.settings
            self.set_threshold(settings.threshold)
            self.form.set_settings(settings, quietly=True)
            self._controller.spots.recount(layer)
        self.show_results(layer)

    def show_results(self, layer: Layer | None) -> None:
        """The stack has one result more or less."""
        mask = self._controller.mask_layer(layer)
        self.controls.setEnabled(mask is not None)
        self.export_button.setEnabled(mask is not None)
        self.save_button.setEnabled(self._controller.cleaned_layer(layer) is not None)
        self._show_targets(layer)
        self.show_track()
        self._show_undone()
        if mask is None:
            self.count.setText("<small>Denoise a projection to see its spots.</small>")

    def _show_targets(self, layer: Layer | None) -> None:
        """Say in the words on the controls which of several results they act on."""
        results = self._controller.cleaned_layer(layer), self._controller.mask_layer(layer)
        cleaned, mask = (f" {_brackets(layer, made)}" if made else "" for made in results)
        self.export_button.setText(f"Export{mask or ' mask'}...")
        self.save_button.setText(f"Save{cleaned or ' network result'}...")
        self.threshold_label.setText(f"Threshold{mask and ' of' + mask}")

    # ---------------------------------------------------------------------- tracks

    def _track(self) -> None:
        layer = self._session.stack
        if layer is None:
            return
        try:
            self._controller.track(layer, self.settings())
        except LabDCTError as error:
            self.said.emit(str(error))

    def show_track(self) -> None:
        """Whether the spots can be tracked, or why not."""
        layer = self._session.stack
        there = self._controller.cleaned_layer(layer) is not None and self._usable
        why_not = self._controller.why_no_tracks(layer) if there else ""
        self.track_button.setEnabled(there and not why_not and not self._controller.job.running)
        self.track_hint.setText(f"<small>{why_not}</small>")
        self.track_hint.setVisible(bool(why_not))

    # ---------------------------------------------------------------------- saving

    def _export(self) -> None:
        self._ask_and_write("Export the mask", "mask", self._controller.files.write_mask)

    def _save(self) -> None:
        self._ask_and_write(
            "Save the network result", "denoised", self._controller.files.write_result
        )

    def _ask_and_write(self, title: str, what: str, write: Any) -> None:
        layer = self._session.stack
        if layer is None or not self._accept_gaps(layer):
            return
        path, _ = QFileDialog.getSaveFileName(
            self, title, f"{layer.name}_{what}.tif", "TIFF (*.tif *.tiff)"
        )
        if not path:
            return
        target = Path(path)
        if target.suffix.lower() not in (".tif", ".tiff"):
            target = target.with_name(target.name + ".tif")
        try:
            write(layer, target)
        except LabDCTError as error:
            self.said.emit(str(error))

    def _accept_gaps(self, layer: Layer) -> bool:
        """Ask before frames that are not denoised are written as empty ones."""
        cleaned = self._controller.cleaned_layer(layer)
        done = getattr(getattr(cleaned, "data", None), "done", None)
        if done is None or bool(done.all()):
            return True
        text = (
            f"Only {int(done.sum())} of {done.size} projections are denoised; the others would "
            "be written empty. Write the file all the same?"
        )
        answer = QMessageBox.question(self, "Not all projections are denoised", text)
        return answer == QMessageBox.StandardButton.Yes


def _brackets(stack: Layer | None, result: Layer) -> str:
    """What stands behind the scan's name in the name of a result, as ``[tracked result]``."""
    prefix = "" if stack is None else f"{stack.name} "
    return result.name.removeprefix(prefix)
