"""A form from a settings class: the same fields, units, ranges and help as everywhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from qtpy.QtCore import QEvent, QLocale, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QDoubleValidator, QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...core.errors import SettingsError
from ...core.parameters import Field, Settings, fields_of
from ..app import preferences

# Numbers are written as in scan.yaml and in the papers, whatever the computer's language.
_C_LOCALE = QLocale(QLocale.Language.C)
_C_LOCALE.setNumberOptions(QLocale.NumberOption.RejectGroupSeparator)

#: Red that is seen on the dark and on the light theme.
WRONG = "#e5484d"


class _NoWheel(QObject):
    """Keeps the wheel for scrolling: only a control with the focus may take it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def tame(control: QWidget, name: str, tooltip: str) -> None:
    """Give a control its accessible name and tooltip, and keep stray wheel turns from it."""
    control.setAccessibleName(name)
    control.setToolTip(tooltip)
    if isinstance(control, (QAbstractSpinBox, QComboBox)):
        control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        control.installEventFilter(_NoWheel(control))


class NumberBox(QDoubleSpinBox):
    """Shows a number with the decimals it has, so that nothing is rounded away.

    A decimal comma is read as a point in every language: left to Qt, the key would be refused
    and ``13,4`` become 134.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(_C_LOCALE)
        self.setDecimals(6)

    def textFromValue(self, value: float) -> str:
        return f"{value:.6f}".rstrip("0").rstrip(".")

    def valueFromText(self, text: str) -> float:
        return super().valueFromText(text.replace(",", "."))

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        return super().validate(text.replace(",", "."), position)


class WholeBox(QSpinBox):
    """A whole number; ``1.5`` is not taken for 15 by refusing the point, but not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.setLocale(_C_LOCALE)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        if "," in text or "." in text:
            return QValidator.State.Intermediate, text, position
        return super().validate(text, position)

    def fixup(self, text: str) -> str:
        return text  # Qt would take the comma out


class OptionalNumber(QDoubleValidator):
    """Lets a line hold a number, or nothing at all."""

    def __init__(self, parent: QWidget, whole: bool = False) -> None:
        super().__init__(parent)
        self.setLocale(_C_LOCALE)
        if whole:
            self.setDecimals(0)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        if not text.strip():
            return QValidator.State.Acceptable, text, position
        if self.decimals() == 0 and ("," in text or "." in text):
            # left to whoever reads the line to refuse: were the key refused, 1.5 would become 15
            return QValidator.State.Acceptable, text, position
        # a decimal comma, as half of Europe writes it
        text = text.replace(",", ".")
        return super().validate(text, position)


def numbers_of(text: str, count: int) -> tuple[float, ...] | None:
    """So many numbers of a line, with decimal points or commas; None if it holds others.

    Semicolons, blanks or, if they are no decimal commas then, commas stand between them:
    ``12.5, 13``, ``12,5; 13`` and ``12,5 13`` are the same.
    """
    between = r"\s*;\s*" if ";" in text else r"\s*,?\s+"
    for pattern in (between, r"\s*,\s*"):
        try:
            found = [float(part.replace(",", ".")) for part in re.split(pattern, text.strip())]
        except ValueError:
            continue
        if len(found) == count and all(map(math.isfinite, found)):
            return tuple(found)
    return None


