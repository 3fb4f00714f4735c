"""Where a grain of a map should be seen, over A and B (the paper's Fig. 9): picker and rings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QVBoxLayout

from ...core.jobs import Progress
from ...core.recipes import recipe_beside
from ...scan.scan import Scan
from ..app import layers as factory
from ..app.predicted_spots import features_of, ring_px
from ..app.session import Session
from ..widgets.combos import narrow_combo
from ..widgets.dock import button, wrapped
from ..widgets.forms import tame
from ..widgets.section import Section

if TYPE_CHECKING:
    from ...simulation.prediction import Prediction

#: Apart from cyan, orange and white for colour-blind eyes too.
MAGENTA = "#ff61d2"
_RINGED = ("a", "b", "residual_a", "residual_b", "agreement")
_LINE = 0.12  # of the ring's diameter
_SMALLEST_PX = 13  # on the screen, however far one zooms out


def map_beside(scan: Scan) -> str:
    """The grain map in the folder of a scan, as the simulation writes it; empty if none is."""
    if not scan.source:
        return ""
    source = Path(scan.source)
    path = (source if source.is_dir() else source.parent) / "grains.h5"
    return str(path) if path.exists() else ""


def open_prediction(scan: Scan, path: str, mirrored: bool) -> Iterator[Progress | Prediction]:
    """Read a grain map; a simulated scan's own reflections and energies are taken."""
    from ...simulation.prediction import Prediction, PredictSettings

    yield Progress(0, 1, "Reading the grain map")
    recipe = recipe_beside(scan.source) if scan.source else {}
    known = recipe.get("settings", {}) if recipe.get("job") == "simulate" else {}
    same = {n: known[n] for n in ("families", "energy_min_kev") if known.get(n)}
    made = Prediction(scan, PredictSettings(grain_map=path, y_flip=mirrored, **same))
    made.grains.diameters_um  # noqa: B018  (kept from now on: it goes over the whole volume)
    yield made
    yield Progress(1, 1)


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
        scan, path, mirrored = self._scan, self._path, self.mirror.isChecked()
        if scan is None or not path:
            return
        if self.job.running:
            self.job.close()
        self.job.start(lambda: open_prediction(scan, path, mirrored), "Read a grain map")

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


class Rings:
    """Rings round the predicted spots, one layer over each derived layer of the views.

    In napari's grid a layer stands in one cell, and two neighbours share a cell if the stride is
    2.  So each layer that can carry rings is followed by its rings, and the first of them has an
    even place in the list.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Points] = {}
        self._size = 0.0

    @property
    def on(self) -> bool:
        return bool(self.layers)

    def show(
        self, viewer: Viewer, stack: Layer, under: Mapping[str, Layer], index: int, spots: Any
    ) -> None:
        """Ring the spots of projection `index` (rows of ``measured.PREDICTION_DTYPE``)."""
        if not self.on:
            self._add(viewer, stack, under)
        at = np.column_stack([np.full(len(spots), index), spots["row"], spots["col"]])
        for layer in self.layers.values():
            layer.selected_data = set()
            layer.data = at.astype(float)
            layer.features = features_of(spots)
            # points that come to an empty layer look like napari's, not like those before
            layer.size = self._size
            layer.border_width = _LINE
            layer.border_color, layer.face_color = MAGENTA, "transparent"

    def resize(self, cols: int, zoom: float) -> None:
        """Keep the rings large enough to be seen at `zoom` screen pixels a detector pixel."""
        size = max(ring_px(cols), _SMALLEST_PX / zoom)
        if abs(size - self._size) > 0.05 * self._size:
            self._size = size
            for layer in self.layers.values():
                layer.size = size

    def follow(self, under: Mapping[str, Layer]) -> None:
        """Show the rings of the layers that are shown."""
        for key, layer in self.layers.items():
            layer.visible = under[key].visible

    def remove(self, viewer: Viewer) -> None:
        """Take the rings away."""
        layers, self.layers = self.layers, {}
        for layer in layers.values():
            if layer in viewer.layers:
                viewer.layers.remove(layer)

    def _add(self, viewer: Viewer, stack: Layer, under: Mapping[str, Layer]) -> None:
        placed = factory.placement(stack, under["a"].data.shape)
        for key in _RINGED:
            layer = Points(
                np.zeros((0, 3)),
                ndim=3,
                name=f"predicted spots ({key.replace('_', ' ')})",
                visible=False,
                metadata={factory.KEY: {"kind": "predicted spots"}},
                **placed,
            )
            self.layers[key] = layer
            viewer.layers.insert(viewer.layers.index(under[key]) + 1, layer)
