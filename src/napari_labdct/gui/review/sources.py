"""Which masks the Review dock measures, and the buttons that measure them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from .controller import SpotsController

if TYPE_CHECKING:
    from ..app.session import Session


class SourcesPanel(QWidget):
    """Masks of the active stack, a second method beside them, and what is missing.

    Parameters
    ----------
    session : Session
    controller : SpotsController
    problem : callable
        Tells why the active stack cannot be used; empty if it can.
    """

    def __init__(
        self, session: Session, controller: SpotsController, problem: Callable[[], str]
    ) -> None:
        super().__init__()
        self._session, self._controller, self._problem = session, controller, problem
        self._sources: list[weakref.ref[Layer]] = []
        self._build()
        controller.job.changed.connect(self.show_ready)
        controller.finder.nothing_found.connect(self._measure_unasked)
        session.results_changed.connect(self.fill)
        session.stacks_changed.connect(self.fill)

    def _build(self) -> None:
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
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        self.one_button = button(
            "Measure this projection",
            "Measure the spots of the projection shown; decisions are kept",
            self._measure_shown,
        )
        self.whole_button = button(
            "Measure the whole stack",
            "Measure the spots of every projection that has masks; decisions are kept",
            self.measure,
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.one_button, 1)
        buttons.addWidget(self.whole_button, 1)
        layout.addLayout(buttons)
        self.missing = wrapped()
        layout.addWidget(self.missing)
        self.outlines_button = button(
            "Show the outlines",
            "The layer with the outlines of the spots was removed; bring it back",
            self._show_outlines,
        )
        layout.addWidget(self.outlines_button)

    def fill(self, *_: object) -> None:
        """List the masks of the active stack."""
        layers = self._controller.finder.sources(self._session.stack)
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
        self.show_ready()

    def show_ready(self) -> None:
        """Offer to measure, or say what is missing for it."""
        missing = ""
        if self._session.stack is not None and not self._problem() and not self._sources:
            missing = "No masks yet: denoise the scan, or run the routine in Compare, first."
        self.missing.setText(missing)
        self.missing.setVisible(bool(missing))
        ready = bool(self._sources) and not self._problem() and not self._controller.job.running
        for control in (self.one_button, self.whole_button):
            control.setEnabled(ready)
        measured = self._controller.measured
        mine = measured is not None and self._controller.stack is self._session.stack
        if mine and "only_frame" not in measured.recipe["settings"]:
            self.one_button.setEnabled(False)  # the review of the whole stack goes on
        self.outlines_button.setVisible(mine and self._controller.canvas.layer("review") is None)

    def _source(self, combo: QComboBox) -> Layer | None:
        at = combo.currentData()
        if at is None or not 0 <= at < len(self._sources):
            return None
        return self._sources[at]()

    def measure(self, _checked: bool = False, only: int | None = None) -> None:
        """Measure the spots of the chosen masks, or of one projection."""
        stack, network = self._session.stack, self._source(self.network)
        routine = self._source(self.routine)
        if stack is not None and network is not None:
            self._controller.finder.measure(
                stack, network, None if routine is network else routine, only
            )

    def _measure_shown(self, _checked: bool = False) -> None:
        self.measure(only=self._session.shown_frame())

    def _show_outlines(self) -> None:
        self._controller.show_outlines()
        self.show_ready()

    def look_again(self) -> None:
        """Masks came while the dock was open already: begin with them when it is looked at."""
        stack, controller = self._session.stack, self._controller
        unseen = stack is not None and controller.stack is not stack
        if unseen and self.isVisible() and self._sources and not controller.job.running:
            controller.finder.find(stack)

    def _measure_unasked(self, stack: Layer) -> None:
        """Begin with the projection shown when the scan has masks but no review."""
        masks = self._source(self.network)
        if stack is not self._session.stack or masks is None:
            return
        done = getattr(masks.data, "is_done", None)
        if done is None or done(self._session.shown_frame(stack)):
            self._measure_shown()
