"""What a map is made of: spots, material, where the sample is, and the settings."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import LabDCTError, SettingsError
from ...crystal import MATERIALS
from ...grains.settings import GrainSettings
from ...io.formats import dialog_filter
from ...scan.scan import Scan
from ..widgets.combos import narrow_combo
from ..widgets.dock import wrapped
from ..widgets.forms import Control, SettingsForm, tame, with_button
from ..widgets.section import Section
from .sources import mask_layers, masks_in, masks_of
from .tasks import Masks

if TYPE_CHECKING:
    from ..app.session import Session

_SAMPLES = {
    "found from the spots": "spots", "a cylinder": "cylinder", "a box": "box", "a file": "file"
}  # fmt: skip
_OWN = ("mask", "mask_voxel_um", "sample", "diameter_um", "height_um")
_CIF = "CIF file..."
_FILE = "Mask file..."


class SetupPanel(QWidget):
    """Spots and material, and a section for the sample and the settings.

    Attributes
    ----------
    changed : signal
        Something else is asked for.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._sources: list[weakref.ref[Layer] | Path] = []
        self._files: list[Path] = []
        self._build()
        session.results_changed.connect(self.fill)
        session.stacks_changed.connect(self.fill)

    def _build(self) -> None:
        self.spots = narrow_combo("Spots", "The masks whose spots are mapped; the whole stack")
        self.spots.activated.connect(self._on_spots)
        self.material = narrow_combo(
            "Material", "The scan's own, a known element, or a CIF file with the crystal"
        )
        self.material.activated.connect(self._on_material)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.spots, 3)
        row.addWidget(self.material, 2)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Spots", row)
        self.section = Section("Sample and settings", "Where the sample is, and how to map it")
        self._build_section()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(form)
        layout.addWidget(self.section)

    def _build_section(self) -> None:
        self.form = SettingsForm(GrainSettings, exclude=_OWN, remember_as="grains_dock")
        self.form.changed.connect(self._on_changed)
        self.form.refused.connect(self._on_refused)
        self.sample = QComboBox()
        self.sample.addItems(list(_SAMPLES))
        tame(self.sample, "Sample", "Where the sample is: a voxel outside belongs to no grain")
        self.sample.currentIndexChanged.connect(self._on_sample)
        own = {f.name: Control(f) for f in _fields() if f.name in _OWN}
        self.diameter, self.height = own["diameter_um"].widget, own["height_um"].widget
        self.mask, self.mask_voxel = own["mask"].widget, own["mask_voxel_um"].widget
        self._controls = own
        for line in (self.diameter, self.height, self.mask, self.mask_voxel):
            line.editingFinished.connect(self._on_changed)
        self._rows = QFormLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setVerticalSpacing(4)
        self._rows.addRow("Sample", self.sample)
        self._rows.addRow("Diameter or width [um]", self.diameter)
        self._rows.addRow("Height [um]", self.height)
        self._file = with_button(self.mask, "File...", "Choose the sample mask", self._ask_mask)
        self._rows.addRow("Sample mask", self._file)
        self._rows.addRow("Its voxel [um]", self.mask_voxel)
        self.refusal = wrapped()
        self.refusal.hide()
        self.section.fill(self._rows, self.form, self.refusal)
        self._on_sample()

    # ---------------------------------------------------------------- what is asked

    def settings(self) -> GrainSettings:
        """The settings that are asked for.

        Raises
        ------
        SettingsError
            A value is out of range, or the sample is not described.
        """
        kind = _SAMPLES[self.sample.currentText()]
        values = {n: c.value for n, c in self._controls.items()}
        given = {"sample": "spots" if kind == "file" else kind}
        if kind == "file":
            if not values["mask"]:
                raise SettingsError("Choose the file of the sample mask first.")
            given |= {"mask": values["mask"], "mask_voxel_um": values["mask_voxel_um"]}
        elif kind != "spots":
            given |= {n: values[n] for n in ("diameter_um", "height_um")}
            if None in given.values():
                raise SettingsError(f"Give the diameter and the height of {self._sample_words}.")
        return self.form.settings().replace(**given)

    @property
    def _sample_words(self) -> str:
        return self.sample.currentText().replace("a ", "the ", 1)

    def chosen_material(self) -> str | None:
        """The material instead of the scan's; None for the scan's own."""
        return self.material.currentData()

    def masks(self, scan: Scan) -> Masks | None:
        """The spots that are chosen; None if there are none.

        Raises
        ------
        SettingsError
            Not every projection has its mask yet.
        """
        at = self.spots.currentIndex()
        if not 0 <= at < len(self._sources):
            return None
        source = self._sources[at]
        if isinstance(source, Path):
            return masks_in(source, scan)
        layer = source()
        return None if layer is None else masks_of(layer, scan)

    def why_not(self, scan: Scan | None) -> str:
        """What must be done before anything can be mapped; empty if nothing."""
        from .tasks import missing_words

        if scan is None:
            return ""
        missing = missing_words(scan, self.chosen_material())
        if missing:
            words = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and the "
            words += missing[-1] if len(missing) > 1 else ""
            it = "it" if len(missing) == 1 else "them"
            return f"'{scan.name}' lacks the {words}: enter {it} in the Scan dock."
        if not self._sources:
            return "No spots yet: denoise the whole scan first, or choose a mask file."
        try:
            self.masks(scan)
        except LabDCTError as error:
            return str(error)
        return ""

    # -------------------------------------------------------------------- filling

    def fill(self, *_: object) -> None:
        """List the masks of the active stack and the files that were chosen."""
        kept = self._source()
        layers = mask_layers(self._session, self._session.stack)
        self._sources = [*(weakref.ref(layer) for layer in layers), *self._files]
        with QSignalBlocker(self.spots):
            self.spots.clear()
            self.spots.addItems([layer.name for layer in layers])
            self.spots.addItems([path.name for path in self._files])
            self.spots.addItem(_FILE)
            things = [*layers, *self._files]
            self.spots.setCurrentIndex(things.index(kept) if kept in things else 0)
            if not things:
                self.spots.setItemText(0, _FILE)
        self.changed.emit()

    def follow(self, scan: Scan | None) -> None:
        """Another scan: its masks and its material are offered."""
        own = None if scan is None else scan.description.material
        chosen = self.chosen_material()
        with QSignalBlocker(self.material):
            self.material.clear()
            self.material.addItem(f"{Path(own).stem} (scan)" if own else "material?", None)
            for name in MATERIALS:
                self.material.addItem(name, name)
            if chosen is not None and chosen not in MATERIALS:
                self.material.addItem(Path(chosen).name, chosen)
            self.material.addItem(_CIF, None)
            self.material.setCurrentIndex(max(0, self.material.findData(chosen)))
        self.fill()

    def use_file(self, path: Path) -> None:
        """Take the spots from a file."""
        if path not in self._files:
            self._files.append(path)
        self.fill()
        self.spots.setCurrentIndex(self.spots.count() - 2)
        self.changed.emit()

    def _source(self) -> object:
        at = self.spots.currentIndex()
        if not 0 <= at < len(self._sources):
            return None
        source = self._sources[at]
        return source if isinstance(source, Path) else source()

    def _on_spots(self, at: int) -> None:
        if self.spots.itemText(at) == _FILE:
            path, _ = QFileDialog.getOpenFileName(
                self, "Binary stack of the same projections", "", dialog_filter()
            )
            if path:
                self.use_file(Path(path))
                return
            with QSignalBlocker(self.spots):
                self.spots.setCurrentIndex(0)
        self.changed.emit()

    def _on_material(self, at: int) -> None:
        if self.material.itemText(at) == _CIF:
            path, _ = QFileDialog.getOpenFileName(self, "Crystal", "", "Crystals (*.cif)")
            with QSignalBlocker(self.material):
                if path:
                    self.material.insertItem(at, Path(path).name, path)
                self.material.setCurrentIndex(at if path else 0)
        self.changed.emit()

    def _on_sample(self, *_: object) -> None:
        kind = _SAMPLES[self.sample.currentText()]
        shaped = kind in ("cylinder", "box")
        for widget, wanted in (
            (self.diameter, shaped), (self.height, shaped),
            (self._file, kind == "file"), (self.mask_voxel, kind == "file"),
        ):  # fmt: skip
            self._rows.setRowVisible(widget, wanted)
        self._on_changed()

    def _on_changed(self, *_: object) -> None:
        kind = self.sample.currentText()
        size = ""
        if _SAMPLES[kind] in ("cylinder", "box") and self.diameter.text() and self.height.text():
            size = f" {self.diameter.text()} x {self.height.text()} um"
        self.section.say(f"{kind}{size}, {self.form.controls['effort'].value}")
        self.changed.emit()

    def _on_refused(self, text: str) -> None:
        self.refusal.setText(text)
        self.refusal.setVisible(bool(text))

    def _ask_mask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Sample mask", "", "Volumes (*.h5 *.hdf5 *.tif *.tiff)"
        )
        if path:
            self.mask.setText(path)
            self._on_changed()


def _fields():
    from ...core.parameters import fields_of

    return fields_of(GrainSettings)
