"""What A, B and the truth can be: results, the live routine, pins, files, label layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from napari.layers import Labels, Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...background.stored_median import StoredMedian
from ...evaluation.comparison import Segmentation, open_segmentation
from ...scan.scan import Scan
from ...spots.binarisation import BINARISED, BinaryFrames
from ...spots.log_routine import RoutineSettings
from ..app import layers as factory
from ..app.session import Session
from ..widgets.combos import narrow_combo
from ..widgets.dock import button
from ..widgets.forms import tame
from .tasks import ROUTINE, Source

#: What a simulation leaves beside its frames; in labels even touching spots are apart.
_TRUTHS = ("labels.tif", "truth.tif")
_KINDS = ("network mask", "routine mask", "mask", "truth")


class SourcePicker(QWidget):
    """Combos for A, B and the truth, with pins and imported masks.

    Attributes
    ----------
    changed : signal
        A, B or the truth is another one.
    found : signal
        There is one source more.
    pin_wanted : signal(str)
        ``"a"`` or ``"b"`` is to be kept as it is.
    import_wanted : signal(str)
        A file is to be read.
    """

    changed = Signal()
    found = Signal()
    pin_wanted = Signal(str)
    import_wanted = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._chosen = False
        self.pins: list[Source] = []
        self.imported: list[Source] = []
        self.beside: list[Source] = []
        self._truth_job = session.job("compare truth")
        self._truth_job.delivered.connect(self._on_truth)
        self._truth_job.ended.connect(self._on_truth_ended)
        self._truth_of: Scan | None = None
        self._truth_wanted: Scan | None = None
        self.combos: dict[str, QComboBox] = {}
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for which, colour in (("a", factory.CYAN), ("b", factory.ORANGE), ("truth", "")):
            name = which.upper() if colour else "Truth"
            combo = self.combos[which] = narrow_combo(
                name, f"What {name} is: a result, the live routine, a pin or a file"
            )
            combo.activated.connect(self._activated)
            if not colour:
                form.addRow(name, combo)
                continue
            pin = QPushButton("Pin")
            tame(pin, f"Pin {name}", "Keep it as it is now, with its recipe, to compare with")
            pin.clicked.connect(lambda _=False, k=which: self.pin_wanted.emit(k))
            row = QHBoxLayout()
            row.addWidget(combo, 1)
            row.addWidget(pin)
            form.addRow(QLabel(f"<b style='color:{colour}'>&#9632;</b> <b>{name}</b>"), row)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        row = QHBoxLayout()
        row.addWidget(button("Swap A and B", "Exchange A and B", self.swap))
        tooltip = "A binary stack of another program: one TIFF, or a folder with one a projection"
        opener = button("Import masks...", tooltip)
        menu = QMenu(opener)
        menu.addAction("TIFF stack...", self._ask_file)
        menu.addAction("Folder of TIFFs...", self._ask_folder)
        opener.setMenu(menu)
        row.addWidget(opener)
        layout.addLayout(row)

    def sources(self, scan: Scan | None) -> list[Source]:
        """All that A and B can be now, oldest result first."""
        stack, viewer = self._session.stack, self._session.viewer
        if stack is None or viewer is None or scan is None:
            return []
        found = [
            from_layer(layer)
            for layer in self._session.results(stack)
            if factory.kind_of(layer) in _KINDS
        ]
        found.append(ROUTINE)
        shape = (scan.n_frames, *scan.shape)
        for layer in viewer.layers:
            theirs = isinstance(layer, Labels) and not factory.kind_of(layer)
            if theirs and tuple(layer.data.shape) == shape:
                found.append(from_layer(layer))
        return [*found, *self.beside, *self.pins, *self.imported]

    def source(self, which: str) -> Source | None:
        """What ``"a"``, ``"b"`` or the ``"truth"`` is."""
        return self.combos[which].currentData()

    def set_source(self, which: str, key: str) -> None:
        """Choose by the key of a source."""
        if self._select(which, key):
            self._activated()

    def fill(self, scan: Scan | None) -> None:
        """List again what there is; a choice is kept while its source exists."""
        sources = self.sources(scan)
        network = [s.key for s in sources if s.kind == "network mask"]
        fixed = [s.key for s in sources if not s.live]
        best = network or fixed or [ROUTINE.key]
        first = {"a": best[-1], "b": ROUTINE.key, "truth": ""}
        for which, combo in self.combos.items():
            was = combo.currentData()
            wanted = was.key if was is not None and self._chosen else first[which]
            with QSignalBlocker(combo):
                combo.clear()
                if which == "truth":
                    combo.addItem("none", None)
                for source in sources:
                    if which != "truth" or not source.live:
                        combo.addItem(source.name, source)
            if not self._select(which, wanted) and combo.count():
                self._select(which, first[which])

    def swap(self) -> None:
        """Exchange A and B."""
        one, two = self.source("a"), self.source("b")
        if one is not None and two is not None:
            self._select("a", two.key)
            self.set_source("b", one.key)

    def pin(
        self, which: str, scan: Scan, settings: RoutineSettings, median: StoredMedian | None = None
    ) -> Source | None:
        """Keep what A or B is now, whatever the sliders and thresholds do later."""
        source = self.source(which)
        if source is None:
            return None
        fixed = source.fixed(scan, settings, median)
        key = f"pin {len(self.pins) + 1}"
        kept = replace(fixed, name=f"{key}: {fixed.name}")
        self.pins.append(Source(key, kept.name, kept, source.done))
        return self.pins[-1]

    def add_imported(self, segmentation: Segmentation) -> None:
        """Offer masks read from a file."""
        number = len(self.imported) + 1
        self.imported.append(Source(f"import {number}", segmentation.name, segmentation))

    def forget(self) -> None:
        """Another scan: pins, files and choices are of no use for it."""
        self.pins, self.imported, self.beside, self._chosen = [], [], [], False
        self._truth_wanted = None

    def seek_truth(self, scan: Scan) -> None:
        """Offer the truth that a simulation left beside its projections."""
        self._truth_wanted = scan
        folder = None if not scan.source else Path(scan.source)
        if folder is None or self.beside or self._truth_job.running:
            return
        folder = folder if folder.is_dir() else folder.parent
        path = next((folder / name for name in _TRUTHS if (folder / name).exists()), None)
        if path is not None:
            self._truth_of = scan
            self._truth_job.start(lambda: open_truth(scan, path), "Read the truth")

    def _on_truth(self, source: Source) -> None:
        if self._truth_of is self._truth_wanted:
            self.beside = [source]
            self.found.emit()

    def _on_truth_ended(self, _state: str) -> None:
        if self._truth_wanted is not None and self._truth_of is not self._truth_wanted:
            self.seek_truth(self._truth_wanted)  # another scan was chosen meanwhile

    def _select(self, which: str, key: str) -> bool:
        combo = self.combos[which]
        for k in range(combo.count()):
            data = combo.itemData(k)
            if (data.key if data is not None else "") == key:
                with QSignalBlocker(combo):
                    combo.setCurrentIndex(k)
                return True
        return False

    def _activated(self, *_: object) -> None:
        self._chosen = True
        self.changed.emit()

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Import masks", "", "TIFF (*.tif *.tiff)")
        if path:
            self.import_wanted.emit(path)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Import masks from a folder of TIFFs")
        if path:
            self.import_wanted.emit(path)


def open_truth(scan: Scan, path: Path) -> Iterator[Source]:
    """The truth of a simulated scan as a source."""
    truth = replace(open_segmentation(path), name="simulated truth")
    truth.check(scan)
    yield Source(f"truth {path}", truth.name, truth, kind="truth")


def from_layer(layer: Layer) -> Source:
    """A source from a result layer, or from any Labels layer of the user's."""
    data = layer.data
    recipe = dict(factory.info_of(layer).get("recipe") or {})
    cleaned = getattr(data, "cleaned", None)
    if isinstance(data, BinaryFrames):
        recipe[BINARISED] = data.settings.to_dict()
    store = cleaned if cleaned is not None else data
    done = (lambda: store.done.copy()) if hasattr(store, "done") else None
    name = layer.name
    stack = factory.info_of(layer).get("stack", "")
    if stack and name.startswith(f"{stack} ["):
        name = name[len(stack) + 1 :].replace("[", "").replace("]", "")
    made = Segmentation(name, data, recipe, cleaned)
    return Source(f"layer {id(layer)}", name, made, done, factory.kind_of(layer))
