"""Chooses the grain whose predicted spots lie over A and B (the paper's Fig. 9)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QVBoxLayout

from ...scan.scan import Scan
from ..app.job import LatestJob
from ..app.session import Session
from ..widgets.combos import narrow_combo
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from ..widgets.section import Section
from .tasks import map_beside, open_prediction

if TYPE_CHECKING:
    from ...simulation.prediction import Prediction


class GrainPicker(Section):
    """Chooses the grain whose predicted spots lie over A and B.

    Attributes
    ----------
    changed : signal
        Another grain, another map, or none.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__("Predicted spots", "Where a grain of a known map should be seen")
        self.job = session.job("compare grains")
        self._reads = LatestJob(self.job, self._start_read, cancels=True)
        self.prediction: Prediction | None = None
        self._scan: Scan | None = None
        self._path = ""
        self._wanted: int | None = None
        self.combo = narrow_combo(
            "Grain", "The grain whose predicted spots are ringed in the views"
        )
        self.combo.activated.connect(self._chosen)
        self.mirror = QCheckBox("Mirror in y")
        tame(self.mirror, "Mirror the grains in y", "For maps of the other handedness")
        self.mirror.toggled.connect(self._read)
        self.note = wrapped()
        self.note.setAccessibleName("Predicted spots of the grain")
        row = QHBoxLayout()
        row.addWidget(self.combo, 1)
        row.addWidget(
            button(
                "Grain map...", "A GrainMapper3D HDF5 file with the grains of this scan", self._ask
            )
        )
        layout = QVBoxLayout(self.inside)
        layout.setContentsMargins(12, 0, 0, 4)
        layout.addLayout(row)
        layout.addWidget(self.note)
        layout.addWidget(self.mirror)
        self.job.delivered.connect(self._on_read)
        self.job.changed.connect(self._show)
        self._fill()

    @property
    def grain(self) -> int | None:
        """The id of the chosen grain."""
        return self.combo.currentData()

    def set_scan(self, scan: Scan | None) -> None:
        """Another scan, or the same one with other geometry; a map beside it is read."""
        same = scan is not None and self._scan is not None and scan.frames is self._scan.frames
        path = self._path if same else ""
        self._scan, self._path = scan, ""
        self._wanted = self._wanted if same else None
        self._take(None)
        if scan is not None and (path := path or map_beside(scan)):
            self.open(path)

    def open(self, path: str | Path) -> None:
        """Read a grain map in a worker."""
        self._path = str(path)
        self._read()

    def choose(self, grain: int | None) -> None:
        """Choose a grain by its id."""
        self.combo.setCurrentIndex(max(0, self.combo.findData(grain)))
        self._chosen()

    def tell(self, spots: np.ndarray | None, covered: tuple[int, int]) -> None:
        """Say what became of the chosen grain's spots on this projection."""
        if spots is None:
            self._show()
        else:
            text = f"{len(spots)} spots on this projection, A has {covered[0]}, B has {covered[1]}"
            self.note.setText(text.replace("1 spots", "1 spot", 1) if len(spots) == 1 else text)
            self.note.show()

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Grain map", "", "Grain maps (*.h5 *.hdf5)")
        if path:
            self.open(path)

    def _read(self, *_: object) -> None:
        if self._scan is not None and self._path:
            self._reads.ask((self._scan, self._path, self.mirror.isChecked()))

    def _start_read(self, request: tuple[Scan, str, bool]):
        if request[0] is not self._scan:
            return None
        return lambda: open_prediction(*request), "Read a grain map"

    def _on_read(self, prediction: Prediction) -> None:
        if prediction.scan is self._scan:
            self._take(prediction)

    def _take(self, prediction: Prediction | None) -> None:
        self.prediction = prediction
        self._fill()
        self.changed.emit()

    def _fill(self) -> None:
        with QSignalBlocker(self.combo):
            self.combo.clear()
            self.combo.addItem("none", None)
            if self.prediction is not None:
                grains = self.prediction.grains
                for grain, size in zip(grains.grain_ids.tolist(), grains.diameters_um):
                    self.combo.addItem(f"grain {grain}, {size:.3g} um", grain)
            self.combo.setCurrentIndex(max(0, self.combo.findData(self._wanted)))
        self.combo.setEnabled(self.prediction is not None)
        self._show()

    def _chosen(self, *_: object) -> None:
        self._wanted = self.grain
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        """What is missing, while no grain is shown."""
        if self.grain is not None:
            self.say(f"grain {self.grain}")
            return
        text, known = "", self.prediction
        if self.job.running:
            text = "Reading the grain map..."
        elif self.job.state == "failed":
            text = self.job.error
        self.note.setText(text)
        self.note.setVisible(bool(text))
        self.mirror.setVisible(known is not None)
        self.say(f"{known.grains.n_grains} grains known" if known else "of a grain map")
