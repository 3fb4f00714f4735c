"""What A, B and the truth can be: results, the live routine, pins, files, label layers."""

from __future__ import annotations

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
from ...core.errors import LabDCTError
from ...evaluation.comparison import Segmentation
from ...scan.scan import Scan
from ...spots.binarisation import BINARISED, BinaryFrames
from ...spots.log_routine import RoutineSettings
from ..app import layers as factory
from ..app.job import Job, LatestJob
from ..app.session import Session
from ..widgets.combos import narrow_combo
from ..widgets.forms import tame
from .request import ROUTINE, Source
from .tasks import find_truth, import_masks, open_truth

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
    said : signal(str)
        A sentence for the status line.
    """

    changed = Signal()
    found = Signal()
    pin_wanted = Signal(str)
    import_wanted = Signal(str)
    said = Signal(str)

    def __init__(self, session: Session, job: Job) -> None:
        super().__init__()
        self._session = session
        self._job = job
        job.delivered.connect(self._on_imported)
        self._chosen = False
        self.pins: list[Source] = []
        self.imported: list[Source] = []
        self.beside: list[Source] = []
        truth_job = session.job("compare truth")
        truth_job.delivered.connect(self._on_truth)
        self._truths = LatestJob(truth_job, self._start_truth, cancels=True)
        self._truth_of: Scan | None = None
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
                form.addRow(name, self._truth_row(combo))
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

    def _truth_row(self, combo: QComboBox) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(combo, 1)
        swap = QPushButton("Swap")
        tame(swap, "Swap A and B", "Exchange A and B")
        swap.clicked.connect(self.swap)
        row.addWidget(swap)
        tooltip = "A binary stack of another program: one TIFF, or a folder with one a projection"
        opener = QPushButton("Import...")
        tame(opener, "Import masks", tooltip)
        menu = QMenu(opener)
        menu.addAction("TIFF stack...", self._ask_file)
        menu.addAction("Folder of TIFFs...", self._ask_folder)
        opener.setMenu(menu)
        row.addWidget(opener)
        return row

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
        try:
            fixed = source.fixed(scan, settings, median)
        except LabDCTError as error:
            self.said.emit(str(error))
            return None
        key = f"pin {len(self.pins) + 1}"
        kept = replace(fixed, name=f"{key}: {fixed.name}")
        self.pins.append(Source(key, kept.name, kept, source.done))
        self.found.emit()
        self.said.emit(f"Pinned as '{kept.name}'; choose it for A or B.")
        return self.pins[-1]

    def import_masks(self, scan: Scan, path: Path) -> None:
        """Read masks of another program in a worker and offer them."""
        if not self._job.running:
            self._job.start(lambda: import_masks(scan, path), "Import masks")

    def _on_imported(self, thing: object) -> None:
        if isinstance(thing, Segmentation):
            number = len(self.imported) + 1
            self.imported.append(Source(f"import {number}", thing.name, thing))
            self.found.emit()
            self.said.emit(f"Imported '{thing.name}'; choose it for A, B or the truth.")

    def forget(self) -> None:
        """Another scan: pins, files and choices are of no use for it."""
        self.pins, self.imported, self.beside, self._chosen = [], [], [], False
        self._truth_of = None
        self._truths.forget()

    def seek_truth(self, scan: Scan) -> None:
        """Offer the truth that a simulation left beside its projections."""
        if scan is not self._truth_of and find_truth(scan) is not None:
            self._truth_of = scan
            self._truths.ask(scan)

    def _start_truth(self, scan: Scan):
        path = find_truth(scan)
        if path is None or scan is not self._truth_of:
            return None
        return lambda: open_truth(scan, path), "Read the truth"

    def _on_truth(self, found: tuple[Scan, Source]) -> None:
        scan, source = found
        if scan is self._truth_of:
            self.beside = [source]
            self.found.emit()

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
