"""Every dock of the manifest: fits the smallest screen, speaks, works in both themes."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
from clicking import click
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPushButton,
    QSlider,
    QTabBar,
    QToolButton,
    QWidget,
)

from napari_labdct.gui.app.docks import WAY, open_dock
from napari_labdct.gui.review.dock import SpotsDock
from napari_labdct.gui.widgets.dock import Dock

pytestmark = pytest.mark.gui

NAMES = [
    widget.display_name
    for widget in PluginManifest.from_distribution("napari-labdct").contributions.widgets
    if widget.display_name != "Workspace"
]


def test_the_manifest_is_valid_and_every_command_is_there():
    manifest = PluginManifest.from_distribution("napari-labdct")
    manifest.validate_imports()
    assert {"Scan", "Denoise"} <= set(NAMES)
    menus = manifest.contributions.menus
    assert {"napari/layers/filter", "napari/layers/segment"} <= set(menus)
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_preferences_have_our_settings(viewer):
    from napari_labdct.gui.app import preferences

    manifest = PluginManager.instance().get_manifest("napari-labdct")
    groups = manifest.contributions.configurations
    declared = {
        name: item.default for group in groups.values() for name, item in group.properties.items()
    }
    for name, default in declared.items():
        assert preferences.preference(name) == default


def test_the_cache_folder_of_preferences_counts(monkeypatch, tmp_path, home):
    from napari_labdct.gui.app import preferences

    assert preferences.cache_folder() == home / "cache"
    monkeypatch.setattr(preferences, "preference", lambda name: str(tmp_path / "elsewhere"))
    assert preferences.cache_folder() == tmp_path / "elsewhere"


@pytest.mark.parametrize("name", NAMES)
def test_docks_fit_the_smallest_screen_in_both_themes(dock, viewer, name, qtbot):
    panel = dock(name)
    assert isinstance(panel, Dock)
    viewer.add_image(np.zeros((5, 16, 16), np.uint16), name="iron", contrast_limits=(0, 9))
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(20)
        hint = panel.minimumSizeHint()
        assert hint.width() <= 420
        assert hint.height() <= 560
        if panel.title in WAY:
            assert panel.sizeHint().width() <= 520
    assert panel.title == name


@pytest.mark.parametrize("name", NAMES)
def test_every_control_has_a_name_and_a_tooltip(dock, name):
    panel = dock(name)
    kinds = (QAbstractSpinBox, QComboBox, QPushButton, QSlider, QLineEdit)
    nameless = []
    for control in panel.findChildren(QWidget):
        if not isinstance(control, kinds) or isinstance(
            control.parent(), (QAbstractSpinBox, QComboBox)
        ):
            continue
        if control.objectName().startswith("qt_"):
            continue
        spoken = control.accessibleName() or getattr(control, "text", lambda: "")()
        if not spoken or not control.toolTip():
            nameless.append(
                f"{type(control).__name__} '{spoken}' in {type(control.parent()).__name__}"
            )
    assert nameless == []


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_dock_says_what_to_do(dock, name):
    panel = dock(name)
    if name in ("Scan", "Denoise"):
        assert panel.empty.isVisibleTo(panel)
        assert not panel.scroll.isVisibleTo(panel)
        texts = [b.text() for b in panel.empty.findChildren(QPushButton)]
        assert texts[:3] == ["Open files...", "Open folder...", "Open sample"]
        assert texts[3:] == ["Show me around", "No, thanks"]


@pytest.mark.parametrize("name", ["Scan", "Denoise"])
def test_the_keyboard_reaches_every_control(dock, viewer, name, qtbot):
    panel = dock(name)
    viewer.add_image(np.zeros((5, 16, 16), np.uint16), name="iron", contrast_limits=(0, 9))
    from qtpy.QtCore import Qt

    for control in panel.findChildren(QWidget):
        if isinstance(control, (QPushButton, QLineEdit, QAbstractSpinBox, QComboBox, QSlider)):
            assert control.focusPolicy() & Qt.FocusPolicy.TabFocus or not control.isVisibleTo(panel)


def test_the_sample_opens_from_the_dock(dock, viewer, qtbot, wait):
    from napari_labdct.io.sample import sample_folder

    panel = dock("Denoise")
    sample = next(b for b in panel.empty.findChildren(QPushButton) if "sample" in b.text())
    click(sample)
    wait(lambda: panel.session.stack is not None)
    wait(lambda: not panel.session.job("open").running)
    scan = panel.session.scan()
    assert scan.n_frames > 3
    assert scan.omega_deg is not None
    assert str(sample_folder()) in scan.source


def test_napari_opens_the_sample(viewer):
    viewer.open_sample("napari-labdct", "demo")
    assert len(viewer.layers) >= 1
    assert viewer.layers[0].metadata["napari-labdct"]["kind"] == "scan"


def test_napari_saves_a_mask_as_binary_stack(viewer, tmp_path):
    import tifffile

    mask = np.zeros((3, 16, 16), np.uint8)
    mask[1, 3:6, 3:6] = 7
    layer = viewer.add_labels(mask)
    layer.save(str(tmp_path / "mask.tif"), plugin="napari-labdct")
    written = tifffile.imread(tmp_path / "mask.tif")
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, np.where(mask > 0, 255, 0))


def test_gui_modules_do_not_pull_torch():
    code = (
        "import sys, pkgutil, importlib, napari_labdct.gui as g;"
        "[importlib.import_module(m.name) "
        "for m in pkgutil.walk_packages(g.__path__, 'napari_labdct.gui.')];"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_room_is_made_for_new_results(tmp_path):
    import os
    import time

    from napari_labdct.gui.app import result_cache as stores

    def result(name: str, age_h: float) -> None:
        for path in (tmp_path / f"{name}.tif", tmp_path / f"{name}.tif.json"):
            path.write_bytes(b"0" * 1000)
            os.utime(path, (time.time() - age_h * 3600,) * 2)

    old, older, young = (
        stores.result_path(tmp_path, name, f"{k:016x}").stem
        for k, name in enumerate(("old", "older", "young"))
    )
    for name, age in ((old, 30), (older, 50), (young, 0), ("thesis_with_recipe", 90)):
        result(name, age)
    (tmp_path / "thesis.tif").write_bytes(b"0" * 1000)
    new = tmp_path / "new.tif"
    assert stores.make_room(tmp_path, 1000, 1.0, new) == 0
    assert stores.make_room(tmp_path, 1000, 3100e-9, new) == 1
    saved = ["thesis.tif", "thesis_with_recipe.tif"]
    left = sorted(p.name for p in tmp_path.glob("*.tif"))
    assert left == sorted([f"{old}.tif", f"{young}.tif", *saved])
    assert stores.make_room(tmp_path, 1000, 0.0, new) == 1
    assert all((tmp_path / name).exists() for name in (*saved, f"{young}.tif"))
    assert not (tmp_path / f"{older}.tif.json").exists()


def tabs_of(viewer):
    """Titles of the tabs of our docks, left to right, and which one is in front."""
    window = viewer.window._qt_window
    for bar in window.findChildren(QTabBar):
        titles = [bar.tabText(k) for k in range(bar.count())]
        if set(titles) & set(NAMES) and bar.parent() is window:
            return titles, titles[bar.currentIndex()]
    return [], ""


def test_a_further_dock_becomes_a_tab_and_the_window_does_not_grow(shown, wait):
    viewer = shown
    viewer.window._qt_window.resize(1280, 720)
    names = ["Denoise", "Compare", "Review", "Train"]
    viewer.window.add_plugin_dock_widget("napari-labdct", names[0])  # as the menu does it
    for k in (2, 3, 4):
        viewer.window.add_plugin_dock_widget("napari-labdct", names[k - 1])
        wait(lambda k=k: tabs_of(viewer) == (names[:k], names[k - 1]))
    wait(lambda: viewer.window._qt_window.height() <= 720)


def test_the_workspace_opens_the_way_from_scan_to_export(shown, wait):
    viewer = shown
    viewer.window.add_plugin_dock_widget("napari-labdct", "Workspace")
    wait(lambda: tabs_of(viewer) == (list(WAY), "Scan"))
    assert not any("Workspace" in name for name in viewer.window.dock_widgets)


def test_a_step_leads_to_its_dock(shown, wait):
    panel = open_dock(shown, "Scan")
    steps = {b.text(): b for b in panel.findChildren(QToolButton) if b.text() in WAY}
    assert [name for name, b in steps.items() if b.isChecked()] == ["Scan"]
    click(steps["Review"])
    wait(lambda: tabs_of(shown) == (["Scan", "Review"], "Review"))
    (review,) = shown.window._qt_window.findChildren(SpotsDock)
    back = {b.text(): b for b in review.findChildren(QToolButton) if b.text() in WAY}
    assert [name for name, b in back.items() if b.isChecked()] == ["Review"]
    click(back["Scan"])
    wait(lambda: tabs_of(shown)[1] == "Scan")


def test_nothing_hidden_or_disabled_is_ever_clicked(qtbot):
    box = QWidget()
    hidden, off = QPushButton("hidden", box), QPushButton("off", box)
    qtbot.addWidget(box)
    box.show()
    hidden.hide()
    off.setEnabled(False)
    for widget in (hidden, off):
        with pytest.raises(AssertionError):
            click(widget)


def test_a_dock_behind_a_tab_knows_it(shown, wait):
    from napari_labdct.gui.app.docks import open_dock

    scan_dock, review = (open_dock(shown, name) for name in ("Scan", "Review"))
    looked = []
    review.sources.look_again = lambda: looked.append(True)
    wait(lambda: scan_dock.behind and not review.behind)
    open_dock(shown, "Scan")
    wait(lambda: review.behind and not scan_dock.behind)
    looked.clear()
    review.session.results_changed.emit(None)  # a result came while another dock is used
    assert not looked
    open_dock(shown, "Review")
    wait(lambda: bool(looked) and not review.behind)
