"""The state of background extraction in one viewer: runs, layers and files."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from ...background import (
    BackgroundSet,
    ExtractionSettings,
)
from ...background.steps import normalised
from ...core.errors import LabDCTError, OutputError
from ...core.frame_store import FrameStore
from ...core.robust import robust_sigma
from ..app import layers as factory
from ..app import preferences
from ..app import result_cache as stores
from ..app.background_sets import BackgroundSets
from ..app.job import LatestJob
from ..app.selection import keeping_selection

if TYPE_CHECKING:
    from ..app.session import Session
from .tasks import (
    STEPS,
    Known,
    Opened,
    Saved,
    Shown,
    copy_set,
    extract,
    free_path,
    load_set,
    show_steps,
)


class BackgroundController(QObject):
    """Runs, layers and files of backgrounds in one viewer.

    Attributes
    ----------
    shown : signal(Shown)
        Steps of a projection are on the screen.
    """

    shown = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("background")
        self.steps_job = session.job("background steps")
        self.sets: BackgroundSets = session.controller(BackgroundSets)
        self.file_job = session.job("background file")
        self._known: Known | None = None
        self._steps = LatestJob(self.steps_job, self._start_steps, cancels=True)
        self._on: weakref.ref[Layer] | None = None
        self._layers: dict[str, tuple[weakref.ref[Layer], weakref.ref[Layer]]] = {}
        self._visible = STEPS[3]
        self._stack: weakref.ref[Layer] | None = None
        self._store: FrameStore | None = None
        self.job.delivered.connect(self._on_delivered)
        self.job.frames_done.connect(self._on_frames)
        self.steps_job.delivered.connect(self._on_steps)
        self.file_job.delivered.connect(self._on_set)
        self.file_job.ended.connect(self._on_file_ended)
        session.stacks_changed.connect(self._on_layers)

    # ------------------------------------------------------------------------ steps

    def show_steps(self, stack: Layer, settings: ExtractionSettings) -> None:
        """Show the steps on the projection on the screen; of several requests the last counts."""
        self._steps.ask((weakref.ref(stack), settings))

    def _start_steps(self, request: tuple[weakref.ref[Layer], ExtractionSettings]):
        ref, settings = request
        stack = ref()
        if stack is None or not self._session.contains(stack):
            return None
        try:
            scan = self._session.scan(stack)
        except LabDCTError:
            return None
        known, index = self._known, self._session.shown_frame(stack)
        self._on = ref
        return lambda: show_steps(scan, settings, index, known), f"Background of {stack.name}"

    def _on_steps(self, thing: object) -> None:
        if isinstance(thing, Known):
            self._known = thing
        elif isinstance(thing, Shown):
            stack = None if self._on is None else self._on()
            if self._session.contains(stack):
                self._put(stack, thing)
                self.shown.emit(thing)

    def _put(self, stack: Layer, shown: Shown) -> None:
        """Fill the layers of the steps; those of another stack go."""
        viewer = self._session.viewer
        for name, image in shown.images.items():
            layer = self._layer(name)
            over = None if layer is None else self._layers[name][1]()
            if over is stack and layer.data.shape == image.shape:
                layer.data = image
                continue
            if layer is not None:
                viewer.layers.remove(layer)
            made = _step_layer(stack, name, image)
            made.visible = name == self._visible
            with keeping_selection(viewer.layers):
                viewer.layers.append(made)
            self._layers[name] = weakref.ref(made), weakref.ref(stack)

    def _layer(self, name: str) -> Layer | None:
        refs = self._layers.get(name)
        layer = None if refs is None else refs[0]()
        return layer if self._session.contains(layer) else None

    def show_only(self, name: str) -> None:
        """Make one step visible and hide the others; an unknown name hides all."""
        self._visible = name
        for step in STEPS:
            layer = self._layer(step)
            if layer is not None:
                layer.visible = step == name

    def hide_steps(self) -> None:
        """Take the layers of the steps away."""
        self._steps.forget()
        self._on = None
        self.steps_job.cancel()
        viewer = self._session.viewer
        for step in STEPS:
            layer = self._layer(step)
            if layer is not None and viewer is not None:
                viewer.layers.remove(layer)
        self._layers.clear()

    @property
    def has_steps(self) -> bool:
        """Whether steps are shown."""
        return any(self._layer(step) is not None for step in STEPS)

    # -------------------------------------------------------------------- the whole

    def extract(self, stack: Layer, settings: ExtractionSettings) -> None:
        """Extract the background of a stack in a worker.

        Raises
        ------
        LabDCTError
            The layer is not a scan.
        """
        scan = self._session.scan(stack)
        cache, folder = preferences.cache_folder(), preferences.backgrounds_folder()
        limit = float(preferences.preference("cache_limit_gb"))
        self._stack, self._store = weakref.ref(stack), None
        self.job.start(
            lambda: extract(scan, settings, cache, limit, folder), f"Background of {stack.name}"
        )

    def discard(self) -> None:
        """Forget a stopped run: its layer goes, and its file."""
        if self.job.running:
            return
        stack, layer = self._running_stack(), self._result_layer()
        if stack is not None and layer is not None:
            self._session.viewer.layers.remove(layer)
        if self._store is not None:
            stores.forget(self._store)
            self._store.discard()
        self._store = None
        self.job.discard()

    def _running_stack(self) -> Layer | None:
        stack = None if self._stack is None else self._stack()
        return stack if self._session.contains(stack) else None

    def _result_layer(self) -> Layer | None:
        stack = self._running_stack()
        found = [] if stack is None else self._session.results(stack, "background")
        return next((x for x in found if x.data is self._store), None)

    def _on_delivered(self, thing: object) -> None:
        if isinstance(thing, Opened):
            self._store = thing.store
        elif isinstance(thing, Saved):
            self.sets.read()

    def _on_frames(self, frames: list[int]) -> None:
        stack, store = self._running_stack(), self._store
        if stack is None or store is None:
            return
        layer = self._result_layer()
        if layer is None:  # not earlier: an empty layer would hide the scan for minutes
            layer = self._session.add_result(stack, store, "background", recipe=dict(store.recipe))
            layers = self._session.viewer.layers
            # under the steps, which would else show nothing when another one is chosen
            layers.move(layers.index(layer), layers.index(stack) + 1)
        else:
            self._session.refresh(layer, frames)

    def _on_layers(self) -> None:
        if self.job.running and self._running_stack() is None:
            self.job.cancel()

    # ------------------------------------------------------------------------- sets

    def show_set(self, path: Path) -> None:
        """Show the mean background of a set."""
        self.file_job.start(lambda: load_set(path), f"Open {path.name}")

    def export_set(self, path: Path, target: Path) -> None:
        """Copy a set to a place of the user's."""
        self.file_job.start(lambda: copy_set(path, target), f"Write {target.name}")

    def import_set(self, source: Path) -> None:
        """Copy a set into the list."""
        target = free_path(preferences.backgrounds_folder(), source.stem)
        self.file_job.start(lambda: copy_set(source, target), f"Read {source.name}")

    def delete_set(self, path: Path) -> None:
        """Delete a set's file.

        Raises
        ------
        OutputError
            It cannot be deleted.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot delete {path} ({error.strerror}).") from error
        self.sets.read()

    def _on_file_ended(self, _state: str) -> None:
        self.sets.read()

    def _on_set(self, thing: object) -> None:
        viewer, stack = self._session.viewer, self._session.stack
        if viewer is None or not isinstance(thing, BackgroundSet):
            return
        placed: dict[str, Any] = {}
        if stack is not None and tuple(stack.data.shape[-2:]) == thing.shape:
            placed = placement(stack)
        image = normalised(thing.mean, thing.brightest_percent)
        name = factory.free_name([x.name for x in viewer.layers], f"{thing.name} [background set]")
        info = {"kind": "background set", "recipe": thing.recipe}
        shown = Image(
            image, name=name, contrast_limits=(0, 1), metadata={factory.KEY: info}, **placed
        )
        with keeping_selection(viewer.layers):
            viewer.layers.append(shown)


def placement(stack: Layer) -> dict[str, Any]:
    """Puts one image over all projections of a stack."""
    return {
        "scale": tuple(stack.scale[-2:]),
        "translate": tuple(stack.translate[-2:]),
        "units": tuple(stack.units[-2:]),
        "axis_labels": tuple(stack.axis_labels[-2:]),
    }


def _step_layer(stack: Layer, name: str, image: np.ndarray) -> Image:
    limits = tuple(stack.contrast_limits)
    if name == STEPS[1] or name in STEPS[3:5]:
        limits = (0, 1)
    elif name == STEPS[5]:
        spread = robust_sigma(image[::4, ::4], 0.0) or 1.0
        limits = (-3 * spread, 10 * spread)
    info = {"kind": "background step", "recipe": {}, "stack": stack.name}
    return Image(
        image,
        name=f"{stack.name} [{name}]",
        colormap="turbo" if name == STEPS[4] else "gray",
        contrast_limits=limits,
        blending="opaque",
        metadata={factory.KEY: info},
        **placement(stack),
    )
