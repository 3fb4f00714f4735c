"""The standard routine in the dock: its sliders with Suggest, Sweep and Apply."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QInputDialog, QVBoxLayout, QWidget

from ...background.stored_median import StoredMedian
from ...core.errors import LabDCTError
from ...core.frame_store import FrameStore
from ...core.parameters import fields_of
from ...spots.log_routine import RoutineSettings
from ...spots.tuning import Suggestion, suggest
from ..app import result_cache as stores
from ..app.job import Job
from ..app.session import Session
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from .engine import Engine
from .request import Window
from .routine_form import SPANS, RoutineForm, sweep_values
from .tasks import Thumbnail, apply_routine, sweep
from .thumbnails import Thumbnails


class RoutinePanel(QWidget):
    """The routine's sliders with Suggest, Sweep and Apply.

    Attributes
    ----------
    changed : signal(RoutineSettings)
    suggest_wanted, apply_wanted : signal
    sweep_wanted : signal(str)
        Name of the parameter.
    said : signal(str)
        A sentence for the status line.
    """

    changed = Signal(object)
    suggest_wanted = Signal()
    sweep_wanted = Signal(str)
    apply_wanted = Signal()
    said = Signal(str)

    def __init__(self, session: Session, side_job: Job, routine_job: Job) -> None:
        super().__init__()
        self._session = session
        self._side, self._job = side_job, routine_job
        self._stack: Layer | None = None
        self._layer: Layer | None = None
        self._engine: Engine | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.form = RoutineForm()
        self.form.changed.connect(self.changed)
        self.form.changed.connect(self._on_changed)
        layout.addWidget(self.form)
        self.median_button = button(
            "Prepare the median of the stack",
            "Compute the rolling median of all projections once and keep it",
            self.prepare_median,
        )
        layout.addWidget(self.median_button)
        row = QHBoxLayout()
        row.setSpacing(4)
        for text, tooltip, slot in (
            (
                "Suggest",
                "Tune the four LoG parameters: to agree with the other side if that is a network "
                "result, a pin or a file, else for stability (spots found again when noise is "
                "added, less what is found in pure noise)",
                self.suggest_wanted,
            ),
            ("Sweep...", "Try several values of one parameter", self._ask_sweep),
            ("Reset", "The default parameters", self._reset),
            ("Apply to stack", "Run the routine over all projections", self.apply_wanted),
        ):
            row.addWidget(button(text, tooltip, slot))
        layout.addLayout(row)
        self.thumbnails = Thumbnails()
        self.thumbnails.adopted.connect(self.form.set_settings)
        layout.addWidget(self.thumbnails)
        self.hint = wrapped()
        self.hint.hide()
        layout.addWidget(self.hint)
        self._median_job = session.job("rolling median")
        self._stored: StoredMedian | None = None
        self._prepared = 0  # the window it is of
        median_bar = RunBar(self._median_job, "Prepare median", "projection", quiet=True)
        median_bar.discard_requested.connect(self._discard_median)
        self._median_job.delivered.connect(self._on_median)
        self._median_job.changed.connect(self.show_median)
        self._median_job.ended.connect(self._on_median_ended)
        apply_bar = RunBar(routine_job, "Apply", "projection", quiet=True)
        apply_bar.discard_requested.connect(self._discard)
        side_bar = RunBar(side_job, "Work", "step", quiet=True)
        side_bar.discard_requested.connect(side_job.discard)
        self.bars = (median_bar, apply_bar, side_bar)
        routine_job.delivered.connect(self._on_store)
        routine_job.frames_done.connect(self._on_frames)

    def settings(self) -> RoutineSettings | None:
        """The parameters as shown; None (and a sentence) if one of them is refused."""
        try:
            return self.form.settings()
        except LabDCTError as error:
            self.said.emit(str(error))
            return None

    def set_engine(self, engine: Engine | None) -> None:
        """Another scan, or none."""
        self._engine = engine
        self._stored = None
        if self._median_job.running:
            self._median_job.cancel()
        self.show_median()

    def prepare_median(self) -> None:
        """Stream the rolling median of all projections once; everything reads it from then on."""
        settings, engine = self.settings(), self._engine
        if settings is not None and engine is not None and not self._median_job.running:
            window = self._prepared = settings.median_window
            self._median_job.start(lambda: engine.prepare_median(window), "Prepare the median")

    def _on_median(self, stored: StoredMedian) -> None:
        self._stored = stored
        self.show_median()

    def _on_median_ended(self, state: str) -> None:
        if state == "done" or self._stored is None:
            self._median_job.discard()  # the button says that it is there

    def show_median(self, *_: object) -> None:
        """Offer the median of the window, or say that it is there."""
        engine, job = self._engine, self._median_job
        window = self.form.boxes.controls["median_window"].value
        stored = None if engine is None else engine.stored_median(window)
        whole = stored is not None and stored.store.complete
        if whole:
            text = f"The median of {window} is prepared"
        elif job.running:
            text = f"Preparing the median of {window}"
        elif stored is not None and stored.store.done.any():
            text = f"Go on preparing the median of {window}"
        else:
            text = f"Prepare the median of {window}"
        size_gb = 0 if engine is None else 4e-9 * engine.scan.n_frames * np.prod(engine.scan.shape)
        tame(
            self.median_button,
            text,
            "Compute the rolling median of all projections once and keep it "
            f"({size_gb:.2g} GB in the cache folder). The live view, Apply, Suggest, Sweep and "
            "Compare all then read it; without it each computes what it needs.",
        )
        self.median_button.setText(text)
        self.median_button.setEnabled(engine is not None and not whole and not job.running)

    def _discard_median(self) -> None:
        if self._stored is not None:
            self._stored.store.discard()
            stores.forget(self._stored.store)
        self._median_job.discard()

    def suggest(self, reference: Any, index: int) -> None:
        """Tune the LoG parameters in a worker."""
        settings, engine = self.settings(), self._engine
        if settings is not None and engine is not None:
            median = engine.stored_median(settings.median_window)
            self._side.start(
                lambda: suggest(engine.scan, settings, reference, first=index, median=median),
                "Suggest parameters",
            )

    def sweep(self, index: int, name: str, window: Window | None, count: int = 6) -> None:
        """Thumbnails at `count` values of one parameter, cut from the middle of `window`."""
        settings, engine = self.settings(), self._engine
        if settings is None or engine is None or self._side.running:
            return
        values = sweep_values(name, getattr(settings, name), count)
        rows, cols = engine.scan.shape
        size = min(192, rows, cols)
        window = window or (0, rows // 2, 0, cols // 2)
        r0 = int(np.clip((window[0] + window[1] - size) // 2, 0, rows - size))
        c0 = int(np.clip((window[2] + window[3] - size) // 2, 0, cols - size))
        part = (r0, r0 + size, c0, c0 + size)
        self.thumbnails.clear()
        self._side.start(lambda: sweep(engine, index, settings, name, values, part), "Sweep")

    def take(self, thing: object) -> None:
        """What the side job made: a suggestion, or one thumbnail of a sweep."""
        if isinstance(thing, Suggestion):
            self.form.set_settings(thing.settings)
            self.hint.setText(thing.sentence)
            self.hint.show()
        elif isinstance(thing, Thumbnail):
            self.thumbnails.add(thing)

    def apply(self, stack: Layer) -> None:
        """Run the routine over the whole scan, into a layer over `stack`."""
        settings, engine = self.settings(), self._engine
        if settings is not None and engine is not None and not self._job.running:
            self._stack, self._layer = stack, None
            self._job.start(lambda: apply_routine(engine, settings), "Standard routine")

    def _on_changed(self, settings: RoutineSettings) -> None:
        job = self._median_job
        if self._stored is not None and self._prepared != settings.median_window:
            self._stored = None  # its file stays, for when the window comes back
            job.cancel() if job.running else job.discard()
        self.show_median()

    def _reset(self) -> None:
        self.form.set_settings(RoutineSettings())

    def _ask_sweep(self) -> None:
        labels = {f.param.label: f.name for f in fields_of(RoutineSettings) if f.name in SPANS}
        label, ok = QInputDialog.getItem(
            self, "Sweep", "Parameter to try at six values:", list(labels), 2, False
        )
        if ok:
            self.sweep_wanted.emit(labels[label])

    def _on_store(self, store: object) -> None:
        if not isinstance(store, FrameStore) or self._stack is None:
            return
        for layer in self._session.results(self._stack, "routine mask"):
            if layer.data is store:
                self._layer = layer
                return
        self._layer = self._session.add_result(
            self._stack, store, "routine mask", recipe=store.recipe
        )

    def _on_frames(self, frames: list[int]) -> None:
        self._session.refresh(self._layer, frames)

    def _discard(self) -> None:
        viewer = self._session.viewer
        if viewer is not None and self._session.contains(self._layer):
            viewer.layers.remove(self._layer)
        self._job.discard()
