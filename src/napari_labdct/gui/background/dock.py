"""The Background dock: the steps of Appendix A on the projection shown, then the whole scan."""

from __future__ import annotations

from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout

from ...background import ExtractionSettings
from ...core.errors import LabDCTError, SettingsError
from ...scan.scan import Scan
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import SettingsForm, tame
from ..widgets.run_bar import RunBar
from .controller import BackgroundController
from .pairs_controller import PairsController
from .pairs_form import PairsForm
from .sets_panel import SetsPanel
from .tasks import STEPS, Shown

# Long enough for a number to be typed, short enough to feel at once.
_REST_MS = 400
_PROJECTION = "a: projection"


class BackgroundDock(Dock):
    """Background of any scan, and the sets made of them.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    title = "Background"
    page = "background.md"
    needs_stack = False

    def build(self) -> None:
        self.controller: BackgroundController = self.session.controller(BackgroundController)
        self._usable = False
        self.form = SettingsForm(ExtractionSettings, remember_as="background")
        self.body.addWidget(self.form)
        self._build_steps()
        self.sets = SetsPanel(self.controller)
        self.body.addWidget(self.sets)
        self.pairs = PairsForm(self.session.controller(PairsController))
        self.sets.chosen.connect(self.pairs.set_sets)
        self.sets.said.connect(self.say)
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
        self.session.frame_changed.connect(self._on_frame)
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
