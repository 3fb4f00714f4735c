"""The Simulate dock: a virtual sample, one projection of it at once, then the whole scan."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QSpinBox,
)

from ...core.errors import LabDCTError, SettingsError
from ...scan.scan import Scan
from ...simulation.prediction import PredictSettings, command_line, missing_for_prediction
from ...simulation.settings import SimulateSettings
from ..app import preferences
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import SettingsForm, tame, with_button
from ..widgets.grains_view import GrainsView
from ..widgets.run_bar import RunBar
from ..widgets.section import Section
from .controller import SimulateController
from .form import SimulateForm
from .preview import Preview
from .tasks import disk_bytes

# Long enough for a number to be typed, short enough to feel at once.
_REST_MS = 500
# From here on the user is asked before a scan is written.
_LARGE_BYTES = 1e9


class SimulateDock(Dock):
    """Virtual scans, and predicted spots on any scan.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    title = "Simulate"
    needs_stack = False

    def build(self) -> None:
        self.controller: SimulateController = self.session.controller(SimulateController)
        self._settings: SimulateSettings | None = None
        self._wants_preview = False
        self._offered = ""
        self.form = SimulateForm()
        self.body.addWidget(self.form)
        self._build_preview()
        self.grains = GrainsView()
        self.grains_section = Section("Grains", "The sample in 3D, coloured by orientation")
        _put(self.grains_section, self.grains)
        self.grains_section.say("in 3D, coloured by orientation")
        self.body.addWidget(self.grains_section)
        self._build_predict()
        self._build_footer()

        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._preview_now)
        self.form.changed.connect(self._on_changed)
        self.form.refused.connect(self._on_refused)
        self.form.map_chosen.connect(self._on_map_chosen)
        c = self.controller
        c.previewed.connect(self._on_previewed)
        c.preview_job.changed.connect(self._on_preview_state)
        c.grains_made.connect(self._on_grains)
        c.map_read.connect(self._on_map_read)
        c.map_job.ended.connect(self._on_map_ended)
        c.job.changed.connect(self._show_ready)
        c.job.ended.connect(self._on_generated)
        c.predict_job.changed.connect(self._show_predict)
        c.predict_job.ended.connect(self._on_predict_ended)
        self.session.results_changed.connect(self._show_predict)
        try:
            self._adopt(self.form.settings())
        except SettingsError as error:
            self._on_refused(str(error))

    # ------------------------------------------------------------------- the widgets

    def _build_preview(self) -> None:
        row = QHBoxLayout()
        self.preview_button = button(
            "Preview", "Make the sample and project one frame of it", self._ask_preview
        )
        self.index = QSpinBox()
        tame(self.index, "Projection to preview", "Number of the projection to preview")
        self.index.setPrefix("projection ")
        self.index.setKeyboardTracking(False)
        self.index.valueChanged.connect(self._on_index)
        self.live = QCheckBox("Follow")
        self.live.setChecked(True)
        tame(self.live, "Follow changes", "Preview again whenever a setting changes")
        row.addWidget(self.preview_button)
        row.addWidget(self.index, 1)
        row.addWidget(self.live)
        self.body.addLayout(row)
        self.note = wrapped()
        self.note.setAccessibleName("Preview: result")
        self.note.hide()
        self.body.addWidget(self.note)

    def _build_predict(self) -> None:
        self.predict_section = Section(
            "Predicted spots", "Where the grains of a map should be seen on the open scan"
        )
        self.predict_section.say("of a grain map, on the open scan")
        self.predict_form = SettingsForm(
            PredictSettings, exclude=("grain_map", "y_flip"), reset_button=False
        )
        self.map_line = QLineEdit()
        self.map_line.setPlaceholderText("GrainMapper3D HDF5 file")
        tame(self.map_line, "Grain map for prediction", "Grain map whose spots are predicted")
        self.map_line.textChanged.connect(self._show_predict)
        self.mirror = QCheckBox("Mirror the grains in y")
        tame(self.mirror, "Mirror the grains in y", "For maps of the other handedness")
        self.predict_button = button(
            "Show predicted spots", "Circles that follow the slider", self._on_predict
        )
        self.scan_button = button(
            "Open the Scan dock", "Enter what is missing in the Scan dock", self._open_scan_dock
        )
        self.predict_note = wrapped()
        box = QHBoxLayout()
        box.addWidget(self.predict_button)
        box.addWidget(self.scan_button)
        browse = with_button(self.map_line, "h5...", "Choose the grain map", self._ask_map)
        _put(
            self.predict_section,
            browse,
            self.predict_form,
            self.mirror,
            self.predict_note,
            box,
        )
        self.body.addWidget(self.predict_section)

    def _build_footer(self) -> None:
        self.place = QLabel()
        self.place.setWordWrap(True)
        self.place.setAccessibleName("Folder of the simulated scan")
        self._folder: Path | None = None
        row = QHBoxLayout()
        row.addWidget(self.place, 1)
        row.addWidget(
            button("Copy", "Copy the command line that makes the same scan", self._copy_command)
        )
        row.addWidget(button("Folder...", "Choose where the simulated scan goes", self._ask_folder))
        self.footer.addLayout(row)
        self.run_bar = RunBar(self.controller.job, "Generate", "projection")
        self.run_bar.run_requested.connect(self._generate)
        self.run_bar.discard_requested.connect(self.controller.discard)
        self.footer.addWidget(self.run_bar)

    # ---------------------------------------------------------------------- settings

    def _adopt(self, settings: SimulateSettings) -> None:
        self._settings = settings
        self.index.setRange(0, settings.frames - 1)
        self.index.setSuffix(f" at {settings.omega_deg[self.index.value()]:g} deg")
        self._show_ready()

    def _on_changed(self, settings: SimulateSettings) -> None:
        self._adopt(settings)
        if self._wants_preview and self.live.isChecked():
            self._rest.start()

    def _on_index(self, _value: int) -> None:
        if self._settings is not None:
            self._on_changed(self._settings)

    def _on_refused(self, sentence: str) -> None:
        if sentence:
            self._settings = None
            self._rest.stop()
        self._tell(sentence)
        self._show_ready()

    def _tell(self, sentence: str) -> None:
        self.note.setText(sentence)
        self.note.setVisible(bool(sentence))

    # ----------------------------------------------------------------------- preview

    def _ask_preview(self) -> None:
        self._wants_preview = True
        self._preview_now()

    def _preview_now(self) -> None:
        self._rest.stop()
        if self._settings is not None:
            self.controller.preview(self._settings, self.index.value())

    def _on_preview_state(self) -> None:
        job = self.controller.preview_job
        if job.state == "failed":
            self._tell(job.error)
        elif job.running and not self.note.text():
            self._tell(f"{job.progress.message or 'Starting'}...")

    def _on_previewed(self, made: Preview) -> None:
        self._tell(made.sentence)

    def _on_grains(self, grains) -> None:
        self.grains.show_grains(grains)
        shown = grains.map
        self.grains_section.say(f"{shown.n_grains}, {shown.diameters_um.mean():.3g} um on average")

    # --------------------------------------------------------------------- grain map

    def _on_map_chosen(self, path: str) -> None:
        self.controller.read_map(path)

    def _on_map_read(self, settings: SimulateSettings) -> None:
        """Take what the file knows; everything else stays as it is in the form."""
        try:
            now = self.form.settings()
        except SettingsError:
            return
        own = ("source_sample_mm", "sample_detector_mm", "tube_kv", "material", "frames",
               "start_deg", "step_deg", "sample", "grain_map")  # fmt: skip
        taken = {name: getattr(settings, name) for name in own}
        self.form.set_settings(now.replace(**taken))

    def _on_map_ended(self, state: str) -> None:
        if state == "failed":
            self._tell(self.controller.map_job.error)

    # -------------------------------------------------------------------- whole scan

    def folder(self) -> Path | None:
        """Where the scan of the present settings goes."""
        settings = self._settings
        if settings is None:
            return None
        values = json.dumps(settings.to_dict(), sort_keys=True)
        name = (
            f"{settings.sample.replace(' ', '_')}-{hashlib.sha256(values.encode()).hexdigest()[:8]}"
        )
        if self._folder is not None:
            return self._folder
        return preferences.cache_folder() / "simulated" / name

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for the simulated scan")
        if path:
            self.set_folder(Path(path))

    def set_folder(self, folder: Path | None) -> None:
        """Choose the folder of the next scan; None brings back the folder for results."""
        self._folder = folder
        self._show_ready()

    def _show_ready(self) -> None:
        settings, folder = self._settings, self.folder()
        if settings is not None:
            self.place.setText(f"{_size(disk_bytes(settings))} in {_short(folder)}")
            self.place.setToolTip(str(folder))
        self.run_bar.set_ready(settings is not None, "The settings are refused; see above.")
        self.preview_button.setEnabled(settings is not None)

    def _copy_command(self) -> None:
        if self._settings is not None:
            QApplication.clipboard().setText(command_line(self._settings, self.folder()))

    def _generate(self) -> None:
        settings, folder = self._settings, self.folder()
        if settings is not None and self._accept_size(settings):
            self._rest.stop()
            self._wants_preview = False
            self.controller.generate(settings, folder)

    def _accept_size(self, settings: SimulateSettings) -> bool:
        """Ask before gigabytes are written; a run that goes on was asked about before."""
        size = disk_bytes(settings)
        if size < _LARGE_BYTES or self.controller.job.resumable:
            return True
        text = (
            f"This scan of {settings.frames} projections takes {_size(size)} in "
            f"{self.folder()}. Write it?"
        )
        answer = QMessageBox.question(self, "A large scan", text)
        return answer == QMessageBox.StandardButton.Yes

    # --------------------------------------------------------------- predicted spots

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self._offer_map(scan)
        self._show_predict()

    def _on_generated(self, _state: str) -> None:
        # its layer is there before its grain map is
        stack = self.session.stack
        self._offer_map(None if stack is None or self.problem else self.session.scan(stack))
        self._show_predict()

    def _offer_map(self, scan: Scan | None) -> None:
        """Offer the grain map that lies beside the scan."""
        offered = ""
        if scan is not None and scan.source:
            source = Path(scan.source)
            beside = (source if source.is_dir() else source.parent) / "grains.h5"
            offered = str(beside) if beside.exists() else ""
        # A path that the user typed stays; one offered for another scan goes.
        if self.map_line.text() in ("", self._offered):
            self.map_line.setText(offered)
        self._offered = offered

    def _show_predict(self, *_: object) -> None:
        stack, job = self.session.stack, self.controller.predict_job
        about = self.controller.predicted
        mine = about is not None and about() is stack
        missing: list[str] = []
        said = self.problem
        if stack is None:
            said = "Open or generate a scan first."
        elif not said:
            missing = missing_for_prediction(self.session.scan(stack))
            if missing:
                said = f"'{stack.name}' lacks: {', '.join(missing)}."
            elif job.running:
                said = f"Projection {job.progress.done} of {job.progress.total}..."
            elif job.state == "failed" and mine:
                said = job.error
            elif job.state == "done" and mine:
                said = job.note
        self.predict_note.setText(said)
        self.predict_note.setVisible(bool(said))
        self.scan_button.setVisible(bool(missing))
        ready = stack is not None and not self.problem and not missing and not job.running
        self.predict_button.setEnabled(ready and bool(self.map_line.text().strip()))

    def _ask_map(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Grain map", "", "Grain maps (*.h5 *.hdf5)")
        if path:
            self.map_line.setText(path)

    def _on_predict(self) -> None:
        stack = self.session.stack
        try:
            settings = self.predict_form.settings().replace(
                grain_map=self.map_line.text().strip(), y_flip=self.mirror.isChecked()
            )
            self.controller.predict(stack, settings)
        except LabDCTError as error:
            self.predict_note.setText(str(error))

    def _on_predict_ended(self, _state: str) -> None:
        self._show_predict()

    def _open_scan_dock(self) -> None:
        viewer = self.session.viewer
        if viewer is not None:
            viewer.window.add_plugin_dock_widget("napari-labdct", "Scan", tabify=True)


def _put(section: Section, *things) -> None:
    """Fill a section from top to bottom."""
    from qtpy.QtWidgets import QLayout, QVBoxLayout

    layout = QVBoxLayout(section.inside)
    layout.setContentsMargins(12, 0, 0, 4)
    layout.setSpacing(4)
    for thing in things:
        if isinstance(thing, QLayout):
            layout.addLayout(thing)
        else:
            layout.addWidget(thing)


def _size(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _short(folder: Path | None) -> str:
    """The end of a long path."""
    parts = [] if folder is None else folder.parts
    return str(folder) if len(parts) <= 3 else str(Path("...", *parts[-2:]))
