"""The state of denoising in one viewer: runs, layers and files."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from ...core.errors import LabDCTError
from ...core.frame_store import FrameStore
from ...networks.denoising import DenoiseSettings
from ...scan.description import LABELS
from ...spots.binarisation import SpotSettings
from ..app import preferences
from ..app import result_cache as stores

if TYPE_CHECKING:
    from ..app.session import Session
from .files import ResultFiles
from .live_spots import LiveSpots, write_spots_into
from .tasks import Opened, denoise, track


class DenoiseController(QObject):
    """Runs, layers and files of denoising in one viewer.

    Attributes
    ----------
    opened : signal(Opened)
        A run has found its file and its layers are shown.
    spots : LiveSpots
        The threshold, live.
    said : signal(str)
        A sentence for the status line.
    """

    opened = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.job = session.job("denoise")
        self.files = ResultFiles(session)
        self.spots = LiveSpots(session, self.mask_layer)
        self._opened: Opened | None = None
        self._pending_hidden: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._stack: weakref.ref[Layer] | None = None
        self._store: weakref.ref[FrameStore] | None = None
        self.job.delivered.connect(self._on_opened)
        self.job.frames_done.connect(self._on_frames)
        self.job.ended.connect(self._on_ended)
        session.stacks_changed.connect(self._on_layers)
        session.scan_changed.connect(self._on_scan)
        session.frame_changed.connect(self.show_what_is_done)
        if session.viewer is not None:
            session.viewer.dims.events.current_step.connect(self.show_what_is_done)

    @property
    def stack(self) -> Layer | None:
        """The stack that the run at work, or the last one, is about."""
        layer = None if self._stack is None else self._stack()
        return layer if self._session.contains(layer) else None

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
        self._forget_run(layer)
        self.job.start(
            lambda: denoise(scan, settings, frames, folder, limit, spots, shown),
            f"Denoise {layer.name}",
        )

    def _forget_run(self, layer: Layer) -> None:
        """Begin a run on a stack, which has nothing to discard or to show yet."""
        self._stack, self._store, self._opened = weakref.ref(layer), None, None

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
        self._forget_run(layer)
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
        self._store = self._opened = None
        self.job.discard()

    def cleaned_layer(self, stack: Layer | None) -> Layer | None:
        """The newest cleaned result of a stack."""
        found = [] if stack is None else self._session.results(stack, "cleaned")
        return found[-1] if found else None

    def is_done(self, stack: Layer | None) -> bool:
        """Whether the newest result knows the projection on the screen."""
        layer = self.cleaned_layer(stack)
        return layer is not None and _knows(layer, self._session.shown_frame(stack))

    def show_what_is_done(self, _event: object = None) -> None:
        """Show the projection itself where a result has no frame yet, instead of black.

        A result that the user has hidden stays hidden.
        """
        for stack in self._session.stacks():
            frame = self._session.shown_frame(stack)
            for layer in self._session.results(stack, "cleaned"):
                if _knows(layer, frame):
                    if layer in self._pending_hidden:
                        self._pending_hidden.discard(layer)
                        layer.visible = True
                elif layer.visible:
                    self._pending_hidden.add(layer)
                    layer.visible = False

    def removed_result(self, stack: Layer | None) -> bool:
        """Whether the last finished run of a stack has lost a layer by hand."""
        opened, mine = self._opened, None if self._stack is None else self._stack()
        if opened is None or stack is None or stack is not mine or self.job.state != "done":
            return False
        found = self._session.results(stack)
        return not (
            any(layer.data is opened.store for layer in found)
            and any(getattr(layer.data, "cleaned", None) is opened.store for layer in found)
        )

    def show_result(self) -> None:
        """Bring back the layers of the last run that were removed by hand."""
        if self._opened is not None:
            self._on_opened(self._opened)

    def mask_layer(self, stack: Layer | None) -> Layer | None:
        """The newest mask of the network's result."""
        found = [] if stack is None else self._session.results(stack, "network mask")
        return found[-1] if found else None

    # ---------------------------------------------------------------------- layers

    def _on_opened(self, opened: Opened) -> None:
        stack = None if self._stack is None else self._stack()
        session = self._session
        self._store, self._opened = weakref.ref(opened.store), opened
        tracked = opened.recipe["job"] == "track"
        if stack is None or not session.contains(stack):
            return
        cleaned = next(
            (x for x in session.results(stack, "cleaned") if x.data is opened.store), None
        )
        if cleaned is None:
            cleaned = session.add_result(
                stack,
                opened.store,
                "cleaned",
                recipe=opened.recipe,
                what="tracked result" if tracked else None,
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
                what="tracked mask" if tracked else None,
            )
            write_spots_into(mask, opened.mask.settings)
            opened.mask.asleep = False
        else:
            session.renew_result(mask)
        session.refresh(cleaned)
        self.show_what_is_done()
        self.opened.emit(opened)
        self.spots.recount(stack)

    def _on_frames(self, frames: list[int]) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None:
            return
        self._session.refresh(self.cleaned_layer(stack), frames)
        self.show_what_is_done()
        if self._session.shown_frame(stack) in frames:
            self.spots.recount(stack)

    def _on_ended(self, state: str) -> None:
        stack = None if self._stack is None else self._stack()
        if stack is None or not self._session.contains(stack):
            self.job.discard()
            self.said.emit("The scan's layer was removed, so the run was stopped.")
            return
        self.show_what_is_done()
        if state == "done":
            self._session.results_changed.emit(stack)

    def _on_scan(self, layer: Layer) -> None:
        # Resume would go on with the angles and distances of before; the frames stay in their file
        if self.job.resumable and self._stack is not None and layer is self._stack():
            self.job.discard()

    def _on_layers(self) -> None:
        stack = None if self._stack is None else self._stack()
        if self.job.running and (stack is None or not self._session.contains(stack)):
            self.job.cancel()


def _knows(layer: Layer, frame: int) -> bool:
    done = getattr(layer.data, "done", None)
    return done is None or bool(done[frame])
