"""Training pairs in the Background dock: the library's pixels, made in workers, and whole sets."""

from __future__ import annotations

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel

from napari_labdct.gui.app import preferences
from napari_labdct.gui.background.pairs_controller import LAYERS
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.training.crops.own_scan_settings import TrainingSetSettings
from napari_labdct.training.crops.paper_pairs import TrainingSet

pytestmark = pytest.mark.gui

SETTINGS = TrainingSetSettings(samples="D18", binning=16, pairs=4, validation_percent=50)


@pytest.fixture
def pairs(dock, flat_background, wait):
    flat_background.save(preferences.backgrounds_folder() / "flat.h5")
    panel = dock("Background")
    wait(lambda: panel.sets.sets.count() == 1)
    panel.pairs.form.set_settings(SETTINGS)
    assert not panel.pairs.run_bar.button.isEnabled()
    assert "Choose background sets" in panel.pairs.run_bar.button.toolTip()
    panel.sets.sets.setCurrentRow(0)
    return panel.pairs


def _previewed(pairs, wait, act):
    seen = []
    pairs.controller.shown.connect(seen.append)
    act()
    wait(lambda: bool(seen) and not pairs.controller.preview_job.running)
    return seen[-1]


def test_a_preview_shows_x_and_y_c_made_in_a_worker(
    pairs, viewer, wait, flat_background, monkeypatch
):
    in_window = []
    pair = TrainingSet.pair

    def spy(self, index):
        in_window.append(QThread.currentThread() is QApplication.instance().thread())
        return pair(self, index)

    monkeypatch.setattr(TrainingSet, "pair", spy)
    _previewed(pairs, wait, lambda: click(pairs.preview_button))
    assert in_window == [False]
    labels = [label.text() for label in pairs.findChildren(QLabel)]
    assert {"Background level I0", "Noise level tau"} <= set(labels)  # what they are, not the sign
    expected = TrainingSet(SETTINGS.replace(i0=110.0, tau=1.0), [flat_background]).pair(0)
    np.testing.assert_array_equal(viewer.layers[LAYERS[0]].data, expected.frame)
    np.testing.assert_array_equal(viewer.layers[LAYERS[1]].data, expected.mask)
    assert "Pair 0: D18 over flat" in pairs.note.text()
    assert pairs.controller._session.stacks() == []
    _previewed(pairs, wait, lambda: click(pairs.next_button))
    assert len(viewer.layers) == 2
    assert "Pair 1:" in pairs.note.text()
    click(pairs.preview_button)
    assert len(viewer.layers) == 0
    assert pairs.preview_button.text() == "Preview"


def test_a_pair_of_another_size_is_shown_over_the_whole_projection(pairs, viewer, wait):
    stack = viewer.add_image(np.ones((3, 64, 64), np.float32), name="scan", scale=(1, 2, 2))
    wait(lambda: pairs.controller._session.stack is stack)
    _previewed(pairs, wait, lambda: click(pairs.preview_button))
    for name in LAYERS:
        layer = viewer.layers[name]
        assert layer.data.shape == (127, 127)
        np.testing.assert_allclose(layer.scale * 127, (128, 128))


def test_sliders_change_level_and_noise_without_simulating_again(pairs, viewer, wait):
    _previewed(pairs, wait, lambda: click(pairs.preview_button))
    made = pairs.controller._known.made._made
    frame = viewer.layers[LAYERS[0]]
    level, noise = np.median(frame.data), frame.data.std()
    _previewed(pairs, wait, lambda: pairs.i0.setValue(50))
    # R_BG is drawn within a square root of I0
    assert np.median(frame.data) / level == pytest.approx(50 / 110, rel=0.25)
    _previewed(pairs, wait, lambda: pairs.tau.setValue(30))
    assert frame.data.std() > noise
    assert pairs.controller._known.made._made is made
    assert (pairs.i0_text.text(), pairs.tau_text.text()) == ("50", "3")
    _previewed(pairs, wait, lambda: pairs.form.controls["output"].widget.setCurrentText("16-bit"))
    assert not pairs.i0.isEnabled()
    assert np.median(frame.data) == pytest.approx(300, rel=0.05)


def test_a_training_set_is_written_stopped_resumed_and_discarded(
    pairs, wait, tmp_path, monkeypatch
):
    out = tmp_path / "set"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(out))
    pair, calls = TrainingSet.pair, []

    def stop(self, index):
        calls.append(index)
        if len(calls) == 2:
            pairs.controller.job._worker.quit()
        return pair(self, index)

    monkeypatch.setattr(TrainingSet, "pair", stop)
    click(pairs.run_bar.button)
    wait(lambda: pairs.controller.job.state == "stopped")
    assert calls == [0, 1]
    click(pairs.run_bar.resume_button)
    wait(lambda: pairs.controller.job.state == "done")
    assert calls == [0, 1, 2, 3]
    assert "4 pairs (2 for validation)" in pairs.run_bar.label.text()
    assert len(list(read_training_pairs(out / "train"))) == 2
    # another set does not go into the same folder
    pairs.form.controls["pairs"].widget.setValue(6)
    click(pairs.run_bar.button)
    wait(lambda: pairs.controller.job.state == "failed")
    assert "already holds something else" in pairs.run_bar.label.text()
    click(pairs.run_bar.discard_button)  # of what was refused: the set before it stays
    assert pairs.controller.job.state == "idle"
    assert len(list(read_training_pairs(out / "train"))) == 2


def test_discarding_a_stopped_set_deletes_its_files(pairs, wait, tmp_path, monkeypatch):
    out = tmp_path / "set"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(out))
    pair = TrainingSet.pair

    def stop(self, index):
        pairs.controller.job._worker.quit()
        return pair(self, index)

    monkeypatch.setattr(TrainingSet, "pair", stop)
    click(pairs.run_bar.button)
    wait(lambda: pairs.controller.job.state == "stopped")
    assert out.exists()
    click(pairs.run_bar.discard_button)
    wait(lambda: not out.exists())
    assert pairs.controller.job.state == "idle"


def test_a_sample_that_does_not_exist_is_said(pairs, wait):
    line = pairs.form.controls["samples"].widget
    line.setText("D19")
    line.editingFinished.emit()
    click(pairs.preview_button)
    wait(lambda: pairs.controller.preview_job.state == "failed")
    assert "'D19' is no sample" in pairs.note.text()


def test_the_geometry_of_a_scan_needs_its_description(pairs, add_scan, scan):
    assert not pairs.own_geometry.isEnabled()
    add_scan(scan)  # knows its pixel size only
    assert not pairs.own_geometry.isEnabled()
