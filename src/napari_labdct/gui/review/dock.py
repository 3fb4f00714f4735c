"""The Review dock: look at every spot, keep or drop it, correct it, take it away."""

from __future__ import annotations

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QProgressBar,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError
from ...review.review import ACCEPTED, REJECTED, UNDECIDED
from ...scan.scan import Scan
from ..widgets.dock import Dock, button
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from . import tasks as spots_work
from .controller import SpotsController
from .filters import FilterBar
from .gallery import Gallery
from .plots import Plots
from .sources import SourcesPanel
from .table import Key, SpotView
from .tabs import CorrectTab, ExportTab

_LIKE = 200


class SpotsDock(Dock):
    """Measure, then review: filters, table, gallery, plots, corrections, exports."""

    title = "Review"
    page = "spots.md"

    def build(self) -> None:
        self.controller: SpotsController = self.session.controller(SpotsController)
        self._ring_job = self.session.job("hkl rings")
        self.sources = SourcesPanel(self.session, self.controller, lambda: self.problem)
        self.filters = FilterBar(self.session, self.controller, self._current)
        self.body.addWidget(self.sources)
        self.review = QWidget()
        layout = QVBoxLayout(self.review)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.filters)
        layout.addWidget(self._tabs(), 1)
        layout.addLayout(self._decisions())
        self.review.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.body.addWidget(self.review, 100)
        self.bar = RunBar(self.controller.job, "Measure", quiet=True)
        self.bar.run_requested.connect(self.sources.measure)
        self.export_bar = RunBar(self.controller.export_job, "Export", quiet=True)
        self.footer.addWidget(self.bar)
        self.footer.addWidget(self.export_bar)
        self._connect()
        self._show_review()

    # -------------------------------------------------------------------- building

    def _tabs(self) -> QTabWidget:
        self.table = SpotView()
        self.table.setMinimumHeight(170)
        self.gallery = Gallery(self.controller, self.session.job("spot crops"))
        self.plots = Plots()
        self.correct = CorrectTab(self.controller, self._keys)
        self.export = ExportTab(self.controller, self._shown)
        self.tabs = QTabWidget()
        self.tabs.setAccessibleName("Views of the spots")
        for widget, name in (
            (self.table, "Table"),
            (self.gallery, "Gallery"),
            (self.plots, "Plots"),
            (self.correct, "Correct"),
            (self.export, "Export"),
        ):
            self.tabs.addTab(widget, name)
        return self.tabs

    def _decisions(self) -> QGridLayout:
        self.accept = button("Accept", "A: these are spots", lambda: self._decide(ACCEPTED))
        self.reject = button("Reject", "R: these are none", lambda: self._decide(REJECTED))
        self.leave = button("Undecided", "U: leave it open", lambda: self._decide(UNDECIDED))
        self.undo = button("Undo", "Ctrl+Z: take back the last step", self.controller.undo)
        self.redo = button("Redo", "Ctrl+Y: bring back what was undone", self.controller.redo)
        self.advance = QCheckBox("Go on to the next spot")
        tame(self.advance, "Go on", "After a decision on one spot, the next row becomes current")
        self.advance.setChecked(True)
        self.advance.toggled.connect(self._set_advance)
        self.progress = QProgressBar()
        tame(self.progress, "Review", "How many spots are decided")
        grid = QGridLayout()
        grid.setSpacing(4)
        for k, widget in enumerate((self.accept, self.reject, self.leave, self.undo, self.redo)):
            grid.addWidget(widget, 0, k)
        grid.addWidget(self.advance, 1, 0, 1, 2)
        grid.addWidget(self.progress, 1, 2, 1, 3)
        return grid

    def _connect(self) -> None:
        controller = self.controller
        self.table.walked.connect(self._walked)
        self.table.decided.connect(controller.set_status)
        self.table.undo_wanted.connect(controller.undo)
        self.table.redo_wanted.connect(controller.redo)
        self.gallery.clicked.connect(self._show)
        self._ring_job.delivered.connect(self.plots.plot.show_rings)
        self.plots.plot.range_wanted.connect(self.filters.add_range)
        self.plots.plot.frame_wanted.connect(self.session.show_frame)
        controller.opened.connect(self._show_review)
        controller.rows_changed.connect(self._on_rows)
        controller.status_changed.connect(self._on_status)
        controller.selected.connect(self._on_selected)
        controller.said.connect(self.say)
        self.filters.changed.connect(self.apply_filter)
        self.filters.said.connect(self.say)
        self.session.results_changed.connect(self._look_again)
        self.session.frame_changed.connect(self._on_frame)
        self.tabs.currentChanged.connect(self._on_tab)
        self.session.theme_changed.connect(self._on_theme)
        self._on_theme()

    def _on_theme(self) -> None:
        from napari.utils.theme import get_theme

        viewer = self.session.viewer
        if viewer is not None:
            background = get_theme(viewer.theme).background
            self.table.model_.follow_theme(background.as_hex())

    # --------------------------------------------------------------------- sources

    def show_stack(self, layer: Layer | None, scan: Scan | None) -> None:
        self.sources.fill()
        if layer is not None and scan is not None:
            self.controller.finder.find(layer)
        self._show_review()

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self._look_again()

    def came_to_front(self) -> None:
        self._look_again()

    def _look_again(self, *_: object) -> None:
        if not self.behind:  # the outlines would cover what another dock shows
            self.sources.look_again()

    # ---------------------------------------------------------------------- filter

    def apply_filter(self, *_: object) -> None:
        """List the spots that pass all filters."""
        table, line = self.controller.table, self.filters.expression
        try:
            order, ranked = self.filters.rows(table)
        except LabDCTError as error:
            self.say(str(error))
            line.setProperty("refused", True)
            return
        if line.property("refused"):
            line.setProperty("refused", False)
            self.say("")
        model = self.table.model_
        self.table.keeping(
            lambda: model.show_table(table, order, ranked=ranked), self.controller.current
        )
        self._show_rows()

    def _shown(self) -> tuple[np.ndarray, str]:
        return self.table.model_.order, self.filters.text()

    # ---------------------------------------------------------------------- review

    def _keys(self) -> list[Key]:
        keys = self.table.keys()
        if not keys and self.controller.current is not None:
            keys = [self.controller.current]
        return keys

    def _current(self) -> Key | None:
        return self.controller.current or self.table.current_key()

    def _decide(self, status: int) -> None:
        if self.tabs.currentWidget() is self.table:
            self.table.decide(status)
        else:
            self.controller.set_status(self._keys(), status)

    def _set_advance(self, on: bool) -> None:
        self.table.advance = on

    def _walked(self, key: Key) -> None:
        self.controller.select(key)

    def _show(self, key: Key) -> None:
        self.controller.select(key)

    def _on_selected(self, key: Key | None) -> None:
        if key is None or self.table.current_key() == key:
            return
        if not self.table.go_to(key):
            self.say(f"Spot {key[1]} of projection {key[0]} does not pass the filter.")

    def _on_frame(self) -> None:
        if self.filters.follows_frame:
            self.apply_filter()
        self.correct.on_frame()

    def _on_tab(self, _index: int) -> None:
        if self.tabs.currentWidget() is not self.correct:
            self.correct.tools_off()
        self.gallery.look()
        self.plots.look()

    def _on_rows(self, _frame: int) -> None:
        self.apply_filter()
        self._show_progress()

    def _on_status(self) -> None:
        if self.filters.follows_status:
            self.apply_filter()
        else:
            self.table.model_.show_statuses()
            self.gallery.show_statuses(self.controller.table)
        self._show_progress()

    def _show_rows(self) -> None:
        model, measured = self.table.model_, self.controller.measured
        self.gallery.show_rows(model.table, model.order)
        self.plots.show_rows(model.table, model.order, None if measured is None else measured.scan)

    def _show_review(self) -> None:
        mine = self.controller.measured is not None and (
            self.controller.stack is self.session.stack
        )
        self.review.setEnabled(mine)
        self.sources.show_ready()
        about = self.controller.finder.wanted
        stray = about is not None and about is not self.session.stack
        self.bar.set_about(about.name if stray else "")
        self._want_rings()
        self.apply_filter()
        self._show_progress()

    def _want_rings(self) -> None:
        measured = self.controller.measured
        if measured is not None and not self._ring_job.running:
            scan = measured.scan
            self._ring_job.start(lambda: spots_work.rings(scan), "Look up the crystal")

    def _show_progress(self) -> None:
        measured, status = self.controller.measured, self.controller.table["status"]
        total, accepted = len(status), int((status == ACCEPTED).sum())
        rejected = int((status == REJECTED).sum())
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(accepted + rejected)
        text = f"{accepted + rejected} of {total} decided" if total else "No spots measured"
        self.progress.setFormat(text)
        self.progress.setToolTip(f"{accepted} accepted, {rejected} rejected")
        review = None if measured is None else measured.review
        for control, verb, name in (
            (self.undo, "Undo", review.undo_name if review else ""),
            (self.redo, "Redo", review.redo_name if review else ""),
        ):
            control.setEnabled(bool(name))
            control.setToolTip(f"{verb}: {name}" if name else f"Nothing to {verb.lower()}")
