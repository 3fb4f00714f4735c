"""The state of simulations in one viewer: runs and layers."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer, Points
from qtpy.QtCore import QObject, Signal

from ...simulation.prediction import PredictSettings
from ...simulation.settings import SimulateSettings
from ..app import layers as factory
from ..app.job import LatestJob
from ..app.predicted_spots import ShownSpots
from ..app.selection import keeping_selection
from ..app.units import make_room
from .preview import Preview, fill_preview, preview, preview_layers

if TYPE_CHECKING:
    from ...simulation import SimulationOutput
    from ..app.session import Session
from .tasks import Limits, Opened, Run, Spots, predict, read_map


class SimulateController(QObject):
    """Runs and layers of simulation in one viewer.

    Attributes
    ----------
    previewed : signal(Preview)
    grains_made : signal(Grains)
        The sample of a preview, of a run or of a prediction.
    map_read : signal(SimulateSettings)
        The geometry of a grain map that was chosen.
    """

    previewed = Signal(object)
    grains_made = Signal(object)
    map_read = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("simulate")
        self.preview_job = session.job("simulate preview")
        self.map_job = session.job("grain map")
        self.predict_job = session.job("predict")
        self.predicted: weakref.ref[Layer] | None = None  # what the job is about
        self.run: Run | None = None
        self._previews = LatestJob(self.preview_job, _preview)
        self._maps = LatestJob(self.map_job, _read_map)
        self._preview: list[weakref.ref[Layer]] = []
        self._spots: list[ShownSpots] = []
        self._opened: Opened | None = None  # of the last run, to be shown again
        self._made: Spots | None = None
        self.job.delivered.connect(self._on_delivered)
        self.job.frames_done.connect(self._on_frames)
        self.preview_job.delivered.connect(self._on_preview)
        self.map_job.delivered.connect(self.map_read)
        self.predict_job.delivered.connect(self._on_spots)
        viewer = session.viewer
        if viewer is not None:
            viewer.dims.events.current_step.connect(self._follow)

    # --------------------------------------------------------------------- previews

    def preview(self, settings: SimulateSettings, index: int) -> None:
        """Project one frame in a worker; of several requests the last one counts."""
        self._previews.ask((settings, min(index, settings.frames - 1)))

    def _on_preview(self, made: Preview) -> None:
        viewer = self._session.viewer
        if viewer is None:
            return
        shown = [layer for ref in self._preview if self._session.contains(layer := ref())]
        same = len(shown) == 3 and shown[0].data.shape == made.image.shape
        scale = (made.pixel_um, made.pixel_um)
        if same and np.allclose(shown[0].scale, scale):
            fill_preview(shown, made)
        else:
            self._drop_preview()
            new = preview_layers(made, scale)
            with keeping_selection(viewer.layers):
                viewer.layers.extend(new)
            self._preview = [weakref.ref(layer) for layer in new]
        self.previewed.emit(made)
        self.grains_made.emit(made.grains)

    def _drop_preview(self) -> None:
        viewer = self._session.viewer
        if viewer is not None:
            with viewer.layers.batched_update():
                for ref in self._preview:
                    if self._session.contains(layer := ref()):
                        viewer.layers.remove(layer)
        self._preview = []

    # --------------------------------------------------------------- the whole scan

    def generate(self, settings: SimulateSettings, folder: Path) -> None:
        """Simulate a scan into a folder, in a worker, and show it as it grows."""
        known = self.run
        if known is None or (known.settings, known.folder) != (settings, folder):
            self.run = Run(settings, folder)
            self._opened = self._made = None
        self.job.start(self.run.steps, f"Simulate {folder.name}")

    def goes_on(self, settings: SimulateSettings, folder: Path) -> bool:
        """Whether `generate` would go on with the run that stopped."""
        run = self.run
        return self.job.resumable and run is not None and (run.settings, run.folder) == (
            settings, folder
        )  # fmt: skip

    @property
    def stack(self) -> Layer | None:
        """The layer of the scan that was generated last."""
        output = None if self.run is None else self.run.output
        return None if output is None else self._stack_of(output)

    @property
    def removed(self) -> bool:
        """Whether the layer of the scan that was generated last was removed by hand."""
        return self.job.state == "done" and self._opened is not None and self.stack is None

    def use(self) -> None:
        """Make the scan that was generated last the one that all docks work on, and show it."""
        if self.removed:
            self._on_opened(self._opened)
            if self._made is not None:
                self._on_spots(self._made)
        if self.stack is not None:
            self._session.work_on(self.stack)

    def discard(self) -> None:
        """Forget a stopped run: its layers go, and its files."""
        if self.job.running:
            return
        viewer = self._session.viewer
        stack = self.stack
        if stack is not None and viewer is not None:
            for layer in [*self._session.results(stack), stack]:
                viewer.layers.remove(layer)
        if self.run is not None:
            self.run.discard()
        self.run = self._opened = self._made = None
        self.job.discard()

    def _stack_of(self, output: SimulationOutput) -> Layer | None:
        return next((x for x in self._session.stacks() if x.data is output.frames), None)

    def _on_delivered(self, thing: object) -> None:
        if isinstance(thing, Opened):
            self._on_opened(thing)
        elif isinstance(thing, Limits):
            layer = self._stack_of(thing.output)
            if layer is not None:
                low, high = thing.limits
                layer.contrast_limits_range = (min(0.0, low), low + 20 * (high - low))
                layer.contrast_limits = thing.limits
        elif isinstance(thing, Spots):
            self._made = thing
            self._on_spots(thing)

    def _on_opened(self, opened: Opened) -> None:
        session, viewer = self._session, self._session.viewer
        if viewer is None:
            return
        self._drop_preview()
        self._opened = opened
        stack = self._stack_of(opened.output)
        if stack is None:
            data, options, kind = opened.layer_data
            make_room(viewer.layers, options)
            stack = Layer.create(data, options, kind)
            with keeping_selection(viewer.layers):
                viewer.layers.append(stack)
            factory.remember(stack, recipe=dict(opened.output.frames.recipe))
            truth = session.add_result(
                stack, opened.output.truth, "truth", recipe=dict(opened.output.truth.recipe)
            )
            if truth is not None:
                truth.contour = 1  # outlines, for whoever switches it on
                truth.visible = False
        self.grains_made.emit(opened.grains)

    def _on_frames(self, frames: list[int]) -> None:
        stack = self.stack
        if stack is not None:
            self._session.refresh(stack, frames)
            for layer in self._session.results(stack, "truth"):
                self._session.refresh(layer, frames)

    def read_map(self, path: str) -> None:
        """Read the geometry that a grain map's file gives; see `map_read`."""
        self._maps.ask(path)

    def predict(self, stack: Layer, settings: PredictSettings) -> None:
        """Predict the spots of a grain map on a scan, in a worker.

        Raises
        ------
        LabDCTError
            The layer is not a scan.
        """
        scan = self._session.scan(stack)
        ref = self.predicted = weakref.ref(stack)
        self.predict_job.start(
            lambda: predict(scan, settings, ref), f"Predict spots on {stack.name}"
        )

    def _on_spots(self, found: Spots) -> None:
        simulated = found.output is not None
        stack = self._stack_of(found.output) if simulated else found.stack()
        if stack is None or not self._session.contains(stack):
            return
        what = "spots" if simulated else "predicted spots"
        for old in self._spots_of(stack, what):
            self._session.viewer.layers.remove(old.layer)
        shown = ShownSpots(
            self._session,
            stack,
            found.table,
            found.grains.colours,
            found.grains.map.grain_ids,
            what,
            found.recipe,
        )
        self._spots = [s for s in self._spots if s.layer is not None] + [shown]
        self.grains_made.emit(found.grains)

    def _spots_of(self, stack: Layer, what: str) -> list[ShownSpots]:
        name = f"{stack.name} [{what}]"
        return [
            s
            for s in self._spots
            if s.layer is not None and s.stack is stack and s.layer.name == name
        ]

    def spots(self, stack: Layer) -> list[Points]:
        """Layers of spot positions over a stack, the newest last."""
        return [s.layer for s in self._spots if s.layer is not None and s.stack is stack]

    def _follow(self, _event: object = None) -> None:
        for shown in self._spots:
            shown.follow()


def _preview(request: tuple[SimulateSettings, int]):
    return lambda: preview(*request), "Preview of a projection"


def _read_map(path: str):
    return (lambda: read_map(path), "Read a grain map") if path else None
