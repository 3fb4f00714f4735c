"""Which spots the Review dock lists: by frame, status, finder, conditions, region, likeness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from ...core.spot_words import WORDS
from ..widgets.dock import button
from ..widgets.forms import tame
from .controller import SpotsController
from .table import Key

if TYPE_CHECKING:
    from ..app.session import Session

_LIKE = 200


class FilterBar(QWidget):
    """The filters of the table, which hold together.

    Parameters
    ----------
    session : Session
    controller : SpotsController
    current : callable
        Key of the spot that is looked at, or None.

    Attributes
    ----------
    changed : signal
        Other spots are to be listed.
    said : signal(str)
        A sentence for the status line.
    """

    changed = Signal()
    said = Signal(str)

    def __init__(
        self, session: Session, controller: SpotsController, current: Callable[[], Key | None]
    ) -> None:
        super().__init__()
        self._session, self._controller, self._current = session, controller, current
        self._like: Key | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(150)
        self._rest.timeout.connect(self.changed)
        self._build()

    def _build(self) -> None:
        self.frames, self.status_filter, self.found = QComboBox(), QComboBox(), QComboBox()
        self.frames.addItems(["All projections", "This projection"])
        tame(self.frames, "Projections", "Spots of the whole stack, or of the projection shown")
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
            combo.currentIndexChanged.connect(self.changed)
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
        self.expression.textChanged.connect(self._rest.start)
        self.region = button(
            "Region", "Draw a polygon on the image; only spots inside are listed", None
        )
        self.region.setCheckable(True)
        self.region.toggled.connect(self._on_region)
        self.similar = button("Similar", "List the spots most like the selected one", None)
        self.similar.setCheckable(True)
        self.similar.toggled.connect(self._on_similar)
        self.clear = button("Clear", "List all spots again", self.clear_all)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.expression, 1)
        for widget in (self.region, self.similar, self.clear):
            line.addWidget(widget)
        filters = QVBoxLayout(self)
        filters.setContentsMargins(0, 0, 0, 0)
        filters.setSpacing(4)
        filters.addLayout(combos)
        filters.addLayout(line)

    def clear_all(self) -> None:
        """List all spots."""
        for widget in (self.frames, self.status_filter, self.found, self.expression):
            with QSignalBlocker(widget):
                widget.clear() if widget is self.expression else widget.setCurrentIndex(0)
        for toggle in (self.region, self.similar):
            with QSignalBlocker(toggle):
                toggle.setChecked(False)
        self._like = None
        self._controller.canvas.remove_region()
        self.changed.emit()

    def rows(self, table: np.ndarray) -> tuple[np.ndarray | None, bool]:
        """Rows that pass all filters (None: all), and whether they are ranked by likeness.

        Raises
        ------
        SettingsError
            The conditions cannot be read.
        """
        from ...review.selection import inside, similar, where

        chosen = where(table, self.expression.text())
        if self.frames.currentIndex():
            chosen &= table["frame"] == self._session.shown_frame(self._controller.stack)
        if self.status_filter.currentIndex():
            chosen &= table["status"] == self.status_filter.currentIndex() - 1
        if self.found.currentIndex():
            chosen &= table["found_by"] == self.found.currentIndex()
        polygons = self._controller.canvas.region() if self.region.isChecked() else []
        if polygons:
            chosen &= inside(table, polygons)
        at = self._controller.row_of(self._like) if self.similar.isChecked() else -1
        if at < 0:
            return (None if chosen.all() else np.flatnonzero(chosen)), False
        chosen[at] = True
        order = np.flatnonzero(chosen)
        return order[similar(table[order], int(np.searchsorted(order, at)), _LIKE)], True

    @property
    def follows_frame(self) -> bool:
        """Whether another projection lists other spots."""
        return bool(self.frames.currentIndex())

    @property
    def follows_status(self) -> bool:
        """Whether a decision may list other spots."""
        return bool(self.status_filter.currentIndex()) or "status" in self.expression.text()

    def text(self) -> str:
        """The filters in words, for recipes."""
        parts = [c.currentText() for c in (self.frames, self.status_filter, self.found)
                 if c.currentIndex() > 0]  # fmt: skip
        parts += [self.expression.text()] if self.expression.text() else []
        parts += ["region"] if self.region.isChecked() else []
        parts += ["similar"] if self.similar.isChecked() else []
        return "; ".join(parts)

    def add_range(self, name: str, low: float, high: float) -> None:
        """Add a condition on a column."""
        text = self.expression.text().strip()
        more = f"{name} >= {low:.4g} and {name} <= {high:.4g}"
        self.expression.setText(f"{text} and {more}" if text else more)

    def _on_region(self, on: bool) -> None:
        if not on:
            self._controller.canvas.remove_region()
            self.changed.emit()
            return
        layer = self._controller.canvas.draw_region()
        if layer is None:
            self.region.setChecked(False)
            return
        layer.events.data.connect(self._on_region_drawn)
        self.said.emit("Click the corners of the region on the image; a double click ends it.")

    def _on_region_drawn(self, _event: object = None) -> None:
        self._rest.start()

    def _on_similar(self, on: bool) -> None:
        if on:
            self._like = self._current()
            if self._like is None:
                self.similar.setChecked(False)
                self.said.emit("Choose a spot first; then the spots most like it are listed.")
                return
        self.changed.emit()
