"""The Train dock: what to train, its curve as it grows, and the model that comes of it."""

from __future__ import annotations

from pathlib import Path

from napari.layers import Layer
from qtpy.QtWidgets import QVBoxLayout

from ...background import Card
from ...core.errors import LabDCTError
from ...scan.scan import Scan
from ..app.background_sets import BackgroundSets
from ..widgets.dock import Dock
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from ..widgets.section import Section
from .controller import TrainController
from .form import TrainForm
from .results_panel import ResultsPanel
from .runs_panel import RunsPanel
from .tasks import Offered, look_around


class TrainDock(Dock):
    """Training in a process of its own: plan, curve, pictures, model, earlier runs.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    title = "Train"
    page = "training.md"
    needs_stack = False

    def build(self) -> None:
        self.controller: TrainController = self.session.controller(TrainController)
        self._backgrounds: BackgroundSets = self.session.controller(BackgroundSets)
        self._around = self.session.job("models and devices")
        self.form = TrainForm()
        self.plan_section = Section("What to train", "Data, network, loss and time", open_=True)
        inside = QVBoxLayout(self.plan_section.inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.form)
        self.body.addWidget(self.plan_section)
        self.results = ResultsPanel(self.session, self.controller)
        self.runs = RunsPanel(self.controller)
        self.body.addWidget(self.results)
        self.body.addWidget(self.runs)
        job = self.controller.job
        self.run_bar = RunBar(job, "Train", "step", cancel=("Stop", "Stopping..."))
        self.run_bar.discard_button.setText("Close")
        tame(self.run_bar.discard_button, "Close", "Show no run; its files stay in the list")
        self.run_bar.run_requested.connect(self._train)
        self.run_bar.discard_requested.connect(job.discard)
        self.footer.addWidget(self.run_bar)

        self.form.changed.connect(self._show_plan)
        c = self.controller
        c.job.changed.connect(self._show_state)
        c.job.ended.connect(self._show_plan)  # the speed is known better now
        c.said.connect(self.say)
        self.runs.said.connect(self.say)
        self.runs.shown.connect(lambda: self.plan_section.title.setChecked(False))
        self._backgrounds.listed.connect(self._on_backgrounds)
        self._around.delivered.connect(self._on_offered)
        self._was_running = False
        self._show_plan()
        self._show_state()
        self._around.start(look_around, "Look for models")
        self._backgrounds.read()
        c.list_runs()

    # ------------------------------------------------------------------------- the plan

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        """Take geometry and name of the scan."""
        self.form.set_scan(scan)

    def _on_offered(self, found: Offered) -> None:
        self.form.set_models(found.models, found.devices)

    def _on_backgrounds(self, found: list[tuple[Path, Card | str]]) -> None:
        usable = [(c.name, p) for p, c in found if not isinstance(c, str)]
        self.form.set_backgrounds(usable)

    def _show_plan(self, *_: object) -> None:
        """Say what the time comes to, or why the plan cannot be carried out."""
        self.plan_section.say(self.form.kind.currentText())
        try:
            plan = self.form.plan()
        except LabDCTError as error:
            self.form.note.setText(str(error))
            self.run_bar.set_ready(False, str(error))
            return
        each, count = plan.seconds_each, plan.iterations
        if count is None:
            text = "The first iterations measure how many that is on this computer."
        else:
            text = f"{count} iterations"
            if each is not None:
                text += f", {each:.2g} s each as measured here"
                if plan.seconds is None:
                    text += f": about {_duration(count * each)}"
            text += "."
        self.form.note.setText(f"<small>{text}</small>")
        self.run_bar.set_ready(True)

    def _train(self) -> None:
        try:
            plan = self.form.plan()
            self.form.check_saved()
            self.controller.start(plan)
        except LabDCTError as error:
            self.say(str(error))

    # ----------------------------------------------------------------------- the running

    def _show_state(self) -> None:
        job = self.controller.job
        self.form.setEnabled(not job.running)
        if job.running != self._was_running:
            self.plan_section.title.setChecked(not job.running and job.run is None)
        self._was_running = job.running

    def add_folder(self, folder: Path) -> None:
        """List a training that was started by ``labdct train``."""
        self.runs.add_folder(folder)


def _duration(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, seconds / 60):.0f} min"
    return f"{seconds / 3600:.1f} h"
