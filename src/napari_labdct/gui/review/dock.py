"""The Review dock: look at every spot, keep or drop it, correct it, take it away."""

from __future__ import annotations

import weakref

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError
from ...core.spot_words import WORDS
from ...review.review import ACCEPTED, REJECTED, UNDECIDED
from ...scan.scan import Scan
from ..widgets.dock import Dock, button, wrapped
from ..widgets.forms import tame
from ..widgets.run_bar import RunBar
from . import tasks as spots_work
from .controller import SpotsController
from .gallery import Gallery
from .plots import Plots
from .table import Key, SpotView
from .tabs import CorrectTab, ExportTab

_LIKE = 200


class SpotsDock(Dock):
    """Measure, then review: filters, table, gallery, plots, corrections, exports."""

    title = "Review"

    def build(self) -> None:
        self.controller: SpotsController = self.session.controller(SpotsController)
        self._sources: list[weakref.ref[Layer]] = []
        self._like: Key | None = None
        self._ring_job = self.session.job("hkl rings")
        self._filter_timer = QTimer(self)
        self._filter_timer.setSingleShot(True)
        self._filter_timer.setInterval(150)
        self._filter_timer.timeout.connect(self.apply_filter)
        self._build_sources()
        self.review = QWidget()
        layout = QVBoxLayout(self.review)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._filters())
        layout.addWidget(self._tabs(), 1)
        layout.addLayout(self._decisions())
        self.review.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.body.addWidget(self.review, 100)
        self.bar = RunBar(self.controller.job, "Measure", quiet=True)
        self.bar.run_requested.connect(self._measure)
        self.export_bar = RunBar(self.controller.export_job, "Export", quiet=True)
        self.footer.addWidget(self.bar)
        self.footer.addWidget(self.export_bar)
        self._connect()
        self._show_review()

    # -------------------------------------------------------------------- building

    def _build_sources(self) -> None:
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        self.network, self.routine = QComboBox(), QComboBox()
        tame(self.network, "Spots", "The masks whose spots are measured and reviewed")
        tame(self.routine, "And", "A second method; tells which spots both found")
        for combo in (self.network, self.routine):
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.setMinimumContentsLength(8)
        row = QHBoxLayout()
        row.addWidget(self.network, 1)
        row.addWidget(self.routine, 1)
        form.addRow("Spots", row)
        self.body.addLayout(form)
        self.one_button = button(
            "Measure this frame",
            "Measure the spots of the projection shown; decisions are kept",
            self._measure_shown,
        )
        self.whole_button = button(
            "Measure the whole stack",
            "Measure the spots of every projection that has masks; decisions are kept",
            self._measure,
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.one_button, 1)
        buttons.addWidget(self.whole_button, 1)
        self.body.addLayout(buttons)
        self.missing = wrapped()
        self.body.addWidget(self.missing)

    def _filters(self) -> QVBoxLayout:
        self.frames, self.status_filter, self.found = QComboBox(), QComboBox(), QComboBox()
        self.frames.addItems(["All frames", "This frame"])
        tame(self.frames, "Frames", "Spots of the whole stack, or of the projection shown")
        self.status_filter.addItems(["Any status", *WORDS["status"]])
        tame(self.status_filter, "Status", "Only spots you decided so")
        self.found.addItems(["Found by any", *WORDS["found_by"][1:]])
        tame(self.found, "Found by", "Only spots found by the network, the routine or both")
        combos = QHBoxLayout()
        combos.setSpacing(4)
        for combo in (self.frames, self.status_filter, self.found):
            combo.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            combo.setMinimumContentsLength(5)
            combo.currentIndexChanged.connect(self.apply_filter)
            combos.addWidget(combo, 1)
        self.expression = QLineEdit()
        self.expression.setPlaceholderText("Filter: snr < 5 and area_px >= 4")
        self.expression.setClearButtonEnabled(True)
        tame(
            self.expression,
            "Filter",
            "Conditions on any column joined by 'and'; hold the mouse over a column's head to "
            "see its name. Words: status = rejected, found_by = both, touches_edge = true",
        )
        self.expression.textChanged.connect(self._filter_timer.start)
        self.region = button(
            "Region", "Draw a polygon on the image; only spots inside are listed", None
        )
        self.region.setCheckable(True)
        self.region.toggled.connect(self._on_region)
        self.similar = button("Similar", "List the spots most like the selected one", None)
        self.similar.setCheckable(True)
        self.similar.toggled.connect(self._on_similar)
        self.clear = button("Clear", "List all spots again", self.clear_filter)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.expression, 1)
        for widget in (self.region, self.similar, self.clear):
            line.addWidget(widget)
        filters = QVBoxLayout()
        filters.setSpacing(4)
        filters.addLayout(combos)
        filters.addLayout(line)
        return filters

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
        self.plots.plot.range_wanted.connect(self._add_range)
        self.plots.plot.frame_wanted.connect(self.session.show_frame)
        controller.opened.connect(self._show_review)
        controller.rows_changed.connect(self._on_rows)
        controller.status_changed.connect(self._on_status)
        controller.selected.connect(self._on_selected)
        controller.said.connect(self.say)
        controller.job.changed.connect(self._show_ready)
        controller.nothing_found.connect(self._measure_unasked)
        self.session.results_changed.connect(self._fill_sources)
        self.session.results_changed.connect(self._look_again)
        self.session.stacks_changed.connect(self._fill_sources)
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
        self._fill_sources()
        if layer is not None and scan is not None:
            self.controller.find(layer)
        self._show_review()

    def _fill_sources(self, *_: object) -> None:
        layers = self.controller.sources(self.session.stack)
        kept = [self._source(combo) for combo in (self.network, self.routine)]
        self._sources = [weakref.ref(layer) for layer in layers]
        for combo, first, old in zip((self.network, self.routine), ("", "alone"), kept):
            with QSignalBlocker(combo):
                combo.clear()
                if first:
                    combo.addItem(first, -1)
                for k, layer in enumerate(layers):
                    combo.addItem(layer.name, k)
                if old in layers:
                    combo.setCurrentIndex(combo.findData(layers.index(old)))
        self._show_ready()

    def _show_ready(self) -> None:
        """Offer to measure, or say what is missing for it."""
        missing = ""
        if self.session.stack is not None and not self.problem and not self._sources:
            missing = "No masks yet: denoise the scan, or run the routine in Compare, first."
        self.missing.setText(missing)
        self.missing.setVisible(bool(missing))
        ready = bool(self._sources) and not self.problem and not self.controller.job.running
        for control in (self.one_button, self.whole_button):
            control.setEnabled(ready)
        measured = self.controller.measured
        mine = measured is not None and self.controller.stack is self.session.stack
        if mine and "only_frame" not in measured.recipe["settings"]:
            self.one_button.setEnabled(False)  # the review of the whole stack goes on

    def _source(self, combo: QComboBox) -> Layer | None:
        at = combo.currentData()
        if at is None or not 0 <= at < len(self._sources):
            return None
        return self._sources[at]()

    def _measure(self, _checked: bool = False, only: int | None = None) -> None:
        stack, network = self.session.stack, self._source(self.network)
        routine = self._source(self.routine)
        if stack is not None and network is not None:
            self.controller.measure(stack, network, None if routine is network else routine, only)

    def _measure_shown(self, _checked: bool = False) -> None:
        self._measure(only=self.session.shown_frame())

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self._look_again()

    def _look_again(self, *_: object) -> None:
        """Masks came while the dock was open already: begin with them when it is looked at."""
        stack, controller = self.session.stack, self.controller
        unseen = stack is not None and controller.stack is not stack
        if unseen and self.isVisible() and self._sources and not controller.job.running:
            controller.find(stack)

    def _measure_unasked(self, stack: Layer) -> None:
        """Begin with the projection shown when the scan has masks but no review."""
        masks = self._source(self.network)
        if stack is not self.session.stack or masks is None:
            return
        done = getattr(masks.data, "is_done", None)
        if done is None or done(self.session.shown_frame(stack)):
            self._measure_shown()

    # ---------------------------------------------------------------------- filter

    def clear_filter(self) -> None:
        """List all spots."""
        for widget in (self.frames, self.status_filter, self.found, self.expression):
            with QSignalBlocker(widget):
                widget.clear() if widget is self.expression else widget.setCurrentIndex(0)
        for toggle in (self.region, self.similar):
            with QSignalBlocker(toggle):
                toggle.setChecked(False)
        self._like = None
        self.controller.canvas.remove_region()
        self.apply_filter()

    def apply_filter(self, *_: object) -> None:
        """List the spots that pass all filters."""
        from ...review.selection import inside, similar, where

        table = self.controller.table
        try:
            chosen = where(table, self.expression.text())
        except LabDCTError as error:
            self.say(str(error))
            self.expression.setProperty("refused", True)
            return
        if self.expression.property("refused"):
            self.expression.setProperty("refused", False)
            self.say("")
        if self.frames.currentIndex():
            chosen &= table["frame"] == self.session.shown_frame(self.controller.stack)
        if self.status_filter.currentIndex():
            chosen &= table["status"] == self.status_filter.currentIndex() - 1
        if self.found.currentIndex():
            chosen &= table["found_by"] == self.found.currentIndex()
        polygons = self.controller.canvas.region() if self.region.isChecked() else []
        if polygons:
            chosen &= inside(table, polygons)
        at = self.controller.row_of(self._like) if self.similar.isChecked() else -1
        if at >= 0:
            chosen[at] = True
            order = np.flatnonzero(chosen)
            order = order[similar(table[order], int(np.searchsorted(order, at)), _LIKE)]
        else:
            order = None if chosen.all() else np.flatnonzero(chosen)
        model = self.table.model_
        self.table.keeping(
            lambda: model.show_table(table, order, ranked=at >= 0), self.controller.current
        )
        self._show_rows()

    def filter_text(self) -> str:
        """The filters in words, for recipes."""
        parts = [c.currentText() for c in (self.frames, self.status_filter, self.found)
                 if c.currentIndex() > 0]  # fmt: skip
        parts += [self.expression.text()] if self.expression.text() else []
        parts += ["region"] if self.region.isChecked() else []
        parts += ["similar"] if self.similar.isChecked() else []
        return "; ".join(parts)

    def _shown(self) -> tuple[np.ndarray, str]:
        return self.table.model_.order, self.filter_text()

    def _add_range(self, name: str, low: float, high: float) -> None:
        text = self.expression.text().strip()
        more = f"{name} >= {low:.4g} and {name} <= {high:.4g}"
        self.expression.setText(f"{text} and {more}" if text else more)

    def _on_region(self, on: bool) -> None:
        if not on:
            self.controller.canvas.remove_region()
            self.apply_filter()
            return
        layer = self.controller.canvas.draw_region()
        if layer is None:
            self.region.setChecked(False)
            return
        layer.events.data.connect(self._on_region_drawn)
        self.say("Click the corners of the region on the image; a double click ends it.")

    def _on_region_drawn(self, _event: object = None) -> None:
        self._filter_timer.start()

    def _on_similar(self, on: bool) -> None:
        if on:
            self._like = self.controller.current or self.table.current_key()
            if self._like is None:
                self.similar.setChecked(False)
                self.say("Choose a spot first; then the spots most like it are listed.")
                return
        self.apply_filter()

    # ---------------------------------------------------------------------- review

    def _keys(self) -> list[Key]:
        keys = self.table.keys()
        if not keys and self.controller.current is not None:
            keys = [self.controller.current]
        return keys

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
            self.say(f"Spot {key[1]} of frame {key[0]} does not pass the filter.")

    def _on_frame(self) -> None:
        if self.frames.currentIndex():
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
        if self.status_filter.currentIndex() or "status" in self.expression.text():
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
        self._show_ready()
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