class Control:
    """One field's widget, read and set as a plain value."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.widget = self._make()
        param = field.param
        span = ""
        if param.min is not None and param.max is not None and field.type is not bool:
            span = f" ({param.min:g} to {param.max:g}{' ' + param.unit if param.unit else ''})"
        tame(self.widget, param.label, (param.help or param.label) + span)
        self._tooltip, self._why, self._source = self.widget.toolTip(), "", ""

    def _make(self) -> QWidget:
        field, param = self.field, self.field.param
        if field.type is bool:
            return QCheckBox(param.label)
        if param.choices:
            combo = QComboBox()
            combo.addItems(list(param.choices))
            return combo
        if field.type in (int, float) and not field.optional:
            return self._spin_box()
        line = QLineEdit()
        line.setPlaceholderText("not given" if field.default is None else "")
        if field.type in (int, float):
            line.setValidator(OptionalNumber(line, whole=field.type is int))
        return line

    def _spin_box(self) -> QAbstractSpinBox:
        param = self.field.param
        whole = self.field.type is int
        box = WholeBox() if whole else NumberBox()
        step = param.step or 1
        low = -1e9 if param.min is None else param.min
        high = 1e9 if param.max is None else param.max
        box.setRange(int(low) if whole else low, int(high) if whole else high)
        box.setSingleStep(int(step) if whole else step)
        box.setKeyboardTracking(False)
        if param.unit:
            box.setSuffix(f" {param.unit}")
        return box

    def mark(self, why: str) -> None:
        """Mark the value as hardly meant, in red, and say why in the tooltip; empty: unmark."""
        self._why = why
        self.widget.setStyleSheet(f"border: 1px solid {WRONG};" if why else "")
        self._explain()

    def told(self, source: str) -> None:
        """Say in the tooltip where the value came from; empty: it was typed."""
        self._source = source
        self._explain()

    def _explain(self) -> None:
        parts = (self._why, self._tooltip, f"This value is {self._source}." if self._source else "")
        self.widget.setToolTip("\n".join(part for part in parts if part))

    @property
    def changed(self) -> Any:
        """The widget's own change signal."""
        widget = self.widget
        if isinstance(widget, QCheckBox):
            return widget.toggled
        if isinstance(widget, QComboBox):
            return widget.currentTextChanged
        if isinstance(widget, QLineEdit):
            return widget.editingFinished
        return widget.valueChanged

    @property
    def value(self) -> Any:
        """The plain value; None for an empty line."""
        widget = self.widget
        if isinstance(widget, QCheckBox):
            return widget.isChecked()
        if isinstance(widget, QComboBox):
            return widget.currentText()
        if isinstance(widget, QLineEdit):
            text = widget.text().strip()
            return text or (None if self.field.optional else self.field.default)
        return widget.value()

    @property
    def is_default(self) -> bool:
        """Whether the value is the one of the settings class."""
        value, default = self.value, self.field.default
        if self.field.type in (int, float) and None not in (value, default):
            found = numbers_of(str(value), 1)
            return found is not None and math.isclose(found[0], default, abs_tol=1e-9)
        return value == default

    @value.setter
    def value(self, value: Any) -> None:
        widget = self.widget
        with QSignalBlocker(widget):
            if isinstance(widget, QCheckBox):
                widget.setChecked(bool(value))
            elif isinstance(widget, QComboBox):
                widget.setCurrentText(str(value))
            elif isinstance(widget, QLineEdit):
                number = isinstance(value, (int, float))
                text = "" if value is None else f"{value:.10g}" if number else str(value)
                widget.setText(text)
            elif value is not None:
                widget.setValue(value)


