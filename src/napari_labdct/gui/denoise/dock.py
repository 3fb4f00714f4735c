"""The Denoise dock: a trained network on the scan, the spots cut from what it gives, and tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QSlider,
    QSpinBox,
    QWidget,
)

from ...core.errors import LabDCTError
from ...networks.denoising import DenoiseSettings
from ...networks.devices import quickest
from ...scan.scan import Scan
from ...spots.binarisation import SpotSettings
from ..app import preferences
from ..app.docks import has_dock, open_dock
from ..app.loaded_model import ModelCard
from ..widgets.combos import narrow_combo
from ..widgets.dock import Dock, button, heading, wrapped
from ..widgets.forms import SettingsForm, tame
from ..widgets.model_choice import ModelChoice
from ..widgets.run_bar import RunBar
from .controller import DenoiseController
from .tasks import disk_bytes, memory_bytes

_PAPER_PX = 1200
_SCOPES = ("This frame", "Range", "Whole stack")


class DenoiseDock(Dock):
    """Model, device, frames, Run; then threshold and spot size, live; then export."""

    title = "Denoise"

    def build(self) -> None:
        self.controller = self.session.controller(DenoiseController)
        self._last = preferences.load_last("denoise_dock")
        self._build_network()
        self._build_spots()
        self._build_footer()
        self._connect()
        self._fill_devices({})

    # -------------------------------------------------------------------- building

    def _build_network(self) -> None:
        self.network = QWidget()
        form = QFormLayout(self.network)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.choice = ModelChoice(
            self.session,
            str(self._last.get("model") or preferences.preference("default_model")),
            self._last.get("recent", []),
            self.network,
        )
        self.model, self.card = self.choice.box, self.choice.label
        self.device = narrow_combo("Device", "Where the network runs; only what this computer has")
        self.scope = narrow_combo(
            "Frames", "Try the frame on the screen first, then the whole stack"
        )
        self.scope.addItems(_SCOPES)
        self.scope.setCurrentText(str(self._last.get("scope", _SCOPES[0])))
        self.first, self.last = QSpinBox(), QSpinBox()
        tame(self.first, "First frame", "First projection, counted from 0")
        tame(self.last, "Last frame", "Last projection, counted from 0, included")
        self._range = QWidget()
        row = QHBoxLayout(self._range)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.first, 1)
        row.addWidget(QLabel("to"))
        row.addWidget(self.last, 1)
        self.output = narrow_combo(
            "Output size", "Size of the cleaned frames; the paper used 1200 px"
        )
        self.output.addItem("Full size", None)
        self.output.addItem("1200 px, as in the paper", _PAPER_PX)
        self.output.setCurrentIndex(1 if self._last.get("output_px") == _PAPER_PX else 0)
        for label, widget in (
            ("Model", self.choice.row),
            ("", self.card),
            ("Device", self.device),
            ("Frames", self.scope),
            ("", self._range),
            ("Output", self.output),
        ):
            if label:
                form.addRow(label, widget)
            else:
                form.addRow(widget)
        self.form = SettingsForm(
            DenoiseSettings, exclude=("model", "device", "output_px"), remember_as="denoise"
        )
        form.addRow(self.form)
        self.body.addWidget(self.network)
        self.estimate = wrapped()
        self.estimate.setAccessibleName("What the run needs")
        self.body.addWidget(self.estimate)

    def _build_spots(self) -> None:
        self.body.addWidget(heading("Spots, live"))
        self.spots = QWidget()
        grid = QGridLayout(self.spots)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        hint = (
            "Cleaned pixels at or above it are spot. Acts at once; the network does not run again."
        )
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.threshold = QSpinBox()
        for control in (self.slider, self.threshold):
            control.setRange(1, 255)
            control.setValue(SpotSettings().threshold)
            tame(control, "Threshold", hint)
        label = self.threshold_label = QLabel("Threshold")
        label.setBuddy(self.threshold)
        grid.addWidget(label, 0, 0)
        grid.addWidget(self.threshold, 0, 1)
        grid.addWidget(self.slider, 1, 0, 1, 2)
        self.spot_form = SettingsForm(
            SpotSettings, exclude=("threshold",), remember_as="spots", reset_button=False
        )
        grid.addWidget(self.spot_form, 2, 0, 1, 2)
        self.count = wrapped()
        self.count.setAccessibleName("Number of spots")
        grid.addWidget(self.count, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self.body.addWidget(self.spots)
        self.track_button = button(
            "Track through the rotation",
            "A reflection goes on over the detector as the sample turns: spots that the "
            "projections before and after have too become surer, others less so. Takes seconds "
            "and makes a result of its own.",
            self._track,
        )
        self.body.addWidget(self.track_button)
        self.track_hint = wrapped()
        self.track_hint.setAccessibleName("What tracks still need")
        self.body.addWidget(self.track_hint)
        row = QHBoxLayout()
        self.export_button = button(
            "Export binary stack...",
            "Write the spots as 8-bit TIFF (0 and 255), one page a projection, same order",
            self._export,
        )
        self.save_button = button(
            "Save cleaned...", "Write the cleaned frames (0 to 255) as TIFF", self._save
        )
        row.addWidget(self.export_button)
        row.addWidget(self.save_button)
        self.body.addLayout(row)

    def _build_footer(self) -> None:
        self.bar = RunBar(self.controller.job, "Denoise")
        self.export_bar = RunBar(self.controller.export_job, "Export", quiet=True)
        self.compare = button(
            "Compare with the routine",
            "Open the Compare dock: the network beside the standard routine",
            self._compare,
        )
        self.compare.hide()
        self.show_button = button(
            "Show the result",
            "The layers of this run were removed; bring them back",
            self.controller.show_result,
        )
        self.show_button.hide()
        for widget in (self.bar, self.show_button, self.compare, self.export_bar):
            self.footer.addWidget(widget)

    def _connect(self) -> None:
        self.choice.changed.connect(self._remember)
        self.choice.read.connect(self._on_card)
        self.choice.refused.connect(self._show_ready)
        self.choice.said.connect(self.say)
        self.device.activated.connect(self._remember)
        self.scope.currentIndexChanged.connect(self._scope_changed)
        self.output.currentIndexChanged.connect(self._remember)
        self.form.changed.connect(self._show_estimate)
        self.first.valueChanged.connect(self._show_estimate)
        self.last.valueChanged.connect(self._show_estimate)
        self.slider.valueChanged.connect(self._threshold_moved)
        self.threshold.valueChanged.connect(self._threshold_moved)
        self.spot_form.changed.connect(self._cut)
        self.bar.run_requested.connect(self._run)
        self.bar.discard_requested.connect(self.controller.discard)
        self.controller.job.changed.connect(self._show_state)
        self.controller.cut.connect(self._show_count)
        self.controller.said.connect(self.say)
        self.session.results_changed.connect(self._on_results)
        self.session.frame_changed.connect(self._on_frame)

    # ----------------------------------------------------------------------- model

    def use_model(self, model: str) -> None:
        """Choose a model by its name or file, as if the user had."""
        self.choice.choose(model)
        self._remember()

    def _on_card(self, card: ModelCard) -> None:
        self._fill_devices(card.devices)
        if self.controller.mask_layer(self.session.stack) is None:
            self._set_threshold(int(card.info["threshold"]))
        self._show_estimate()
        self._show_ready()

    def _fill_devices(self, devices: dict[str, str]) -> None:
        wanted = self._last.get("device") or preferences.preference("device")
        best = quickest(devices)
        with QSignalBlocker(self.device):
            self.device.clear()
            self.device.addItem(f"Auto ({devices.get(best, 'CPU')})", "auto")
            for name, what in devices.items():
                self.device.addItem(f"{name}: {what}", name)
            self.device.setCurrentIndex(max(0, self.device.findData(wanted)))

    # -------------------------------------------------------------------- settings

    def settings(self) -> DenoiseSettings:
        """What the form says.

        Raises
        ------
        SettingsError
            A value is refused.
        """
        return self.form.settings().replace(
            model=self.choice.model,
            device=self.device.currentData() or "auto",
            output_px=self.output.currentData(),
        )

    def spot_settings(self) -> SpotSettings:
        """Threshold and minimum size as shown."""
        return self.spot_form.settings().replace(threshold=self.threshold.value())

    def frames(self, scan: Scan) -> range:
        """The projections that Run would clean."""
        scope = self.scope.currentText()
        if scope == "This frame":
            index = self.session.shown_frame()
            return range(index, index + 1)
        if scope == "Range":
            low, high = sorted((self.first.value(), self.last.value()))
            return range(low, high + 1)
        return range(scan.n_frames)

    def _remember(self, *_: object) -> None:
        self._last.update(
            model=self.choice.model,
            recent=self.choice.recent,
            device=self.device.currentData(),
            scope=self.scope.currentText(),
            output_px=self.output.currentData(),
        )
        preferences.save_last("denoise_dock", self._last)
        self._show_estimate()

    def _scope_changed(self, *_: object) -> None:
        self._range.setVisible(self.scope.currentText() == "Range")
        self._remember()

    # --------------------------------------------------------------------- running

    def _run(self) -> None:
        layer = self.session.stack
        if layer is None or not self.choice.model:
            return
        try:
            settings = self.settings()
            frames = self.frames(self.session.scan(layer))
            spots = self.spot_settings()
        except LabDCTError as error:
            self.say(str(error))
            return
        self.controller.start(layer, settings, frames, spots if self.choice.card else None)

    def _track(self) -> None:
        layer = self.session.stack
        if layer is None:
            return
        try:
            self.controller.track(layer, self.spot_settings())
        except LabDCTError as error:
            self.say(str(error))

    def _show_track(self) -> None:
        layer = self.session.stack
        there = self.controller.cleaned_layer(layer) is not None and not self.problem
        why_not = self.controller.why_no_tracks(layer) if there else ""
        self.track_button.setEnabled(there and not why_not and not self.controller.job.running)
        self.track_hint.setText(f"<small>{why_not}</small>")
        self.track_hint.setVisible(bool(why_not))

    def _show_state(self) -> None:
        job = self.controller.job
        self._show_track()
        self.network.setEnabled(not job.running)
        self._show_removed()
        self.compare.setVisible(job.state == "done" and has_dock("Compare"))

    def _show_removed(self) -> None:
        self.show_button.setVisible(self.controller.removed_result(self.session.stack))

    def _show_ready(self, refused: str = "") -> None:
        scan_ok = self.session.stack is not None and not self.problem
        if not scan_ok:
            self.bar.set_ready(False, self.problem or "Open a scan first")
        elif refused or self.choice.error:
            self.bar.set_ready(False, refused or self.choice.error)
        else:
            self.bar.set_ready(True)

    def _compare(self) -> None:
        viewer = self.session.viewer
        if viewer is not None:
            open_dock(viewer, "Compare")

    def _show_estimate(self, *_: object) -> None:
        layer = self.session.stack
        if layer is None or self.problem:
            self.estimate.setText("")
            return
        try:
            scan, settings = self.session.scan(layer), self.settings()
        except LabDCTError as error:
            self.estimate.setText(str(error))
            return
        card = self.choice.card.info if self.choice.card else {}
        window = settings.median_window or card.get("median_window", 31)
        uses_median = settings.use_median and scan.n_frames >= 3
        ram = memory_bytes(scan, window if uses_median else 0, card.get("network", "compact"))
        disk = disk_bytes(scan, settings.output_px)
        text = f"Needs about {_size(ram)} of memory and {_size(disk)} on disk."
        if not settings.use_median:
            text += " Without the rolling median the network is clearly weaker."
        elif not uses_median:
            text += (
                f" A scan of {scan.n_frames} has no rolling median; single frames come out weaker."
            )
        self.estimate.setText(f"<small>{text}</small>")

    # ----------------------------------------------------------------------- spots

    def _set_threshold(self, value: int) -> None:
        for control in (self.slider, self.threshold):
            with QSignalBlocker(control):
                control.setValue(value)

    def _threshold_moved(self, value: int) -> None:
        self._set_threshold(value)
        self._cut()

    def _cut(self, *_: object) -> None:
        layer = self.session.stack
        if layer is None:
            return
        try:
            self.controller.set_spots(layer, self.spot_settings())
        except LabDCTError as error:
            self.say(str(error))

    def _show_count(self, count: int, index: int) -> None:
        if index == self.session.shown_frame():
            self.count.setText(f"{count} spot{'s' if count != 1 else ''} in frame {index}")

    def _on_frame(self) -> None:
        self._show_undone()
        self.controller.recount(self.session.stack)

    def _show_undone(self) -> None:
        """Say that the projection on the screen was not denoised, which is not "no spots"."""
        stack = self.session.stack
        if self.controller.mask_layer(stack) is not None and not self.controller.is_done(stack):
            frame = self.session.shown_frame(stack)
            self.count.setText(f"Frame {frame} is not denoised yet")

    def _on_results(self, layer: Layer) -> None:
        if layer is self.session.stack:
            self._show_results(layer)

    def _show_results(self, layer: Layer | None) -> None:
        mask = self.controller.mask_layer(layer)
        self.spots.setEnabled(mask is not None)
        self.export_button.setEnabled(mask is not None)
        self.save_button.setEnabled(self.controller.cleaned_layer(layer) is not None)
        self._show_targets(layer)
        self._show_removed()
        self._show_track()
        self._show_undone()
        if mask is None:
            self.count.setText("<small>Denoise a frame to see its spots.</small>")

    def _show_targets(self, layer: Layer | None) -> None:
        """Say in the words on the controls which of several results they act on."""
        results = self.controller.cleaned_layer(layer), self.controller.mask_layer(layer)
        cleaned, mask = (f" {_brackets(layer, made)}" if made else "" for made in results)
        self.export_button.setText(f"Export{mask or ' binary stack'}...")
        self.save_button.setText(f"Save{cleaned or ' cleaned'}...")
        self.threshold_label.setText(f"Threshold{mask and ' of' + mask}")

    # ---------------------------------------------------------------------- saving

    def _export(self) -> None:
        self._ask_and_write("Export the binary stack", "spots", self.controller.export)

    def _save(self) -> None:
        self._ask_and_write("Save the cleaned scan", "cleaned", self.controller.save_cleaned)

    def _ask_and_write(self, title: str, what: str, write: Any) -> None:
        layer = self.session.stack
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
            self.say(str(error))

    def _accept_gaps(self, layer: Layer) -> bool:
        """Ask before frames that are not denoised are written as empty ones."""
        cleaned = self.controller.cleaned_layer(layer)
        done = getattr(getattr(cleaned, "data", None), "done", None)
        if done is None or bool(done.all()):
            return True
        text = (
            f"Only {int(done.sum())} of {done.size} projections are denoised; the others would "
            "be written empty. Write the file all the same?"
        )
        answer = QMessageBox.question(self, "Not all projections are denoised", text)
        return answer == QMessageBox.StandardButton.Yes

    # ------------------------------------------------------------------- the stack

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        if scan is not None:
            for box, value in ((self.first, 0), (self.last, scan.n_frames - 1)):
                with QSignalBlocker(box):
                    box.setRange(0, scan.n_frames - 1)
                    box.setValue(value)
        self._range.setVisible(self.scope.currentText() == "Range")
        mask = self.controller.mask_layer(layer)
        if mask is not None:
            settings = mask.data.settings
            self._set_threshold(settings.threshold)
            self.spot_form.set_settings(settings, quietly=True)
            self.controller.recount(layer)
        self._show_results(layer)
        self._show_estimate()
        self._show_ready()
        self._show_state()


def _brackets(stack: Layer | None, result: Layer) -> str:
    """What stands behind the scan's name in the name of a result, as ``[DL tracked]``."""
    prefix = "" if stack is None else f"{stack.name} "
    return result.name.removeprefix(prefix)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e8 else f"{max(1, n_bytes / 1e6):.0f} MB"
