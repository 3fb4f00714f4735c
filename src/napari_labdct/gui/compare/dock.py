"""The Compare dock: two ways of finding spots on the same projection, and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
)

from ...core.errors import LabDCTError
from ...evaluation.comparison import Comparison, FrameResult, Segmentation, open_segmentation
from ...evaluation.figures import preset_lines
from ...evaluation.report import holds_report
from ...scan.scan import Scan
from ...spots.log_routine import RoutineSettings
from ..app.job import LatestJob
from ..widgets.dock import Dock, button, describe, heading
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from .controller import CompareRun, Sides, read_recipes, write_everything
from .grain_panel import GrainPicker
from .numbers_panel import NumbersPanel, recipes_html
from .profile_panel import ProfilePanel
from .routine_panel import RoutinePanel
from .sources import SourcePicker
from .tasks import Engine, FrameView, Request, Source
from .views import VIEWS, CompareView

_FLICKER_MS = 500


class CompareDock(Dock):
    """Pick A and B, look at them in five views, count, and write it all down."""

    title = "Compare"

    def build(self) -> None:
        self.engine: Engine | None = None
        self.view = CompareView(self.session, self._on_left, self.refresh)
        self.look_job = self.session.job("compare look")
        self._looks = LatestJob(self.look_job, self._start_look, cancels=True)
        self.run: CompareRun = self.session.controller(CompareRun)
        self.compare_job = self.run.job
        self.routine_job = self.session.job("routine")
        self.side_job = self.session.job("compare side")

        self.picker = SourcePicker(self.session)
        self.picker.changed.connect(self._source_chosen)
        self.picker.found.connect(self._fill_sources)
        self.picker.pin_wanted.connect(self.pin)
        self.picker.import_wanted.connect(self.import_masks)
        self.body.addWidget(self.picker)
        self._build_views()
        self.grains = GrainPicker(self.session)
        self.grains.changed.connect(self._grain_chosen)
        self.body.addWidget(self.grains)
        self.panel = RoutinePanel(self.session, self.side_job, self.routine_job)
        self.panel.changed.connect(self._routine_changed)
        self.panel.suggest_wanted.connect(self.suggest)
        self.panel.sweep_wanted.connect(self.sweep)
        self.panel.apply_wanted.connect(self.apply)
        self.panel.said.connect(self.say)
        self.routine = self.panel.form
        self.body.addWidget(self.panel)
        self.numbers = NumbersPanel()
        self.numbers.frame_chosen.connect(self.session.show_frame)
        self.body.addWidget(self.numbers)
        row = QHBoxLayout()
        self.report_button = button(
            "Report...", "Write tables (CSV), pictures and a one-page report", self._ask_report
        )
        self.recipes_button = button(
            "What made A and B?", "Their recipes side by side", self.show_recipes
        )
        row.addWidget(self.report_button)
        row.addWidget(self.recipes_button)
        self.body.addLayout(row)

        self.bar = RunBar(self.compare_job, "Compare all", "frame")
        self.bar.run_requested.connect(self.compare_all)
        self.bar.discard_requested.connect(lambda: self.run.keep_only(None))
        for bar in (*self.panel.bars, self.bar):
            self.footer.addWidget(bar)

        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(10)  # several slider steps in one event are one request
        self._soon.timeout.connect(self._look)
        self._flicker = QTimer(self)
        self._flicker.setInterval(_FLICKER_MS)
        self._flicker.timeout.connect(self._flip)
        self._connect()

    def _connect(self) -> None:
        self.look_job.delivered.connect(self._on_look)
        self.look_job.ended.connect(self._on_look_ended)
        self.run.counted.connect(self.numbers.show_stack)
        self.run.counted.connect(self._show_ready)
        self.compare_job.changed.connect(self._show_ready)
        self.side_job.delivered.connect(self._on_side)
        self.side_job.ended.connect(self._on_side_ended)
        for name in ("routine", "denoise"):
            self.session.job(name).frames_done.connect(self._on_new_frames)
        self.session.results_changed.connect(self._on_results)
        self.session.stacks_changed.connect(self._fill_sources)
        viewer = self.session.viewer
        if viewer is not None:
            viewer.dims.events.current_step.connect(self._on_frame)
            self.destroyed.connect(_farewell(self.view, viewer, self._on_frame))

    # ----------------------------------------------------------------- the controls

    def _build_views(self) -> None:
        self.body.addWidget(heading("View"))
        grid = QGridLayout()
        grid.setSpacing(3)
        self.view_buttons = QButtonGroup(self)
        self.view_buttons.setExclusive(False)
        for k, name in enumerate((*VIEWS, "leave")):
            made = QPushButton(name.capitalize())
            made.setCheckable(name != "leave")
            tip = "Bring back the layers as they were" if name == "leave" else f"View: {name}"
            tame(
                made, name.capitalize(), f"{tip} (key {(k + 1) % 6} while this dock has the focus)"
            )
            self.view_buttons.addButton(made, k)
            grid.addWidget(made, k // 3, k % 3)
        self.view_buttons.idClicked.connect(lambda k: self.set_view((*VIEWS, "leave")[k]))
        self.body.addLayout(grid)
        self.profile = ProfilePanel()
        self.profile.preset_wanted.connect(self._preset)
        self.profile.pointed.connect(self.view.point_at)
        self.profile.said.connect(self.say)
        self.profile.hide()
        self.body.addWidget(self.profile)

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
        if self.engine is None:
            return None
        try:
            settings = self.routine.settings()
            median = self.engine.stored_median(settings.median_window)
            kept = self.picker.pin(which, self.engine.scan, settings, median)
        except LabDCTError as error:
            self.say(str(error))
            return None
        self._fill_sources()
        if kept is not None:
            self.say(f"Pinned as '{kept.name}'; choose it for A or B.")
        return kept

    def import_masks(self, path: str | Path) -> None:
        """Read a binary stack (a TIFF, or a folder of them) in a worker and offer it."""
        if self.engine is None or self.side_job.running:
            return
        scan = self.engine.scan

        def make():
            found = open_segmentation(path)
            found.check(scan)
            yield found

        self.side_job.start(make, "Import masks")

    # ------------------------------------------------------------------- the views

    def set_view(self, name: str) -> None:
        """Switch to one of `VIEWS`, or ``"leave"``."""
        stack = self.session.stack
        if name == "leave":
            self.view.leave()
        elif stack is not None and self.engine is not None:
            self.view.enter(stack, name)
        self._show_view()
        self._show_captions()
        self.refresh()

    def keyPressEvent(self, event) -> None:
        """1 to 5 switch views and 0 leaves, unless a number box took the key."""
        names = dict(zip("123450", (*VIEWS, "leave")))
        if event.text() in names and not event.isAutoRepeat():
            self.set_view(names[event.text()])
        else:
            super().keyPressEvent(event)

    def _on_left(self) -> None:
        self._show_view()

    def _show_view(self) -> None:
        for k, name in enumerate(VIEWS):
            with QSignalBlocker(self.view_buttons):
                self.view_buttons.button(k).setChecked(self.view.mode == name)
        self.profile.setVisible(self.view.mode == "profile")
        self.numbers.show_ranking(self.view.mode == "residual")
        if self.view.mode == "flicker":
            self._flicker.start()
        else:
            self._flicker.stop()

    def _flip(self) -> None:
        which = self.view.flip()
        if which:
            self.say(f"Flicker shows {which.upper()}: {self._name(which)}")

    def _name(self, which: str) -> str:
        source = self.source(which)
        return "" if source is None else source.name

    def _show_captions(self) -> None:
        view, shown = self._view, self.session.shown_frame()
        match = view.match if view is not None and view.request.index == shown else None
        self.view.set_captions(self._name("a"), self._name("b"), match)
        omega = self._omega()
        self.view.set_corner(f"frame {shown}" + ("" if np.isnan(omega) else f", {omega:g}°"))

    def _preset(self, name: str) -> None:
        if self.engine is not None:
            self.view.set_line(preset_lines(self.engine.scan.shape)[name])

    # ------------------------------------------------------------------ live looking

    def refresh(self, *_: object) -> None:
        """Compute what is on the screen again, soon."""
        if self.engine is not None:
            self._soon.start()

    def _look(self) -> None:
        if self.engine is None or self.session.viewer is None:
            return
        self._looks.ask(self.engine)

    def _start_look(self, engine: Engine):
        request = self._request() if engine is self.engine else None
        return request and (lambda: engine.look(request), "Compare this projection")

    def _request(self) -> Request | None:
        a, b = self.source("a"), self.source("b")
        stack = self.session.stack
        if a is None or b is None or stack is None:
            return None
        try:
            settings = self.routine.settings()
        except LabDCTError as error:
            self.say(str(error))
            return None
        index = self.session.shown_frame()
        window = self._window(stack)
        return Request(
            self.engine.scan, index, a, b, settings, window, self.view.line, grain=self.grains.grain
        )

    def _grain_chosen(self) -> None:
        if self.engine is not None:
            self.engine.prediction = self.grains.prediction
        if self.grains.grain is not None and not self.view.on and self._view is not None:
            self.set_view("side by side")
        self.refresh()

    def _window(self, stack: Layer) -> tuple[int, int, int, int] | None:
        """The part of the projection on the screen, if it is clearly less than the whole."""
        (r0, c0), (r1, c1) = (corner[-2:] for corner in np.asarray(stack.corner_pixels))
        rows, cols = self.engine.scan.shape
        r0, r1 = (int(np.clip(r, 0, rows)) for r in (r0, r1 + 1))
        c0, c1 = (int(np.clip(c, 0, cols)) for c in (c0, c1 + 1))
        part = (r1 - r0) * (c1 - c0) / (rows * cols)
        return (r0, r1, c0, c1) if 0 < part < 0.5 and self.view.on else None

    def _on_look(self, thing: object) -> None:
        if isinstance(thing, FrameResult):
            if self._view is not None:  # else it is of the scan before
                self.numbers.show_frame(thing)
            return
        if not isinstance(thing, FrameView) or self.engine is None:
            return
        if thing.request.scan is not self.engine.scan:
            return
        self._view = thing
        self.view.show(thing)
        if thing.match is not None:
            self._show_captions()
            self.numbers.show_match(thing.request.index, thing.match)
            self.grains.tell(thing.spots, thing.covered)
            self.panel.show_median()
            if thing.profile:
                self.profile.show_curves(thing.profile, thing.request.line)
            self.say(thing.note or describe(self.engine.scan))

    def _on_look_ended(self, state: str) -> None:
        if state == "failed":
            self.say(self.look_job.error)

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
        other = next((s for s in (self.source("a"), self.source("b")) if s and not s.live), None)
        reference = None if other is None else other.segmentation.masks
        if reference is not None and tuple(reference.shape[1:]) != self.engine.scan.shape:
            reference = None
        if other is not None and other.done is not None and not other.done().all():
            reference = None  # projections without a result would count as empty
        self.panel.suggest(reference, self.session.shown_frame())

    def sweep(self, name: str) -> None:
        """Thumbnails of this projection at several values of one parameter."""
        stack = self.session.stack
        if self.engine is not None and stack is not None:
            self.panel.sweep(self.session.shown_frame(), name, self._window(stack))

    def apply(self) -> None:
        """Run the routine over the whole stack into a result layer."""
        stack = self.session.stack
        if self.engine is not None and stack is not None:
            self.panel.apply(stack)

    def _on_side(self, thing: object) -> None:
        if isinstance(thing, Segmentation):
            self.picker.add_imported(thing)
            self._fill_sources()
            self.say(f"Imported '{thing.name}'; choose it for A, B or the truth.")
        elif isinstance(thing, tuple):
            self._show_recipes(*thing[:2])
        else:
            self.panel.take(thing)

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

    def _sides(self) -> Sides | None:
        a, b, truth = (self.source(which) for which in ("a", "b", "truth"))
        if self.engine is None or a is None or b is None:
            return None
        try:
            return Sides(self.engine, (a, b, truth), self.routine.settings())
        except LabDCTError as error:
            self.say(str(error))
            return None

    def _check_numbers(self) -> None:
        """Forget the stack's numbers if they are of other masks now."""
        self.run.keep_only(self._sides())

    def _show_ready(self, *_: object) -> None:
        self.report_button.setEnabled(bool(self.result.results) and not self.compare_job.running)

    def _ask_report(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for tables, pictures and report")
        if folder and (not holds_report(folder) or self._may_replace(folder)):
            self.write_report(folder, overwrite=True)

    def _may_replace(self, folder: str) -> bool:
        text = f"{folder} holds a report already. Replace it?"
        return QMessageBox.question(self, "Write report", text) == QMessageBox.StandardButton.Yes

    def write_report(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write CSV tables, pictures and the report of what was compared."""
        sides, result = self.run.sides, self.result
        if sides is not None and result.results and not self.side_job.running:
            self.side_job.start(
                lambda: write_everything(Path(folder), sides, result, overwrite), "Write report"
            )

    def show_recipes(self) -> None:
        """The recipes of A and B side by side, differences bold."""
        sides = self._sides()
        if sides is not None and not self.side_job.running:
            self.side_job.start(lambda: read_recipes(sides), "Read the recipes")

    def _show_recipes(self, a: Segmentation, b: Segmentation) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle("What made A and B")
        dialog.resize(640, 480)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        text = QTextBrowser()
        text.setHtml(recipes_html(a, b))
        QVBoxLayout(dialog).addWidget(text)
        dialog.show()

    # ------------------------------------------------------------------- the stack

    _view: FrameView | None = None

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        if self.view.on and self.view.stack is not layer:
            self.view.leave()
            self._show_view()
        known = self.engine.scan if self.engine is not None else None
        if scan is not known:
            if known is None or scan is None or scan.frames is not known.frames:
                self.picker.forget()
            self.engine = self.run.engine(scan)
            self._view = None
            self.numbers.forget_frame()
            self.panel.set_engine(self.engine)
            self.grains.set_scan(scan)
        self.view_buttons.button(0).parentWidget().setEnabled(scan is not None)
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


def _farewell(view: CompareView, viewer: Viewer, on_step: Callable) -> Callable[..., None]:
    """What a closed dock leaves behind: the user's layers as they were."""

    def gone(*_: object) -> None:
        viewer.dims.events.current_step.disconnect(on_step)
        # later, for with the whole window closing there is nothing to bring back
        QTimer.singleShot(0, view.leave)

    return gone
