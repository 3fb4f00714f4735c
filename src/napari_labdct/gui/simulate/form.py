"""The form of the Simulate dock: the settings in four folding groups, each with a summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QCompleter,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import SettingsError
from ...core.parameters import fields_of
from ...crystal import MATERIALS
from ...io.grain_map_files import grain_dialog_filter
from ...simulation.sample import PRESETS
from ...simulation.settings import SimulateSettings
from ..app import preferences
from ..widgets.forms import Control, changes, tame, with_button
from ..widgets.section import Section

_GROUPS: dict[str, tuple[str, ...]] = {
    "Sample": (
        "sample", "grain_map", "diameter_um", "height_um", "mean_grain_um", "spread", "seed",
    ),
    "Material and beam": (
        "material", "families", "intensity_model", "tube_kv", "power_w", "filter_al_mm",
        "exposure_s", "source_um",
    ),
    "Geometry": (
        "source_sample_mm", "sample_detector_mm", "pixel_um", "rows", "cols", "binning",
        "beam_stop_width_mm", "beam_stop_height_mm",
    ),
    "Projections": ("frames", "start_deg", "step_deg", "noise", "background", "gain", "psf_px"),
}  # fmt: skip
_MORE = "More"

# Which rows a kind of sample has; the rest of them would do nothing.
_OF_SHAPE = {"diameter_um", "height_um", "mean_grain_um", "spread", "top_grain_um"}
_LAST = "simulate"


class SimulateForm(QWidget):
    """Every field of `SimulateSettings`, in groups.

    Attributes
    ----------
    changed : signal(SimulateSettings)
        New, valid values.
    refused : signal(str)
        Why the present values are refused; empty when they are not.
    map_chosen : signal(str)
        Another grain map was chosen; reading its geometry is left to a worker.
    controls : dict of str to Control
    sections : dict of str to Section
    """

    changed = Signal(object)
    refused = Signal(str)
    map_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        fields = {f.name: f for f in fields_of(SimulateSettings)}
        grouped = {name for names in _GROUPS.values() for name in names}
        self._more = tuple(name for name in fields if name not in grouped)
        groups = {**_GROUPS, _MORE: self._more}
        self.controls = {name: Control(field) for name, field in fields.items()}
        self.sections: dict[str, Section] = {}
        self._rows: dict[str, tuple[QFormLayout, int]] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for title, names in groups.items():
            words = ", ".join(fields[name].param.label.lower() for name in names[:5])
            section = Section(title, f"Show or fold: {words}...", title == "Sample")
            section.inside.setLayout(self._form(names))
            self.sections[title] = section
            layout.addWidget(section)
        layout.addLayout(self._reset_row())
        self._sample = ""
        self._map = ""
        for control in self.controls.values():
            control.changed.connect(self._on_changed)
        self.set_settings(self._recalled(), quietly=True)

    # ------------------------------------------------------------------- the widgets

    def _form(self, names: tuple[str, ...]) -> QFormLayout:
        form = QFormLayout()
        form.setContentsMargins(12, 0, 0, 4)
        form.setVerticalSpacing(3)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name in names:
            control = self.controls[name]
            widget = self._with_browser(name, control.widget)
            self._rows[name] = (form, form.rowCount())
            if isinstance(control.widget, QCheckBox):
                form.addRow(widget)
                continue
            unit = control.field.param.unit
            unit = f" [{unit}]" if unit and control.field.optional else ""
            label = QLabel(control.field.param.label + unit)
            label.setBuddy(control.widget)
            label.setToolTip(control.widget.toolTip())
            form.addRow(label, widget)
        return form

    def _with_browser(self, name: str, widget: QWidget) -> QWidget:
        if name == "grain_map":
            return self._browsed(widget, "Grain map", grain_dialog_filter(), "h5")
        if name == "material":
            completer = QCompleter(list(MATERIALS), widget)
            completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
            widget.setCompleter(completer)
            return self._browsed(widget, "Crystal structure", "Crystal structures (*.cif)", "cif")
        return widget

    def _browsed(self, line: QWidget, what: str, pattern: str, word: str) -> QWidget:
        def ask() -> None:
            path, _ = QFileDialog.getOpenFileName(self, what, "", pattern)
            if path:
                line.setText(path)
                line.editingFinished.emit()

        return with_button(line, f"{word}...", f"Choose the file: {what.lower()}", ask)

    def _reset_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addStretch()
        button = QPushButton("Reset")
        tame(button, "Reset settings", "Bring back the default values")
        button.clicked.connect(self._reset)
        row.addWidget(button)
        return row

    def _reset(self) -> None:
        self.set_settings(SimulateSettings())

    # --------------------------------------------------------------------- the values

    def values(self) -> dict[str, Any]:
        """The values as they stand in the form."""
        return {name: control.value for name, control in self.controls.items()}

    def settings(self) -> SimulateSettings:
        """The values as a settings object.

        Raises
        ------
        SettingsError
            A value is out of range, or values contradict each other.
        """
        return SimulateSettings(**self.values())

    def set_settings(self, settings: SimulateSettings, *, quietly: bool = False) -> None:
        """Show other values; emits `changed` once unless `quietly`."""
        for name, control in self.controls.items():
            control.value = getattr(settings, name)
        self._sample = settings.sample
        self._map = settings.grain_map or ""
        self._show_rows()
        self._summarise()
        if not quietly:
            self._on_changed()

    def _recalled(self) -> SimulateSettings:
        last = preferences.load_last(_LAST)
        try:
            return SimulateSettings(**{k: v for k, v in last.items() if k in self.controls})
        except (SettingsError, TypeError):
            return SimulateSettings()  # written by another version

    def _on_changed(self, *_: object) -> None:
        self._follow_sample()
        self._summarise()
        chosen = (self.controls["grain_map"].value or "").strip()
        if chosen != self._map:
            self._map = chosen
            if chosen:
                self.map_chosen.emit(chosen)
        try:
            settings = self.settings()
        except SettingsError as error:
            self.refused.emit(str(error))
            return
        self.refused.emit("")
        preferences.save_last(_LAST, settings.to_dict())
        self.changed.emit(settings)

    def _follow_sample(self) -> None:
        """A preset of the paper brings its intensity model; leaving it takes it away."""
        sample = self.controls["sample"].value
        if sample == self._sample:
            return
        if sample in PRESETS or self._sample in PRESETS:
            brought = SimulateSettings.preset(sample) if sample in PRESETS else SimulateSettings()
            for name in ("intensity_model", "truth_min_grey"):
                self.controls[name].value = getattr(brought, name)
        self._sample = sample
        self._show_rows()

    def _show_rows(self) -> None:
        sample = self.controls["sample"].value
        for name, (form, row) in self._rows.items():
            shown = True
            if name in _OF_SHAPE:
                shown = sample in ("cylinder", "box")
            elif name == "grain_map":
                shown = sample == "grain map"
            elif name in ("power_w", "gain"):
                shown = self.controls["intensity_model"].value == "laue"
            form.setRowVisible(row, shown)

    def _summarise(self) -> None:
        value = {name: control.value for name, control in self.controls.items()}
        for title, write in _SUMMARIES.items():
            self.sections[title].say(write(value))
        more = changes(sum(not self.controls[name].is_default for name in self._more))
        self.sections[_MORE].say(more or "voxel, tilts, detector, truth")
        form, row = self._rows["power_w"]
        laue = value["intensity_model"] == "laue"
        if form.isRowVisible(row) != laue:
            self._show_rows()


def _about_sample(v: dict[str, Any]) -> str:
    if v["sample"] in PRESETS:
        return f"{v['sample']} of Fang et al. (2021)"
    if v["sample"] == "grain map":
        return Path(v["grain_map"]).name if v["grain_map"] else "no grain map chosen"
    size = f"{v['diameter_um']:g} x {v['height_um']:g} um"
    return f"{v['sample']} {size}, grains of {v['mean_grain_um']:g} um"


def _about_beam(v: dict[str, Any]) -> str:
    return f"{Path(v['material'] or '').stem}, {v['tube_kv']:g} kV, {v['intensity_model']}"


def _about_geometry(v: dict[str, Any]) -> str:
    n = v["binning"]
    return (
        f"{v['source_sample_mm']:g} / {v['sample_detector_mm']:g} mm, "
        f"{v['rows'] // n} x {v['cols'] // n} px of {v['pixel_um'] * n:.4g} um"
    )


def _about_projections(v: dict[str, Any]) -> str:
    text = f"{v['frames']} from {v['start_deg']:g} by {v['step_deg']:g} deg"
    return text + (", with noise" if v["noise"] else "")


_SUMMARIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "Sample": _about_sample,
    "Material and beam": _about_beam,
    "Geometry": _about_geometry,
    "Projections": _about_projections,
}
