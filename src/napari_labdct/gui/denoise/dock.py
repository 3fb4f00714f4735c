"""The Denoise dock: a trained network on the scan, the spots cut from what it gives, and tracks."""

from __future__ import annotations

from napari.layers import Layer

from ...core.errors import LabDCTError
from ...networks.denoising import DenoiseSettings
from ...scan.scan import Scan
from ..app.docks import has_dock, open_dock
from ..app.loaded_model import ModelCard
from ..widgets.dock import Dock, button
from ..widgets.run_bar import RunBar
from .controller import DenoiseController
from .network_panel import NetworkPanel
from .spots_panel import SpotsPanel


class DenoiseDock(Dock):
    """Model, device, frames, Run; then threshold and spot size, live; then export."""

    title = "Denoise"
    page = "denoise.md"

    def build(self) -> None:
        self.controller: DenoiseController = self.session.controller(DenoiseController)
        self.network = NetworkPanel(self.session)
        self.spots = SpotsPanel(self.session, self.controller)
        self.body.addWidget(self.network)
        self.body.addWidget(self.spots)
        self._build_footer()
        self.network.read.connect(self._on_card)
        self.network.choice.refused.connect(self._show_ready)
        self.network.choice.said.connect(self.say)
        self.spots.said.connect(self.say)
        self.bar.run_requested.connect(self._run)
        self.bar.discard_requested.connect(self.controller.discard)
        self.controller.job.changed.connect(self._show_state)
        self.controller.said.connect(self.say)
        self.session.results_changed.connect(self._on_results)

    def _build_footer(self) -> None:
        self.bar = RunBar(self.controller.job, "Denoise")
        self.export_bar = RunBar(self.controller.files.job, "Export", quiet=True)
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

    # --------------------------------------------------------------------- running

    def use_model(self, model: str) -> None:
        """Choose a model, as other docks ask for it."""
        self.network.use_model(model)

    def settings(self) -> DenoiseSettings:
        """What the form says.

        Raises
        ------
        SettingsError
            A value is refused.
        """
        return self.network.settings()

    def _run(self) -> None:
        layer, choice = self.session.stack, self.network.choice
        if layer is None or not choice.model:
            return
        try:
            settings = self.settings()
            frames = self.network.frames(self.session.scan(layer))
            spots = self.spots.settings()
        except LabDCTError as error:
            self.say(str(error))
            return
        self.controller.start(layer, settings, frames, spots if choice.card else None)

    def _on_card(self, card: ModelCard) -> None:
        if self.controller.mask_layer(self.session.stack) is None:
            self.spots.set_threshold(int(card.info["threshold"]))
        self._show_ready()

    def _show_ready(self, refused: str = "") -> None:
        scan_ok = self.session.stack is not None and not self.problem
        refused = refused or self.network.choice.error
        if not scan_ok:
            self.bar.set_ready(False, self.problem or "Open a scan first")
        else:
            self.bar.set_ready(not refused, refused)

    def _show_state(self) -> None:
        job, about, stack = self.controller.job, self.controller.stack, self.session.stack
        self.spots.show_track()
        self.network.controls.setEnabled(not job.running)
        self._show_removed()
        mine = about is stack
        self.bar.set_about("" if mine or about is None else about.name)
        self.compare.setVisible(job.state == "done" and mine and has_dock("Compare"))

    def _show_removed(self) -> None:
        self.show_button.setVisible(self.controller.removed_result(self.session.stack))

    def _compare(self) -> None:
        viewer = self.session.viewer
        if viewer is not None:
            open_dock(viewer, "Compare")

    # ------------------------------------------------------------------- the stack

    def _on_results(self, layer: Layer) -> None:
        if layer is self.session.stack:
            self.spots.show_results(layer)
            self._show_removed()

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.network.show_scan(scan)
        self.spots.show_stack(layer, scan is not None)
        self._show_ready()
        self._show_state()
