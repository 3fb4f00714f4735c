"""The Background dock: the library's pixels, never in a slot, and a list that keeps its sets."""

from __future__ import annotations

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox

from napari_labdct.background import BackgroundSet, Extraction, ExtractionSettings
from napari_labdct.gui.app import preferences
from napari_labdct.gui.app.layers import kind_of
from napari_labdct.gui.background.tasks import STEPS, show_steps
from napari_labdct.scan.scan import Scan

pytestmark = pytest.mark.gui

SETTINGS = ExtractionSettings(window_frames=5, dilation_radius_px=4)


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Import and compile what the first extraction needs, outside any wait for it."""
    frames = np.random.default_rng(0).poisson(300, (9, 48, 64)).astype(np.uint16)
    for _ in show_steps(Scan(frames, name="warm"), SETTINGS, 4, None):
        pass


@pytest.fixture
def panel(dock, add_scan, scan, wait):
    add_scan(scan)
    made = dock("Background")
    made.form.set_settings(SETTINGS)
    wait(lambda: not made.controller.sets.job.running)
    return made


@pytest.fixture
def steps(panel, wait):
    """Show the steps and wait for the last of them."""

    def run():
        click(panel.steps_button)
        wait(lambda: not panel.controller.steps_job.running)
        return panel.controller.steps_job.state

    return run


@pytest.fixture
def extract(panel, wait):
    def run():
        click(panel.run_bar.button)
        wait(lambda: not panel.controller.job.running)
        wait(lambda: not panel.controller.sets.job.running)
        return panel.controller.job.state

    return run


def _step(viewer, name):
    return next(layer for layer in viewer.layers if layer.name == f"iron [{name}]")


def test_steps_are_the_librarys_and_are_made_in_a_worker(panel, steps, viewer, scan, monkeypatch):
    in_window = []
    find = Extraction._find

    def spy(self, *args):
        in_window.append(QThread.currentThread() is QApplication.instance().thread())
        return find(self, *args)

    monkeypatch.setattr(Extraction, "_find", spy)
    panel.session.show_frame(4)
    assert steps() == "done"
    assert in_window
    assert not any(in_window)
    shown = [layer for layer in viewer.layers if kind_of(layer) == "background step"]
    assert [layer.name for layer in shown] == [f"iron [{name}]" for name in STEPS]
    assert [layer.name for layer in shown if layer.visible] == [f"iron [{STEPS[3]}]"]
    library = Extraction(scan, SETTINGS)
    library.static = panel.controller._known.rough
    np.testing.assert_array_equal(_step(viewer, STEPS[2]).data, library.steps(4).filled)
    np.testing.assert_array_equal(_step(viewer, STEPS[1]).data, library.steps(4).fill_mask)
    np.testing.assert_array_equal(_step(viewer, STEPS[3]).data, library.frame(4))
    assert "Projection 4:" in panel.note.text()
    assert "Background from 5 projections" in panel.note.text()
    assert panel.session.stacks() == [panel.session.stack]


def test_one_step_is_seen_at_a_time_and_all_can_go(panel, steps, viewer):
    steps()
    for name in ("a: projection", *STEPS):
        panel.step_shown.setCurrentText(name)
        seen = [x.name for x in viewer.layers if x.visible and kind_of(x) == "background step"]
        assert seen == ([] if name.startswith("a") else [f"iron [{name}]"])
    click(panel.steps_button)
    assert [layer.name for layer in viewer.layers] == ["iron"]


def test_hiding_the_steps_stops_their_work(panel, viewer, wait, monkeypatch):
    load = Extraction.load

    def slow(self, index):
        panel.controller.steps_job._worker.quit()
        yield from load(self, index)

    monkeypatch.setattr(Extraction, "load", slow)
    click(panel.steps_button)
    click(panel.steps_button)
    wait(lambda: not panel.controller.steps_job.running)
    assert panel.controller.steps_job.state == "stopped"
    assert [layer.name for layer in viewer.layers] == ["iron"]
    assert panel.steps_button.text() == "Show steps"
    assert panel.note.text() == ""


def test_a_run_puts_its_layer_under_the_steps(panel, steps, extract, viewer):
    steps()
    extract()
    assert [layer.name for layer in viewer.layers][:2] == ["iron", "iron [background]"]
    assert len(viewer.layers) == 2 + len(STEPS)


def test_steps_follow_the_settings_and_the_slider(panel, steps, viewer, wait):
    steps()
    mask = _step(viewer, STEPS[1])
    before = mask.data.mean()
    panel.form.controls["dilation_radius_px"].widget.setValue(7)
    wait(lambda: mask.data.mean() > before)
    panel.session.show_frame(6)
    wait(lambda: "Projection 6:" in panel.note.text())
    wait(lambda: not panel.controller.steps_job.running)
    assert len(viewer.layers) == 1 + len(STEPS)


def test_extract_writes_i_bg_and_adds_a_set_with_its_picture(panel, extract, viewer, scan):
    assert extract() == "done"
    layer = viewer.layers["iron [background]"]
    library = Extraction(scan, SETTINGS)
    for k in (0, 4, 8):
        np.testing.assert_array_equal(np.asarray(layer.data[k]), library.frame(k))
    assert tuple(layer.contrast_limits) == (0, 1)
    assert panel.sets.sets.count() == 1
    item = panel.sets.sets.item(0)
    assert item.text().startswith("iron\n9 projections, 48 x 64")
    assert not item.icon().isNull()
    saved = BackgroundSet.load(preferences.backgrounds_folder() / "iron.h5")
    assert saved.n_frames == 9
    assert "cosmic rays a projection" in panel.run_bar.label.text()
    # a second run keeps the first set
    assert extract() == "done"
    assert panel.sets.sets.count() == 2
    assert [x.name for x in viewer.layers] == ["iron", "iron [background]"]


def test_cancel_resume_and_discard(panel, viewer, wait, monkeypatch):
    background, calls = Extraction.frame, []

    def stop(self, index):
        calls.append(index)
        if len(calls) in (3, 6):
            panel.controller.job._worker.quit()
        return background(self, index)

    monkeypatch.setattr(Extraction, "frame", stop)
    click(panel.run_bar.button)
    wait(lambda: panel.controller.job.state == "stopped")
    layer = viewer.layers["iron [background]"]
    assert np.asarray(layer.data[2]).any()
    assert not np.asarray(layer.data[3]).any()
    click(panel.run_bar.resume_button)
    wait(lambda: panel.controller.job.state == "stopped" and len(calls) == 6)
    assert calls == [0, 1, 2, 3, 4, 5]
    store = layer.data
    click(panel.run_bar.discard_button)
    assert [x.name for x in viewer.layers] == ["iron"]
    assert not store.location.exists()
    assert not list(preferences.backgrounds_folder().glob("*.h5"))


def test_sets_can_be_shown_saved_added_and_deleted(
    panel, extract, viewer, wait, tmp_path, monkeypatch
):
    extract()

    def settled():
        return not (panel.controller.file_job.running or panel.controller.sets.job.running)

    assert not panel.sets.show_button.isEnabled()
    panel.sets.sets.setCurrentRow(0)
    click(panel.sets.show_button)
    wait(settled)
    shown = viewer.layers["iron [background set]"]
    assert shown.data.shape == (48, 64)
    assert shown.data.max() == 1
    panel.sets.sets.setCurrentRow(0)
    copy = tmp_path / "mine.h5"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(copy), ""))
    click(panel.sets.save_button)
    wait(settled)
    assert BackgroundSet.load(copy).name == "iron"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(copy), ""))
    click(panel.sets.add_button)
    wait(lambda: settled() and panel.sets.sets.count() == 2)
    panel.sets.sets.clearSelection()  # as a click on another row does
    panel.sets.sets.setCurrentRow(1)
    monkeypatch.setattr(QMessageBox, "question", lambda *a: QMessageBox.StandardButton.Yes)
    click(panel.sets.delete_button)
    wait(lambda: settled() and panel.sets.sets.count() == 1)
    copy.write_bytes(b"nothing")
    click(panel.sets.add_button)
    wait(settled)
    assert "is not a background set" in panel.status.text()
    assert panel.sets.sets.count() == 1


def test_a_damaged_set_is_listed_with_the_reason(dock, wait):
    folder = preferences.backgrounds_folder()
    folder.mkdir(parents=True)
    (folder / "old.h5").write_bytes(b"nothing")
    panel = dock("Background")
    wait(lambda: panel.sets.sets.count() == 1)
    assert "is not a background set" in panel.sets.sets.item(0).toolTip()


def test_what_cannot_be_extracted_is_said_in_one_sentence(dock, add_scan, wait):
    frames = np.random.default_rng(0).poisson(90, (9, 40, 40)).astype(np.uint16)
    frames[3] = 0
    add_scan(Scan(frames, name="dark"))
    panel = dock("Background")
    click(panel.run_bar.button)
    wait(lambda: panel.controller.job.state == "failed")
    assert "Projection 3 of 'dark' is zero everywhere" in panel.run_bar.label.text()
    click(panel.steps_button)
    wait(lambda: panel.controller.steps_job.state == "failed")
    assert "zero everywhere" in panel.note.text()
