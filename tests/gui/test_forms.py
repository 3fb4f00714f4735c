"""Forms: every field of a settings class, kept between sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from clicking import click
from qtpy.QtCore import QLocale, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSpinBox

from napari_labdct.core.errors import SettingsError
from napari_labdct.core.parameters import Param, Settings
from napari_labdct.gui.app import preferences
from napari_labdct.gui.widgets.forms import SettingsForm, numbers_of

pytestmark = pytest.mark.gui


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    count: Annotated[int, Param("Count", "frames", 1, 9, 2, "How many.")] = 3
    sigma: Annotated[float, Param("Width", "px", 0.5, 20, 0.25, "How wide.")] = 2.0
    kind: Annotated[str, Param("Kind", choices=("soft", "hard"))] = "soft"
    on: Annotated[bool, Param("Switched on", help="Whether.")] = True
    size: Annotated[float | None, Param("Size", "um", 0.1, 100, 0.1, "If known.")] = None
    note: Annotated[str | None, Param("Note")] = None
    depth: Annotated[int, Param("Depth", "", 1, 5, 1, advanced=True)] = 2


@pytest.fixture
def make(qtbot):
    def make(**options) -> SettingsForm:
        form = SettingsForm(Example, **options)
        qtbot.addWidget(form)
        form.show()
        return form

    return make


def test_a_field_has_the_widget_unit_range_and_help_of_its_parameter(make):
    form = make()
    kinds = {
        "count": QSpinBox, "sigma": QDoubleSpinBox, "kind": QComboBox, "on": QCheckBox,
        "size": QLineEdit, "note": QLineEdit, "depth": QSpinBox,
    }  # fmt: skip
    assert list(form.controls) == list(kinds)
    assert all(isinstance(form.controls[name].widget, kind) for name, kind in kinds.items())
    count = form.controls["count"].widget
    assert (count.minimum(), count.maximum(), count.singleStep()) == (1, 9, 2)
    assert count.suffix() == " frames"
    assert count.accessibleName() == "Count"
    assert "How many." in count.toolTip()
    assert "1 to 9 frames" in count.toolTip()
    assert form.controls["sigma"].widget.text() == "2 px"
    assert form.controls["size"].widget.placeholderText() == "not given"


def test_settings_go_in_and_out(make):
    form = make()
    assert form.settings() == Example()
    wanted = Example(count=5, sigma=3.25, kind="hard", on=False, size=3.36, note="a", depth=4)
    seen = []
    form.changed.connect(seen.append)
    form.set_settings(wanted)
    assert form.settings() == wanted
    assert seen == [wanted]
    form.set_settings(Example(), quietly=True)
    assert seen == [wanted]


def test_typing_says_what_changed_or_why_not(make, qtbot):
    form = make()
    seen, refused = [], []
    form.changed.connect(seen.append)
    form.refused.connect(refused.append)
    line = form.controls["size"].widget
    qtbot.keyClicks(line, "3.36")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert seen[-1].size == 3.36
    line.clear()
    qtbot.keyClicks(line, "500")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert "Size (size) is 500 um" in refused[-1]
    assert seen[-1].size == 3.36
    with pytest.raises(SettingsError):
        form.settings()
    line.clear()
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert seen[-1].size is None
    assert refused[-1] == ""


def test_advanced_fields_fold_away(make, qtbot):
    form = make()
    depth = form.controls["depth"].widget
    assert not depth.isVisible()
    click(form.more)
    assert depth.isVisible()
    click(form.more)
    assert not depth.isVisible()


def test_a_folded_more_says_what_is_not_at_its_default(make, qtbot):
    form = make(remember_as="example")
    assert form.more.text() == "More"
    form.controls["depth"].widget.setValue(4)
    assert form.more.text() == "More (1 change)"
    assert form.more.toolTip().endswith("Changed: Depth")
    click(form.more)
    assert form.more.text() == "More"
    assert make(remember_as="example").more.text() == "More (1 change)"
    click(form.more)
    form.reset()
    assert form.more.text() == "More"
    form.set_settings(Example(sigma=4, depth=1), quietly=True)
    assert form.more.text() == "More (1 change)"


@pytest.mark.parametrize("language", [QLocale.Language.English, QLocale.Language.German])
def test_a_decimal_comma_is_read_in_every_field_and_language(make, qtbot, language):
    before = QLocale()
    QLocale.setDefault(QLocale(language))
    try:
        form = make()
    finally:
        QLocale.setDefault(before)
    for name in ("sigma", "size"):
        for text in ("13,4", "13.4"):
            widget = form.controls[name].widget
            widget.selectAll()
            qtbot.keyClicks(widget, text)
            qtbot.keyClick(widget, Qt.Key.Key_Return)
            assert getattr(form.settings(), name) == 13.4
            widget.selectAll()
            qtbot.keyClicks(widget, "2")
            qtbot.keyClick(widget, Qt.Key.Key_Return)
            assert getattr(form.settings(), name) == 2


@pytest.mark.parametrize("text", ["1.5", "1,5"])
def test_a_fraction_does_not_become_another_whole_number(make, qtbot, text):
    form = make()
    count = form.controls["count"].widget
    count.setRange(1, 99)
    count.selectAll()
    qtbot.keyClicks(count, text)
    qtbot.keyClick(count, Qt.Key.Key_Return)
    assert count.value() == 3


def test_numbers_of_a_line_with_points_or_commas():
    same = ["24.5, 30", "24.5,30", "24,5; 30", "24,5 30", "24,5, 30", " 24,5 ;30 ", "24.5;30"]
    assert {numbers_of(text, 2) for text in same} == {(24.5, 30.0)}
    assert numbers_of("0,0,1", 3) == numbers_of("0; 0; 1", 3) == (0, 0, 1)
    assert numbers_of("13,4", 1) == numbers_of("13.4", 1) == (13.4,)
    for wrong in ("", "24", "1, 2, 3", "a, b", "1 nan", "1;;2"):
        assert numbers_of(wrong, 2) is None


def test_last_values_come_back_and_reset_brings_the_defaults(make):
    form = make(remember_as="example")
    form.set_settings(Example(count=7, size=1.5))
    again = make(remember_as="example")
    assert again.settings() == Example(count=7, size=1.5)
    again.reset()
    assert again.settings() == Example()
    assert make(remember_as="example").settings() == Example()


def test_left_out_fields_keep_what_was_set(make):
    form = make(exclude=("count", "kind"))
    form.set_settings(Example(count=9, kind="hard", sigma=4))
    assert form.settings() == Example(count=9, kind="hard", sigma=4)
    assert "count" not in form.controls


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"count": 400}', '{"count": "x"}'])
def test_damaged_or_outdated_memory_is_passed_over(make, home, text):
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "example.json").write_text(text)
    assert make(remember_as="example").settings() == Example()


def test_a_read_only_home_costs_the_memory_not_the_work(home, make):
    (home / "config").write_text("in the way")
    form = make(remember_as="example")
    form.set_settings(Example(count=7))
    assert form.settings().count == 7
    assert preferences.load_last("example") == {}


def test_the_wheel_scrolls_and_does_not_turn_values(make):
    form = make()
    count = form.controls["count"].widget
    count.clearFocus()
    event = QWheelEvent(
        QPointF(5, 5), QPointF(5, 5), QPoint(0, 0), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(count, event)
    assert count.value() == 3
