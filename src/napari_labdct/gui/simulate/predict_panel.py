"""Predicted spots of a grain map on the open scan: the last section of the Simulate dock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QLineEdit

from ...core.errors import LabDCTError
from ...scan.scan import Scan
from ...simulation.prediction import PredictSettings, missing_for_prediction
from ..app.docks import open_dock
from ..app.session import Session
from ..widgets.dock import button, wrapped
from ..widgets.forms import SettingsForm, tame, with_button
from ..widgets.section import Section
from .controller import SimulateController


class PredictPanel(Section):
    """A grain map, how to predict, and what is still missing.

    Parameters
    ----------
    session : Session
    controller : SimulateController
    problem : callable
        Tells why the open scan cannot be used; empty if it can.
    """

    def __init__(
        self, session: Session, controller: SimulateController, problem: Callable[[], str]
    ) -> None:
        super().__init__(
            "Predicted spots", "Where the grains of a map should be seen on the open scan"
        )
        self._session, self._controller, self._problem = session, controller, problem
        self._offered = ""
        self.say("of a grain map, on the open scan")
        self._build()
        self.map_line.textChanged.connect(self.show_state)
        controller.predict_job.changed.connect(self.show_state)
        session.results_changed.connect(self.show_state)

    def _build(self) -> None:
        self.form = SettingsForm(
            PredictSettings, exclude=("grain_map", "y_flip"), reset_button=False
        )
        self.map_line = QLineEdit()
        self.map_line.setPlaceholderText("GrainMapper3D HDF5 file")
        tame(self.map_line, "Grain map for prediction", "Grain map whose spots are predicted")
        self.mirror = QCheckBox("Mirror the grains in y")
        tame(self.mirror, "Mirror the grains in y", "For maps of the other handedness")
        self.predict_button = button(
            "Show predicted spots", "Circles that follow the slider", self._predict
        )
        self.scan_button = button(
            "Open the Scan dock", "Enter what is missing in the Scan dock", self._open_scan_dock
        )
        self.note = wrapped()
        box = QHBoxLayout()
        box.addWidget(self.predict_button)
        box.addWidget(self.scan_button)
        browse = with_button(self.map_line, "h5...", "Choose the grain map", self._ask_map)
        self.fill(browse, self.form, self.mirror, self.note, box)

    def follow(self, scan: Scan | None) -> None:
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
        self.show_state()

    def show_state(self, *_: object) -> None:
        """What is missing, or how far the prediction is."""
        stack, job = self._session.stack, self._controller.predict_job
        about, problem = self._controller.predicted, self._problem()
        mine = about is not None and about() is stack
        missing: list[str] = []
        said = problem
        if stack is None:
            said = "Open or generate a scan first."
        elif not said:
            missing = missing_for_prediction(self._session.scan(stack))
            if missing:
                said = f"'{stack.name}' lacks: {', '.join(missing)}."
            elif job.running:
                said = f"Projection {job.progress.done} of {job.progress.total}..."
            elif job.state == "failed" and mine:
                said = job.error
            elif job.state == "done" and mine:
                said = job.note
        self.note.setText(said)
        self.note.setVisible(bool(said))
        self.scan_button.setVisible(bool(missing))
        ready = stack is not None and not problem and not missing and not job.running
        self.predict_button.setEnabled(ready and bool(self.map_line.text().strip()))

    def _ask_map(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Grain map", "", "Grain maps (*.h5 *.hdf5)")
        if path:
            self.map_line.setText(path)

    def _predict(self) -> None:
        try:
            settings = self.form.settings().replace(
                grain_map=self.map_line.text().strip(), y_flip=self.mirror.isChecked()
            )
            self._controller.predict(self._session.stack, settings)
        except LabDCTError as error:
            self.note.setText(str(error))

    def _open_scan_dock(self) -> None:
        viewer = self._session.viewer
        if viewer is not None:
            open_dock(viewer, "Scan")
