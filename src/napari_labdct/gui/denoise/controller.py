"""The state of denoising in one viewer: runs, layers and files."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...core.errors import LabDCTError
from ...core.frame_store import FrameStore, spare_inputs
from ...networks.denoising import DenoiseSettings
from ...scan.description import LABELS
from ...spots.binarisation import BINARISED, BinaryFrames, SpotSettings, binary_recipe
from ..app import preferences
from ..app import result_cache as stores
from ..app.live_mask import LiveMask

if TYPE_CHECKING:
    from ..app.session import Session
from .tasks import Opened, cut, denoise, save_frames, track


class DenoiseController(QObject):
    """Runs, layers and files of denoising in one viewer.

    Attributes
    ----------
    opened : signal(Opened)
        A run has found its file and its layers are shown.
    cut : signal(int, int)
        Number of spots of a frame, and the frame.
    said : signal(str)
        A sentence for the status line.
    """

    opened = Signal(object)
    cut = Signal(int, int)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("denoise")
        self.export_job = session.job("export")
        self._cut_job = session.job("spots")
        self._stack: weakref.ref[Layer] | None = None
        self._store: weakref.ref[FrameStore] | None = None
        self._wanted: tuple[LiveMask, int, SpotSettings] | None = None
        self.job.delivered.connect(self._on_opened)
        self.job.frames_done.connect(self._on_frames)
        self.job.ended.connect(self._on_ended)
        self._cut_job.delivered.connect(self._on_cut)
        self._cut_job.ended.connect(self._on_cut_ended)
        session.stacks_changed.connect(self._on_layers)
        session.scan_changed.connect(self._on_scan)

    # --------------------------------------------------------------------- running

    def start(
        self,
        layer: Layer,
        settings: DenoiseSettings,
        frames: Sequence[int],
        spots: SpotSettings | None = None,
    ) -> None:
        """Clean frames of a stack in a worker and show them as they come.

        Parameters
        ----------
        layer : Layer
        settings : DenoiseSettings
        frames : sequence of int
        spots : SpotSettings, optional
            How to cut the result; with the model's own threshold if not given.
        """
        scan = self._session.scan(layer)
        folder = preferences.cache_folder()
        limit = float(preferences.preference("cache_limit_gb"))
        shown = self._session.shown_frame(layer)
        self._stack, self._store = weakref.ref(layer), None  # nothing to discard yet
        self.job.start(
            lambda: denoise(scan, settings, frames, folder, limit, spots, shown),
            f"Denoise {layer.name}",
        )

    def track(self, layer: Layer, spots: SpotSettings) -> None:
        """Confirm the spots of a stack through the rotation, in a worker; see `tracking`.

        Parameters
        ----------
        layer : Layer
        spots : SpotSettings
            How to cut the result.

        Raises
        ------
        LabDCTError
            `why_no_tracks` says why.
        """
        reason = self.why_no_tracks(layer)
        if reason:
            raise LabDCTError(reason)
        scan, cleaned = self._session.scan(layer), self._denoised(layer)
        folder = preferences.cache_folder()
        limit = float(preferences.preference("cache_limit_gb"))
        shown = self._session.shown_frame(layer)
        self._stack, self._store = weakref.ref(layer), None  # nothing to discard yet
        self.job.start(
            lambda: track(scan, cleaned, folder, limit, spots, shown), f"Track {layer.name}"
        )

    def _denoised(self, layer: Layer) -> FrameStore | None:
        """The newest output of the network itself."""
        stores = (found.data for found in self._session.results(layer, "cleaned"))
        denoised = [store for store in stores if store.recipe["job"] == "denoise"]
        return denoised[-1] if denoised else None

    def why_no_tracks(self, layer: Layer) -> str:
        """What must be done before spots can be tracked; empty if nothing."""
        denoised = self._denoised(layer)
        if denoised is None or not denoised.complete:
            return "Tracks need the whole stack denoised."
        missing = self._session.scan(layer).missing_for("tracks")
        if missing:
            words = ", ".join(LABELS.get(name, name) for name in missing)
            return f"Tracks need the {words}: enter them in the Scan dock."
        return ""

    def discard(self) -> None:
        """Forget a stopped run: its layers go, and its file."""
        store = None if self._store is None else self._store()
        viewer = self._session.viewer
        if self.job.running:
            return
        if store is not None and viewer is not None:
            for stack in self._session.stacks():
                for layer in self._session.results(stack):
                    if layer.data is store or getattr(layer.data, "cleaned", None) is store:
                        viewer.layers.remove(layer)
            stores.forget(store)
            store.discard()
        self._store = None
        self.job.discard()

    def cleaned_layer(self, stack: Layer | None) -> Layer | None:
        """The newest cleaned result of a stack."""
        found = [] if stack is None else self._session.results(stack, "cleaned")
        return found[-1] if found else None

    def mask_layer(self, stack: Layer | None) -> Layer | None:
        """The newest mask of the network's result."""
        found = [] if stack is None else self._session.results(stack, "network mask")
        return found[-1] if found else None

    # ----------------------------------------------------------------------- spots

    def set_spots(self, stack: Layer, settings: SpotSettings) -> None:
        """Cut the result of a stack with other settings; the network does not run."""
        self._want(stack, settings)

    def recount(self, stack: Layer | None) -> None:
        """Count the spots of the shown frame."""
        layer = self.mask_layer(stack)
        if layer is not None and isinstance(layer.data, LiveMask):
            self._want(stack, layer.data.settings)

    def _want(self, stack: Layer, settings: SpotSettings) -> None:
        layer = self.mask_layer(stack)
        if layer is None or not isinstance(layer.data, LiveMask):
            return
        self._wanted = (layer.data, self._session.shown_frame(stack), settings)
        if not self._cut_job.running:
            self._cut_next()

    def _cut_next(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._cutting = wanted[0]
            self._cut_job.start(lambda: cut(*wanted), "Cut spots")

    def _on_cut(self, result: tuple[SpotSettings, int, int]) -> None:
        settings, index, count = result
        mask = self._cutting
        changed = mask.settings != settings
        mask.adopt(settings)
        for stack in self._session.stacks():
            for layer in self._session.results(stack, "network mask"):
                if layer.data is mask:
                    self._session.refresh(layer, [index])
                    if changed:
                        _write_spots_into(layer, settings)
                        self._session.results_changed.emit(stack)
        self.cut.emit(count, index)

    def _on_cut_ended(self, _state: str) -> None:
        self._cut_next()

    # ---------------------------------------------------------------------- layers

    def _on_opened(self, opened: Opened) -> None:
        stack = None if self._stack is None else self._stack()
        session = self._session
        self._store = weakref.ref(opened.store)
        what = "DL tracked" if opened.recipe["job"] == "track" else None
        if stack is None or not session.contains(stack):
            return
        cleaned = next(
            (x for x in session.results(stack, "cleaned") if x.data is opened.store), None
        )
        if cleaned is None:
            cleaned = session.add_result(
                stack, opened.store, "cleaned", recipe=opened.recipe, what=what
            )
        else:
            session.renew_result(cleaned)
        mask = next(
            (
                x
                for x in session.results(stack, "network mask")
                if getattr(x.data, "cleaned", None) is opened.store
            ),
            None,
        )
        if mask is None:
            mask = session.add_result(
                stack,
                opened.mask,
                "network mask",
                recipe=opened.recipe,
                what=what and f"{what} spots",
            )
            _write_spots_into(mask, opened.mask.settings)
            opened.mask.asleep = False
        else:
            session.renew_result(mask)
        session.refresh(cleaned)
        self.opened.emit(opened)
        self.recount(stack)

    def _on_frames(self, frames: list[int]) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None:
            return
        self._session.refresh(self.cleaned_layer(stack), frames)
        if self._session.shown_frame(stack) in frames:
            self.recount(stack)

    def _on_ended(self, state: str) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None or not self._session.contains(stack):
            self.job.discard()
            self.said.emit("The scan's layer was removed, so the run was stopped.")
        elif state == "done":
            self._session.results_changed.emit(stack)

    def _on_scan(self, layer: Layer) -> None:
        # Resume would go on with the angles and distances of before; the frames stay in their file
        if self.job.resumable and self._stack is not None and layer is self._stack():
            self.job.discard()

    def _on_layers(self) -> None:
        stack = None if self._stack is None else self._stack()
        if self.job.running and (stack is None or not self._session.contains(stack)):
            self.job.cancel()

    # ---------------------------------------------------------------------- saving

    def export(self, stack: Layer, path: Path) -> None:
        """Write the binary stack: 8-bit TIFF, 0 and 255, one page a projection.

        Raises
        ------
        LabDCTError
            There is nothing to export.
        """
        layer = self.mask_layer(stack)
        if layer is None:
            raise LabDCTError("There are no spots to export yet; denoise the scan first.")
        mask = layer.data
        frames = BinaryFrames(mask.cleaned, mask.settings)
        made = layer.metadata["napari-labdct"]["recipe"]
        self._save(stack, path, frames, binary_recipe(made, mask.settings))

    def save_cleaned(self, stack: Layer, path: Path) -> None:
        """Write the cleaned stack, 0 to 255, where the user wants it.

        Raises
        ------
        LabDCTError
            There is nothing to save.
        """
        layer = self.cleaned_layer(stack)
        if layer is None:
            raise LabDCTError("There is no cleaned scan to save yet; denoise the scan first.")
        self._save(stack, path, layer.data, dict(layer.metadata["napari-labdct"]["recipe"]))

    def _save(self, stack: Layer, path: Path, frames: Any, made: dict[str, Any]) -> None:
        scan = self._session.scan(stack)
        spare_inputs([path], scan, frames)
        orientation = scan.orientation
        self.export_job.queue(
            lambda: save_frames(path, frames, orientation, made), f"Write {path.name}"
        )


def _write_spots_into(layer: Layer, settings: SpotSettings) -> None:
    """Keep how the mask was cut in the layer's recipe."""
    from ..app.layers import info_of, remember

    made = dict(info_of(layer).get("recipe", {}))
    remember(layer, recipe={**made, BINARISED: settings.to_dict()})
