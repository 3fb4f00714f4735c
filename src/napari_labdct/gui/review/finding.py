"""Measuring the spots of a stack, or finding them measured, with their review."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ...core.errors import LabDCTError, SettingsError
from ...core.folders import data_folder
from ...spots.binarisation import BinaryFrames
from ...spots.detections import Detections
from ..app import layers as factory
from ..app.job import Job
from . import tasks as spots_work
from .tasks import Measured

if TYPE_CHECKING:
    from ..app.session import Session

_MASKS = ("network mask", "routine mask", "mask", "truth")


def review_folder() -> Path:
    """Where reviews are kept: beside the other data of the user, not in a cache."""
    return data_folder() / "reviews"


class OpenReview(Protocol):
    """The review at work, which is not left while it is busy."""

    busy: bool
    waiting: bool
    stack: Layer | None


class ReviewFinder(QObject):
    """Leads from a stack to its measured spots, in a worker.

    Parameters
    ----------
    session : Session
    review : OpenReview
        A QObject, the parent of this one.

    Attributes
    ----------
    found : signal(Layer or None, Measured)
        The spots of a stack.
    nothing_found : signal(Layer)
        A stack that was chosen has no review yet.
    said : signal(str)
        A sentence for the status line.
    """

    found = Signal(object, object)
    nothing_found = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session, review: OpenReview) -> None:
        super().__init__(review)
        self._session, self._review = session, review
        self.job: Job = session.job("measure spots")
        self._wanted: weakref.ref[Layer] | None = None
        self._sought: weakref.ref[Layer] | None = None
        self._finding = False
        self.job.delivered.connect(self._on_delivered)
        self.job.ended.connect(self._on_ended)

    @property
    def wanted(self) -> Layer | None:
        """The stack that was measured last, or whose review was looked for."""
        return None if self._wanted is None else self._wanted()

    def _on_delivered(self, measured: Measured) -> None:
        self.found.emit(self.wanted, measured)

    def sources(self, stack: Layer | None) -> list[Layer]:
        """Layers with masks of a stack, the newest of each kind first."""
        viewer = self._session.viewer
        if stack is None or viewer is None:
            return []
        found = [layer for kind in _MASKS for layer in reversed(self._session.results(stack, kind))]
        shape = tuple(stack.data.shape)
        for layer in viewer.layers:  # masks the user brought along
            mine = factory.kind_of(layer) != ""
            if isinstance(layer, Labels) and not mine and tuple(layer.data.shape) == shape:
                found.append(layer)
        return found

    def measure(
        self, stack: Layer, network: Layer, routine: Layer | None, only: int | None = None
    ) -> None:
        """Measure the spots of a stack (or of frame `only`) in a worker, or reopen their review."""
        if self._review.busy:
            self.said.emit("Corrections are still at work; try again in a moment.")
            return
        try:
            scan = self._session.scan(stack)
            masks, cleaned, done = _frozen(network)
            others = None if routine is None else _frozen(routine)[0]
            detections = Detections(masks, others, cleaned)
        except LabDCTError as error:
            self.said.emit(str(error))
            return
        self._wanted = weakref.ref(stack)
        frames = range(scan.n_frames) if done is None else np.flatnonzero(done).tolist()
        if only is not None and only not in frames:
            self.said.emit("This projection has no masks yet; denoise it first.")
            return
        folder = review_folder()
        self._finding = False
        self.job.start(
            lambda: spots_work.measure(scan, detections, frames, folder, only),
            f"Measure {stack.name}",
        )

    def find(self, stack: Layer) -> None:
        """Look for a review of a stack that was opened again."""
        self._sought = weakref.ref(stack)
        if self.job.running or stack is self._review.stack:
            return
        try:
            scan = self._session.scan(stack)
        except LabDCTError:
            return  # the dock says it
        self._wanted = weakref.ref(stack)
        folder = review_folder()
        found = self._session.results(stack, "cleaned")
        whole = (scan.n_frames, *scan.shape)
        cleaned = found[-1].data if found and tuple(found[-1].data.shape) == whole else None
        self._finding = True
        if not folder.is_dir():
            QTimer.singleShot(0, self._on_found)
        else:
            self.job.start(lambda: spots_work.find_review(scan, folder, cleaned), "Find the review")

    def _on_found(self) -> None:
        """Say so if the search for a review of the chosen stack led to none."""
        wanted = None if self._wanted is None else self._wanted()
        if not self._finding or self.job.running:
            return
        self._finding = False
        if (
            wanted is not None
            and wanted is self._session.stack
            and wanted is not self._review.stack
        ):
            self.nothing_found.emit(wanted)

    def _on_ended(self, state: str) -> None:
        # another stack was chosen while this job ran
        sought = None if self._sought is None else self._sought()
        wanted = None if self._wanted is None else self._wanted()
        if sought is not None and sought is not wanted and sought is self._session.stack:
            self.find(sought)
        elif state == "done" and not self._review.waiting:
            QTimer.singleShot(0, self._on_found)


def _frozen(layer: Layer) -> tuple[Any, Any, np.ndarray | None]:
    """Masks of a layer as they are now, the network's output behind them, frames done."""
    data = layer.data
    if isinstance(data, BinaryFrames):
        cleaned = data.cleaned
        done = getattr(cleaned, "done", None)
        if done is not None and not done.any():
            raise SettingsError("No projection is denoised yet; run Denoise first.")
        return BinaryFrames(cleaned, data.settings), cleaned, done
    if len(data.shape) == 2:
        data = np.asarray(data)[None]
    return data, None, getattr(data, "done", None)