class SettingsForm(QWidget):
    """A form over a settings class.

    Fields marked advanced stand in a "More" section that is closed at first.  Values of
    fields that are left out of the form keep what was last set.

    Parameters
    ----------
    cls : type of Settings
    exclude : collection of str
        Fields that the dock shows in another way.
    remember_as : str
        Name under which the last values are kept for the next session; empty: not kept.
    reset_button : bool
        Show a Reset button that brings back the defaults.

    Attributes
    ----------
    changed : signal(Settings)
        New, valid values.
    refused : signal(str)
        The sentence that says why the present values are refused; empty when they are not.
    """

    changed = Signal(object)
    refused = Signal(str)

    def __init__(
        self,
        cls: type[Settings],
        *,
        exclude: Collection[str] = (),
        remember_as: str = "",
        reset_button: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.cls = cls
        self._remember_as = remember_as
        self._hidden: dict[str, Any] = {}
        shown = [f for f in fields_of(cls) if f.name not in exclude]
        self.controls = {f.name: Control(f) for f in shown}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(_rows(self.controls[f.name] for f in shown if not f.param.advanced))
        advanced = self._advanced = [self.controls[f.name] for f in shown if f.param.advanced]
        self.more: QToolButton | None = None
        if advanced or reset_button:
            layout.addLayout(self._footer(advanced, reset_button, layout))
        if advanced:
            layout.addWidget(self._section)
        for control in self.controls.values():
            control.changed.connect(self._on_changed)
        self.reset(quietly=True)
        self._recall()

    def _footer(
        self, advanced: list[Control], reset_button: bool, layout: QVBoxLayout
    ) -> QHBoxLayout:
        row = QHBoxLayout()
        if advanced:
            self._section = QWidget()
            inner = _rows(advanced)
            inner.setContentsMargins(12, 0, 0, 0)
            self._section.setLayout(inner)
            self._section.setVisible(False)
            self.more = QToolButton()
            self.more.setText("More")
            self.more.setCheckable(True)
            self.more.setArrowType(Qt.ArrowType.RightArrow)
            self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            tame(self.more, "More settings", "Settings that are seldom changed")
            self.more.toggled.connect(self._show_more)
            row.addWidget(self.more)
        row.addStretch()
        if reset_button:
            button = QPushButton("Reset")
            tame(button, "Reset settings", "Bring back the default values")
            button.clicked.connect(lambda: self.reset())
            row.addWidget(button)
        return row

    def _show_more(self, on: bool) -> None:
        self._section.setVisible(on)
        self.more.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self._show_changes()

    def _show_changes(self) -> None:
        """Say on a folded *More* how many of its settings are not at their defaults."""
        if self.more is None:
            return
        changed = [c.field.param.label for c in self._advanced if not c.is_default]
        said = changes(len(changed)) if not self.more.isChecked() else ""
        self.more.setText(f"More ({said})" if said else "More")
        hint = "Settings that are seldom changed"
        self.more.setToolTip(f"{hint}. Changed: {', '.join(changed)}" if changed else hint)

    def settings(self) -> Settings:
        """The values as a settings object.

        Raises
        ------
        SettingsError
            A value is out of range; the message names the field.
        """
        return self.cls(**self._values())

    def _values(self) -> dict[str, Any]:
        return {**self._hidden, **{name: c.value for name, c in self.controls.items()}}

    def set_settings(self, settings: Settings, *, quietly: bool = False) -> None:
        """Show other values; emits `changed` once unless `quietly`."""
        for name in settings.to_dict():
            if name in self.controls:
                self.controls[name].value = getattr(settings, name)
            else:
                self._hidden[name] = getattr(settings, name)
        self._show_changes()
        if not quietly:
            self._on_changed()

    def reset(self, *, quietly: bool = False) -> None:
        """Bring back the defaults."""
        self.set_settings(self.cls(), quietly=quietly)

    def _recall(self) -> None:
        if not self._remember_as:
            return
        last = preferences.load_last(self._remember_as)
        known = {k: v for k, v in last.items() if k in self.controls}
        try:
            self.set_settings(self.cls(**{**self._values(), **known}), quietly=True)
        except (SettingsError, TypeError):
            return  # written by another version

    def _on_changed(self, *_: object) -> None:
        self._show_changes()
        try:
            settings = self.settings()
        except SettingsError as error:
            self.refused.emit(str(error))
            return
        self.refused.emit("")
        if self._remember_as:
            kept = {k: v for k, v in settings.to_dict().items() if k in self.controls}
            preferences.save_last(self._remember_as, kept)
        self.changed.emit(settings)


def changes(count: int) -> str:
    """So many settings that are not at their defaults, in words; empty for none."""
    return f"{count} change{'s' if count != 1 else ''}" if count else ""


def _rows(controls: Iterable[Control]) -> QFormLayout:
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for control in controls:
        if isinstance(control.widget, QCheckBox):
            layout.addRow(control.widget)
            continue
        unit = control.field.param.unit
        in_label = f" [{unit}]" if unit and isinstance(control.widget, QLineEdit) else ""
        label = QLabel(control.field.param.label + in_label)
        label.setBuddy(control.widget)
        label.setToolTip(control.widget.toolTip())
        layout.addRow(label, control.widget)
    return layout


def with_button(line: QWidget, text: str, tooltip: str, clicked: Callable[[], None]) -> QWidget:
    """A line edit with a small button at its right."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(line, 1)
    button = QPushButton(text)
    tame(button, tooltip, tooltip)
    button.clicked.connect(clicked)
    row.addWidget(button)
    return box
