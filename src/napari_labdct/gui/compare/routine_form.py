"""The standard routine's parameters as sliders over number boxes, with the paper's names."""

from __future__ import annotations

import math

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSlider, QVBoxLayout, QWidget

from ...core.parameters import fields_of
from ...spots.log_routine import RoutineSettings
from ..app.preferences import save_last
from ..widgets.forms import SettingsForm, tame

_STEPS = 200
#: What a slider spans (the box beside it takes all that is allowed), and if it is logarithmic.
SPANS: dict[str, tuple[float, float, bool]] = {
    "median_window": (3, 51, False),
    "background": (0, 200, False),
    "sigma_px": (0.3, 12, True),
    "percentage": (0, 60, False),
    "min_size_px": (1, 100, True),
}


class RoutineForm(QWidget):
    """Sliders over the boxes of a `SettingsForm`; both always show the same.

    Attributes
    ----------
    changed : signal(RoutineSettings)
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.form = SettingsForm(
            RoutineSettings, remember_as="routine", exclude=SPANS, reset_button=False
        )
        self.boxes = SettingsForm(
            RoutineSettings,
            exclude=[f.name for f in fields_of(RoutineSettings) if f.name not in SPANS],
            remember_as="routine_log",
            reset_button=False,
        )
        self.sliders: dict[str, QSlider] = {}
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for row, (name, control) in enumerate(self.boxes.controls.items()):
            param = control.field.param
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(0, _STEPS)
            slider.setMinimumWidth(60)
            tame(slider, f"{param.label} slider", control.widget.toolTip())
            slider.valueChanged.connect(lambda at, n=name: self._slid(n, at))
            label = QLabel(param.label)
            label.setBuddy(control.widget)
            label.setToolTip(control.widget.toolTip())
            control.widget.setMinimumWidth(86)
            grid.addWidget(label, row, 0)
            grid.addWidget(slider, row, 1)
            grid.addWidget(control.widget, row, 2)
            self.sliders[name] = slider
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(grid)
        layout.addWidget(self.form)
        self.boxes.changed.connect(self._on_changed)
        self.form.changed.connect(self._on_changed)
        self._show_sliders()

    def settings(self) -> RoutineSettings:
        """The parameters as shown.

        Raises
        ------
        SettingsError
            One of them is refused.
        """
        log = self.boxes.settings()
        return self.form.settings().replace(**{name: getattr(log, name) for name in SPANS})

    def set_settings(self, settings: RoutineSettings) -> None:
        """Show other parameters and emit `changed`."""
        self.form.set_settings(settings, quietly=True)
        self.boxes.set_settings(settings, quietly=True)
        self._show_sliders()
        self._emit()

    def _slid(self, name: str, at: int) -> None:
        control = self.boxes.controls[name]
        value = _value(name, at)
        if control.field.type is int:
            value = round(value)
            if name == "median_window":
                value += 1 - value % 2
        else:
            value = float(f"{value:.2g}" if value < 1 else f"{value:.3g}")
        if control.value != value:
            control.value = value
            self._emit()

    def _on_changed(self, _settings: object) -> None:
        self._show_sliders()
        self._emit()

    def _emit(self) -> None:
        settings = self.settings()
        for form, name in ((self.form, "routine"), (self.boxes, "routine_log")):
            # the forms remember what is typed into them; sliders and suggestions count too
            save_last(name, {n: getattr(settings, n) for n in form.controls})
        self.changed.emit(settings)

    def _show_sliders(self) -> None:
        for name, slider in self.sliders.items():
            with QSignalBlocker(slider):
                slider.setValue(_position(name, float(self.boxes.controls[name].value)))


def _value(name: str, position: int) -> float:
    low, high, logarithmic = SPANS[name]
    part = position / _STEPS
    return low * (high / low) ** part if logarithmic else low + part * (high - low)


def _position(name: str, value: float) -> int:
    low, high, logarithmic = SPANS[name]
    value = min(max(value, low), high)
    part = math.log(value / low) / math.log(high / low) if logarithmic else None
    return round(_STEPS * ((value - low) / (high - low) if part is None else part))


def sweep_values(name: str, middle: float, count: int) -> list[float]:
    """Values round `middle` that are worth trying, ascending and within the allowed range."""
    low, high, logarithmic = SPANS[name]
    if logarithmic:
        values = middle * np.geomspace(1 / 3, 3, count)
    else:
        values = np.linspace(max(low, middle / 3), max(middle * 2, low + (high - low) / 4), count)
    kind = {f.name: f.type for f in fields_of(RoutineSettings)}[name]
    span = next(f.param for f in fields_of(RoutineSettings) if f.name == name)
    values = np.clip(values, span.min, span.max)
    if kind is int:
        whole = {round(float(v)) for v in values}
        if name == "median_window":
            whole = {v + 1 - v % 2 for v in whole}
        return sorted(whole)
    return sorted({float(f"{v:.3g}") for v in values})
