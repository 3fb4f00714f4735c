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
    QMessageBox,
    QSpinBox,
)

from ...core.errors import SettingsError
from ...scan.scan import Scan
from ...simulation.prediction import command_line
from ...simulation.settings import SimulateSettings
from ..app import preferences
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import tame
from ..widgets.grains_view import GrainsView
from ..widgets.run_bar import RunBar
from ..widgets.section import Section
from .controller import SimulateController
from .form import SimulateForm
from .predict_panel import PredictPanel
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
    page = "simulation.md"
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
        self.grains_section.fill(self.grains)
        self.grains_section.say("in 3D, coloured by orientation")
        self.body.addWidget(self.grains_section)
        self.predict = PredictPanel(self.session, self.controller, lambda: self.problem)
        self.body.addWidget(self.predict)
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
        self.session.stacks_changed.connect(self._show_offer)
        try:
            self._adopt(self.form.settings())
        except SettingsError as error:
            self._on_refused(str(error))

    # ------------------------------------------------------------------- the widgets

    def _build_preview(self) -> None:
        row = QHBoxLayout()
        self.preview_button = button(
            "Preview", "Make the sample and make one projection of it", self._ask_preview
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
        self.use_button = button(
            "Work on it",
            "Make the new scan the one all docks work on; hide the others",
            self.controller.use,
        )
        self.use_button.hide()
        self.footer.addWidget(self.use_button)
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
        if size < _LARGE_BYTES or self.controller.goes_on(settings, self.folder()):
            return True
        text = (
            f"This scan of {settings.frames} projections takes {_size(size)} in "
            f"{self.folder()}. Write it?"
        )
        answer = QMessageBox.question(self, "A large scan", text)
        return answer == QMessageBox.StandardButton.Yes

    # ------------------------------------------------------------------- the stack

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.predict.follow(scan)
        self._show_offer()

    def _on_generated(self, _state: str) -> None:
        # its layer is there before its grain map is
        stack = self.session.stack
        self.predict.follow(None if stack is None or self.problem else self.session.scan(stack))
        self._show_offer()

    def _show_offer(self, *_: object) -> None:
        """Offer the new scan to the docks: it does not push the one at work away."""
        made = self.controller.stack
        waits = made is not None and made is not self.session.stack
        if waits:
            self.use_button.setText(f"Work on '{made.name}'")
        elif self.controller.removed:
            self.use_button.setText(f"Show '{self.controller.run.folder.name}' again")
        self.use_button.setVisible(waits or self.controller.removed)


def _size(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _short(folder: Path | None) -> str:
    """The end of a long path."""
    parts = [] if folder is None else folder.parts
    return str(folder) if len(parts) <= 3 else str(Path("...", *parts[-2:]))
