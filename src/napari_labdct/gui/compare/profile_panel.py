"""The line profile of the paper's Fig. 4 in the dock: curves, presets, CSV and PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from ...core.errors import LabDCTError
from ...io import write_spot_csv
from ..app import layers as factory
from ..widgets.curve_plot import Curve, Plot
from ..widgets.dock import button
from .request import Line

_COLOURS = {"raw": "#9aa7b4", "median-corrected": factory.ORANGE, "cleaned": factory.CYAN}


class ProfilePanel(QWidget):
    """Values of the projection, the corrected and the cleaned one along the drawn line.

    Attributes
    ----------
    preset_wanted : signal(str)
        ``"diagonal"`` or ``"horizontal"``.
    pointed : signal((row, col) or None)
        The pixel whose values the pointer is over.
    said : signal(str)
        A sentence for the status line.
    """

    preset_wanted = Signal(str)
    pointed = Signal(object)
    said = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.curves: dict[str, np.ndarray] = {}
        self._line: Line | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout()
        for name in ("diagonal", "horizontal"):
            made = button(name.capitalize(), f"A {name} line, as in the paper's Fig. 4")
            made.clicked.connect(lambda _=False, n=name: self.preset_wanted.emit(n))
            row.addWidget(made)
        row.addWidget(
            button("CSV + PNG...", "Write the profile as a table and a picture", self._ask)
        )
        layout.addLayout(row)
        self.plot = Plot(
            "Profile",
            "Along the line (drag its ends or draw another); dotted: 255, shaded: beam stop",
            "distance along the line (px)",
            dotted=255.0,
        )
        self.plot.hovered.connect(self._hovered)
        self.plot.left.connect(self._left)
        layout.addWidget(self.plot)

    def show_curves(self, curves: dict[str, np.ndarray], line: Line) -> None:
        """Draw what `Engine` computed along a line; a saturated spot runs off the top."""
        self.curves, self._line = curves, line
        x = curves["distance"]
        drawn = [Curve(n, c, x, curves[n]) for n, c in _COLOURS.items() if n in curves]
        edges = np.flatnonzero(np.diff(np.pad(curves["beam stop"] > 0.5, 1).astype(int)))
        last = x.size - 1
        bands = [(x[min(a, last)], x[min(b, last)]) for a, b in zip(edges[::2], edges[1::2])]
        level = float(np.nanmedian(curves["raw"]))
        self.plot.show_curves(drawn, bands, top=max(300.0, 3 * level))

    def _hovered(self, distance: float) -> None:
        """Mark the pixel in the image and say its values."""
        if self._line is None:
            return
        x = self.curves["distance"]
        k = int(np.argmin(np.abs(x - distance)))
        start, end = np.array(self._line)
        place = start + (end - start) * (x[k] / max(x[-1], 1e-9))
        self.plot.set_marker(float(x[k]))
        self.pointed.emit((float(place[0]), float(place[1])))
        values = [f"{n} {self.curves[n][k]:.4g}" for n in _COLOURS if n in self.curves]
        self.said.emit(f"row {place[0]:.0f}, column {place[1]:.0f}: {', '.join(values)}")

    def _left(self) -> None:
        self.plot.set_marker(None)
        self.pointed.emit(None)

    def write(self, path: str | Path) -> None:
        """Write the profile as CSV and, beside it, the plot as PNG."""
        if not self.curves:
            return
        names = [name.replace(" ", "_").replace("-", "_") for name in self.curves]
        table = np.zeros(self.curves["distance"].size, [(name, "f4") for name in names])
        for name, values in zip(names, self.curves.values()):
            table[name] = values
        try:
            write_spot_csv(path, [table])
        except LabDCTError as error:
            self.said.emit(str(error))
            return
        self.plot.grab().save(str(Path(path).with_suffix(".png")))
        self.said.emit(f"Written: {path}")

    def _ask(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Write the profile", "profile.csv", "*.csv")
        if path:
            self.write(path)
