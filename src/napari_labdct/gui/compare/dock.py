"""The Compare dock: two ways of finding spots on the same projection, and their numbers."""

from __future__ import annotations

from pathlib import Path

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ...evaluation.comparison import Comparison
from ...scan.scan import Scan
from ...spots.log_routine import RoutineSettings
from ..widgets.dock import Dock, describe
from ..widgets.pages import Pages
from ..widgets.run_bar import RunBar
from .controller import CompareRun
from .engine import Engine
from .grain_panel import GrainPicker
from .looking import Looking, window_seen
from .numbers_panel import NumbersPanel
from .reports import Reports
from .request import FrameView, Request, Source
from .routine_panel import RoutinePanel
from .sources import SourcePicker
from .tasks import Sides, reference_of
from .viewing import Viewing


class CompareDock(Dock):
    """Pick A and B, look at them in five views, count, and write it all down."""

    title = "Compare"
    page = "compare.md"

    def build(self) -> None:
        self.looking = Looking(self.session, self._request, self)
        self.refresh = self.looking.soon
        self.viewing = Viewing(self.session, self.refresh, self)
        self.view, self.set_view = self.viewing.view, self.viewing.switch
        self.views, self.profile = self.viewing.bar, self.viewing.profile
        self.run: CompareRun = self.session.controller(CompareRun)
        self.compare_job = self.run.job
        self.routine_job = self.session.job("routine")
        self.side_job = self.session.job("compare side")

        self.picker = SourcePicker(self.session, self.side_job)
        self.grains = GrainPicker(self.session)
        self.numbers = NumbersPanel()
        self.panel = RoutinePanel(self.session, self.side_job, self.routine_job)
        self.routine = self.panel.form
        self.pages = Pages("Routine or numbers")
        self.pages.add("Routine (live)", self.panel)
        self.pages.add("Numbers", self._numbers_page())
        for widget in (
            self.picker, self.views, self.profile, self.numbers.summary, self.grains, self.pages,
        ):  # fmt: skip
            self.body.addWidget(widget)
        self.bar = RunBar(self.compare_job, "Compare all", "projection")
        for bar in (*self.panel.bars, self.bar):
            self.footer.addWidget(bar)
        self._connect()

    def _numbers_page(self) -> QWidget:
        self.reports = Reports(self.run, self.side_job, self._sides)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.reports)
        column.addWidget(self.numbers)
        return page

    def _connect(self) -> None:
        self.viewing.switched.connect(self._on_switched)
        self.looking.seen.connect(self._on_seen)
        self.looking.measured.connect(self.numbers.show_frame)
        self.looking.failed.connect(self.say)
        self.picker.changed.connect(self._source_chosen)
        self.picker.found.connect(self._fill_sources)
        self.picker.pin_wanted.connect(self.pin)
        self.picker.import_wanted.connect(self.import_masks)
        self.grains.changed.connect(self._grain_chosen)
        self.panel.changed.connect(self._routine_changed)
        self.panel.suggest_wanted.connect(self.suggest)
        self.panel.sweep_wanted.connect(self.sweep)
        self.panel.apply_wanted.connect(self.apply)
        for part in (self.viewing, self.panel, self.picker):
            part.said.connect(self.say)
        self.numbers.frame_chosen.connect(self.session.show_frame)
        self.bar.run_requested.connect(self.compare_all)
        self.bar.discard_requested.connect(lambda: self.run.keep_only(None))
        self.run.counted.connect(self.numbers.show_stack)
        self.side_job.delivered.connect(self.panel.take)
        self.side_job.ended.connect(self._on_side_ended)
        for name in ("routine", "denoise"):
            self.session.job(name).frames_done.connect(self._on_new_frames)
        self.session.results_changed.connect(self._on_results)
        self.session.stacks_changed.connect(self._fill_sources)
        viewer = self.session.viewer
        if viewer is not None:
            viewer.dims.events.current_step.connect(self._on_frame)
            step, seen = viewer.dims.events.current_step, self._on_frame
            self.destroyed.connect(lambda *_: step.disconnect(seen))

    @property
    def engine(self) -> Engine | None:
        """Computes for the scan that is looked at."""
        return self.looking.engine

    # ------------------------------------------------------------------ the sources

    def source(self, which: str) -> Source | None:
        """A, B or the truth."""
        return self.picker.source(which)

    def _fill_sources(self, *_: object) -> None:
        scan = None if self.engine is None else self.engine.scan
        self.picker.fill(scan)
        if scan is not None:
            self.picker.seek_truth(scan)
        self._show_captions()

    def _source_chosen(self) -> None:
        self._check_numbers()
        self._show_captions()
        self.refresh()

    def pin(self, which: str) -> Source | None:
        """Keep A or B as it is now; the pin can then be chosen for A or B."""
        settings = self.panel.settings()
        if self.engine is None or settings is None:
            return None
        median = self.engine.stored_median(settings.median_window)
        return self.picker.pin(which, self.engine.scan, settings, median)

    def import_masks(self, path: str | Path) -> None:
        """Read a binary stack (a TIFF, or a folder of them) in a worker and offer it."""
        if self.engine is not None:
            self.picker.import_masks(self.engine.scan, Path(path))

    # ------------------------------------------------------------------- the views

    def keyPressEvent(self, event) -> None:
        """1 to 5 switch views and 0 leaves, unless a number box took the key."""
        name = self.views.of_key(event.text())
        if name and not event.isAutoRepeat():
            self.set_view(name)
        else:
            super().keyPressEvent(event)

    def _on_switched(self, mode: str) -> None:
        self.numbers.show_ranking(mode == "residual")
        self._show_captions()

    def _show_captions(self) -> None:
        view, shown = self.looking.view, self.session.shown_frame()
        match = view.match if view is not None and view.request.index == shown else None
        names = ("" if s is None else s.name for s in map(self.source, "ab"))
        self.viewing.tell(*names, match)

    # ------------------------------------------------------------------ live looking

    def _request(self) -> Request | None:
        a, b = self.source("a"), self.source("b")
        stack = self.session.stack
        settings = self.panel.settings()
        if a is None or b is None or stack is None or settings is None:
            return None
        scan, index = self.engine.scan, self.session.shown_frame()
        window = window_seen(stack, scan.shape) if self.view.on else None
        line, grain = self.view.line, self.grains.grain
        return Request(scan, index, a, b, settings, window, line, grain=grain)

    def _grain_chosen(self) -> None:
        if self.engine is not None:
            self.engine.prediction = self.grains.prediction
        if self.grains.grain is not None and not self.view.on and self.looking.view is not None:
            self.set_view("side by side")
        self.refresh()

    def _on_seen(self, view: FrameView) -> None:
        self.view.show(view)
        if view.match is None:
            return
        self._show_captions()
        self.numbers.show_match(view.request.index, view.match)
        self.grains.tell(view.spots, view.covered)
        self.panel.show_median()
        if view.profile:
            self.profile.show_curves(view.profile, view.request.line)
        self.say(view.note or describe(self.engine.scan))

    def _routine_changed(self, _settings: RoutineSettings) -> None:
        self._check_numbers()
        self.refresh()

    def _on_frame(self, _event: object = None) -> None:
        self.numbers.set_frame(self.session.shown_frame(), self._omega())
        self._show_captions()
        self.refresh()

    def _on_new_frames(self, frames: list[int]) -> None:
        if self.session.shown_frame() in frames:
            self.refresh()

    def _omega(self) -> float:
        index = self.session.shown_frame()
        scan = None if self.engine is None else self.engine.scan
        if scan is None or scan.omega_deg is None:
            return float("nan")
        return float(scan.omega_deg[index])

    def _on_results(self, layer: Layer) -> None:
        if layer is self.session.stack:
            self._fill_sources()
            self._check_numbers()
            self.refresh()

    # --------------------------------------------------------- suggest, sweep, apply

    def suggest(self) -> None:
        """Tune the LoG parameters; against the other side if that is something fixed."""
        if self.engine is None:
            return
        reference = reference_of(self.engine.scan, self.source("a"), self.source("b"))
        self.panel.suggest(reference, self.session.shown_frame())

    def sweep(self, name: str) -> None:
        """Thumbnails of this projection at several values of one parameter."""
        stack = self.session.stack
        if self.engine is not None and stack is not None:
            seen = window_seen(stack, self.engine.scan.shape) if self.view.on else None
            self.panel.sweep(self.session.shown_frame(), name, seen)

    def apply(self) -> None:
        """Run the routine over the whole stack into a result layer."""
        stack = self.session.stack
        if self.engine is not None and stack is not None:
            self.panel.apply(stack)

    def _on_side_ended(self, state: str) -> None:
        if state == "done":
            if self.side_job.note:
                self.say(self.side_job.note)
            self.side_job.discard()  # its result is on the screen; no bar is needed

    # ------------------------------------------------------------------ all frames

    @property
    def result(self) -> Comparison:
        """What was counted so far of the projections."""
        return self.run.result

    def compare_all(self) -> None:
        """Compare A and B over all projections that both have and that were not compared yet."""
        sides = self._sides()
        if sides is not None:
            self.run.start(sides)
            self.pages.choose("Numbers")

    def _sides(self) -> Sides | None:
        a, b, truth = (self.source(which) for which in ("a", "b", "truth"))
        if self.engine is None or a is None or b is None:
            return None
        settings = self.panel.settings()
        return None if settings is None else Sides(self.engine, (a, b, truth), settings)

    def _check_numbers(self) -> None:
        """Forget the stack's numbers if they are of other masks now."""
        self.run.keep_only(self._sides())

    # ------------------------------------------------------------------- the stack

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.viewing.follow(layer, scan)
        known = self.engine.scan if self.engine is not None else None
        if scan is not known:
            if known is None or scan is None or scan.frames is not known.frames:
                self.picker.forget()
            self.looking.follow(self.run.engine(scan))
            self.numbers.forget_frame()
            self.panel.set_engine(self.engine)
            self.grains.set_scan(scan)
        self._fill_sources()
        if known is None:
            self._take_up()
        self._check_numbers()
        self.numbers.show_stack(self.run.tally)
        self.bar.set_ready(scan is not None, self.problem or "Open a scan first")
        self.numbers.set_frame(self.session.shown_frame(), self._omega())
        self.refresh()

    def _take_up(self) -> None:
        """A reopened dock goes on with what its predecessor compared."""
        sides = self.run.sides
        if sides is not None and sides.engine is self.engine:
            with QSignalBlocker(self.panel), QSignalBlocker(self.picker):
                self.routine.set_settings(sides.settings)
                for which, source in zip(("a", "b", "truth"), sides.sources):
                    self.picker.set_source(which, "" if source is None else source.key)
