"""The Denoise dock, from Run to the exported stack, and what happens when things go wrong."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import tifffile
from clicking import click
from qtpy.QtWidgets import QMessageBox

from napari_labdct.core.errors import LabDCTError, OutputError, ScanError
from napari_labdct.core.stacks import LazyStack
from napari_labdct.evaluation.comparison import open_segmentation
from napari_labdct.gui.app import preferences
from napari_labdct.gui.app.layers import info_of
from napari_labdct.gui.app.loaded_model import models
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.denoise.controller import DenoiseController
from napari_labdct.gui.denoise.tasks import memory_bytes
from napari_labdct.networks.denoising import Denoiser, DenoiseSettings
from napari_labdct.networks.model import Model
from napari_labdct.networks.registry import NETWORKS
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.binarisation import SpotSettings, binarise
from napari_labdct.spots.tracking import Tracker

pytestmark = pytest.mark.gui


@pytest.fixture
def run(panel, wait):
    """Press Run with a scope and wait for the end."""

    def go(scope: str = "Whole stack", state: str = "done") -> None:
        panel.network.scope.setCurrentText(scope)
        click(panel.bar.button)
        wait(lambda: not panel.controller.job.running)
        assert panel.controller.job.state == state, panel.controller.job.error
        wait(lambda: not session_of(panel.session.viewer).job("spots").running)

    return go


def middle_threshold(cleaned: np.ndarray) -> int:
    """A threshold that the untrained network's output crosses somewhere."""
    return (int(cleaned.min()) + int(cleaned.max())) // 2 + 1


def test_the_card_the_devices_and_the_default_threshold(panel):
    assert panel.spots.threshold.value() == panel.spots.slider.value() == 120
    assert panel.network.model.currentText() == "tiny.safetensors"
    assert "median of 5 projections" in panel.network.card.text()
    names = [panel.network.device.itemData(i) for i in range(panel.network.device.count())]
    from napari_labdct.networks.devices import devices
    from napari_labdct.networks.runtimes import available_runtimes

    assert names == ["auto", *devices(), *available_runtimes()]
    assert panel.network.device.currentData() == "cpu"
    assert not panel.bar.button.isEnabled()  # nothing is open
    assert panel.empty.isVisibleTo(panel)


def test_gui_pixels_are_library_pixels(panel, run, add_scan, scan, model_path, viewer):
    layer = add_scan(scan)
    run()
    cleaned, mask = viewer.layers[1], viewer.layers[2]
    assert (cleaned.name, mask.name) == ("iron [network result]", "iron [network mask]")
    denoiser = Denoiser(scan, DenoiseSettings(model=str(model_path), device="cpu"))
    for index in range(scan.n_frames):
        np.testing.assert_array_equal(cleaned.data[index], denoiser.frame(index))
        expected = binarise(cleaned.data[index], SpotSettings(threshold=120))
        np.testing.assert_array_equal(mask.data[index] > 0, expected)
    assert tuple(cleaned.scale) == tuple(layer.scale)
    assert cleaned.units == mask.units == layer.units
    assert mask.axis_labels == layer.axis_labels
    made = info_of(mask)["recipe"]
    assert made["job"] == "denoise"
    assert made["model"]["name"] == "tiny"
    assert made["settings"]["binning"] == denoiser.binning
    assert made["binarise"] == {"threshold": 120, "min_size_px": 3}
    assert made["input"]["id"] == scan.identity()


def test_this_frame_a_range_and_the_whole_stack_share_one_result(
    panel, run, add_scan, scan, viewer
):
    add_scan(scan)
    session = session_of(viewer)
    session.show_frame(4)
    run("This projection")
    store = viewer.layers[1].data
    assert list(np.flatnonzero(store.done)) == [4]
    panel.network.scope.setCurrentText("Range")
    assert panel.network.first.isVisibleTo(panel)
    panel.network.first.setValue(6)
    panel.network.last.setValue(5)
    run("Range")
    assert list(np.flatnonzero(store.done)) == [4, 5, 6]
    run("Whole stack")
    assert store.complete
    assert len(viewer.layers) == 3
    assert panel.bar.label.text().startswith("Done: 9 projections.")


def test_threshold_and_size_act_without_the_network(
    panel, run, add_scan, scan, viewer, monkeypatch, wait
):
    add_scan(scan)
    run("This projection")
    cleaned, mask = viewer.layers[1], viewer.layers[2]
    index = session_of(viewer).shown_frame()
    shown = cleaned.data[index]

    def fail(*_):
        raise AssertionError("the network ran again")

    monkeypatch.setattr(Model, "see", fail)
    level = middle_threshold(shown)
    panel.spots.slider.setValue(level)
    assert panel.spots.threshold.value() == level
    wait(lambda: mask.data.settings.threshold == level)
    panel.spots.form.controls["min_size_px"].widget.setValue(9)
    wait(lambda: mask.data.settings == SpotSettings(threshold=level, min_size_px=9))
    wait(lambda: not session_of(viewer).job("spots").running)
    expected = binarise(shown, SpotSettings(threshold=level, min_size_px=9))
    np.testing.assert_array_equal(mask.data[index] > 0, expected)
    assert expected.any()
    from scipy import ndimage as ndi

    count = ndi.label(expected, np.ones((3, 3)))[1]
    assert (
        panel.spots.count.text() == f"{count} spot{'s' if count != 1 else ''} in projection {index}"
    )
    assert info_of(mask)["recipe"]["binarise"] == {"threshold": level, "min_size_px": 9}


def test_many_moves_of_the_slider_end_at_the_last(panel, run, add_scan, scan, viewer, wait):
    add_scan(scan)
    run("This projection")
    for value in range(100, 140):
        panel.spots.slider.setValue(value)
    wait(lambda: viewer.layers[2].data.settings.threshold == 139)


def test_other_settings_make_another_result(panel, run, add_scan, scan, viewer):
    add_scan(scan)
    run("This projection")
    click(panel.network.form.more)
    click(panel.network.form.controls["use_median"].widget)
    assert "clearly weaker" in panel.network.estimate.text()
    run("This projection")
    names = [layer.name for layer in viewer.layers]
    assert names[-2:] == ["iron [network result] #2", "iron [network mask] #2"]
    recipes = [info_of(layer)["recipe"]["settings"]["use_median"] for layer in viewer.layers[1:]]
    assert recipes == [True, True, False, False]


def test_the_result_worked_on_last_is_the_newest(panel, run, add_scan, scan, viewer):
    """Try one, try another, run the first one whole: that is what is cut, tracked and exported."""
    stack = add_scan(scan)
    run("This projection")
    click(panel.network.form.more)
    click(panel.network.form.controls["use_median"].widget)
    run("This projection")
    click(panel.network.form.controls["use_median"].widget)
    run("Whole stack")
    control = panel.controller
    assert control.cleaned_layer(stack) is viewer.layers[1]
    assert control.mask_layer(stack) is viewer.layers[2]
    assert control.cleaned_layer(stack).data.complete


def test_smaller_output_lies_over_the_scan(panel, run, add_scan, make_frames, viewer):
    scan = Scan(make_frames(1, 48, 1600), name="wide")
    layer = add_scan(scan)
    panel.network.output.setCurrentIndex(1)
    run("This projection")
    cleaned = viewer.layers[1]
    assert cleaned.data.shape == (1, 36, 1200)
    np.testing.assert_allclose(cleaned.extent.world[:, 1:], layer.extent.world[:, 1:], atol=0.5)
    np.testing.assert_allclose(cleaned.scale, (1, 48 / 36, 1600 / 1200))


def test_cancel_keeps_what_is_done_and_resume_goes_on(
    panel, add_scan, scan, viewer, monkeypatch, wait
):
    add_scan(scan)
    gate, real, made = threading.Semaphore(0), Denoiser.frame, []

    def clean(self, index):
        assert gate.acquire(timeout=30)
        made.append(index)
        return real(self, index)

    monkeypatch.setattr(Denoiser, "frame", clean)
    panel.network.scope.setCurrentText("Whole stack")
    click(panel.bar.button)
    for _ in range(3):
        gate.release()
    job = panel.controller.job
    wait(lambda: job.progress.done == 3)
    click(panel.bar.button)
    gate.release()
    wait(lambda: job.state == "stopped")
    assert made == [0, 1, 2, 3]
    assert panel.bar.label.text() == "Stopped at 4 of 9."
    assert [bool(d) for d in viewer.layers[1].data.done] == [True] * 4 + [False] * 5
    for _ in range(9):
        gate.release()
    click(panel.bar.resume_button)
    wait(lambda: job.state == "done")
    assert made == list(range(9))
    assert len(viewer.layers) == 3


def test_a_result_is_found_again_after_a_restart(panel, run, add_scan, scan, viewer, monkeypatch):
    add_scan(scan)
    run("Whole stack")
    path = viewer.layers[1].data.path
    assert path.parent == preferences.cache_folder()
    viewer.layers.clear()
    monkeypatch.setattr(Denoiser, "frame", lambda *_: pytest.fail("was made again"))
    add_scan(scan)
    run("Whole stack")
    assert viewer.layers[1].data.path == path
    assert viewer.layers[1].data[5].any()


def test_discard_deletes_the_result_and_its_layers_only(
    panel, run, add_scan, scan, viewer, monkeypatch
):
    add_scan(scan)
    mine = viewer.add_labels(np.zeros((9, 48, 64), np.uint8), name="mine")
    real = Denoiser.frame

    def clean(self, index):
        if index == 2:
            raise OutputError("Cannot write (No space left on device); free some space.")
        return real(self, index)

    monkeypatch.setattr(Denoiser, "frame", clean)
    run("Whole stack", "failed")
    assert panel.bar.label.text().startswith("Cannot write (No space left")
    assert panel.bar.button.isEnabled()
    store = viewer.layers["iron [network result]"].data
    click(panel.bar.discard_button)
    assert [layer.name for layer in viewer.layers] == ["iron", "mine"]
    assert mine in viewer.layers
    assert not store.location.exists()
    assert panel.controller.job.state == "idle"
    monkeypatch.setattr(Denoiser, "frame", real)
    run("Whole stack")


def test_the_stack_removed_while_it_is_denoised(panel, add_scan, scan, viewer, monkeypatch, wait):
    layer = add_scan(scan)
    gate, real = threading.Semaphore(0), Denoiser.frame

    def clean(self, index):
        assert gate.acquire(timeout=30)
        return real(self, index)

    monkeypatch.setattr(Denoiser, "frame", clean)
    panel.network.scope.setCurrentText("Whole stack")
    click(panel.bar.button)
    job = panel.controller.job
    wait(lambda: job.progress.total == 9)
    viewer.layers.remove(layer)
    assert job.state == "cancelling"
    for _ in range(9):
        gate.release()
    wait(lambda: not job.running)
    assert "was removed" in panel.status.text()
    assert not panel.bar.resume_button.isVisibleTo(panel)


def test_results_removed_while_they_are_made(panel, run, add_scan, scan, viewer, monkeypatch, wait):
    add_scan(scan)
    gate, real = threading.Semaphore(0), Denoiser.frame

    def clean(self, index):
        assert gate.acquire(timeout=30)
        return real(self, index)

    monkeypatch.setattr(Denoiser, "frame", clean)
    panel.network.scope.setCurrentText("Whole stack")
    click(panel.bar.button)
    wait(lambda: len(viewer.layers) == 3)
    while len(viewer.layers) > 1:
        viewer.layers.pop()
    for _ in range(9):
        gate.release()
    wait(lambda: panel.controller.job.state == "done")


def test_the_viewer_closed_while_it_is_denoised(
    make_napari_viewer, model_path, scan, monkeypatch, wait
):
    preferences.save_last("denoise_dock", {"model": str(model_path), "scope": "Whole stack"})
    viewer = make_napari_viewer(show=True)
    panel = viewer.window.add_plugin_dock_widget("napari-labdct", "Denoise")[1]
    viewer.add_image(scan.frames, name="iron", contrast_limits=(0, 900))
    session, job = panel.session, panel.controller.job
    wait(lambda: "threshold" in panel.network.card.text())
    wait(lambda: not session.job("model").running)
    gate, real, made = threading.Semaphore(0), Denoiser.frame, []

    def clean(self, index):
        assert gate.acquire(timeout=30)
        made.append(index)
        return real(self, index)

    monkeypatch.setattr(Denoiser, "frame", clean)
    click(panel.bar.button)
    wait(lambda: job.progress.total == 9)
    viewer.close()
    wait(lambda: session.closed)
    for _ in range(9):
        gate.release()
    from qtpy.QtCore import QThreadPool

    assert QThreadPool.globalInstance().waitForDone(30_000)
    assert len(made) <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_frames_are_named_and_stop_nothing(panel, run, add_scan, make_frames, bad):
    frames = make_frames(7).astype(np.float32)
    frames[4, 4, 4] = bad
    frames[:, 20:22] = 2**32 - 1
    add_scan(Scan(frames, name="iron"))
    run("Whole stack")
    text = panel.bar.label.text()
    assert "Projection 4: values that are no counts are left out" in text
    assert "Detector mask: 4.2 % of the pixels left out" in text


def test_a_single_frame_says_that_it_is_weaker(panel, run, add_scan, make_frames, viewer):
    add_scan(Scan(make_frames(1), name="one"))
    assert "weaker" in panel.network.estimate.text()
    run("Whole stack")
    assert "weaker" in panel.bar.label.text()
    assert viewer.layers[1].data.shape == (1, 48, 64)


def test_a_plain_image_can_be_denoised(panel, run, viewer, make_frames):
    layer = viewer.add_image(make_frames(1)[0], name="flat", scale=(2, 3))
    run("This projection")
    cleaned = session_of(viewer).results(layer, "cleaned")[0]
    np.testing.assert_allclose(cleaned.scale, (1, 2, 3))


def test_an_rgb_image_gets_a_sentence_and_no_run(panel, viewer):
    viewer.add_image(np.zeros((20, 30, 3), np.uint8), rgb=True, name="photo")
    assert "colour (RGB)" in panel.status.text()
    assert not panel.bar.button.isEnabled()
    assert not panel.content.isEnabled()


def test_a_bad_model_file_gets_a_sentence(panel, add_scan, scan, tmp_path, wait, monkeypatch):
    add_scan(scan)
    bad = tmp_path / "letter.safetensors"
    bad.write_text("Dear colleague")
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *a, **k: (str(bad), "")
    )
    panel.network.model.setCurrentIndex(panel.network.model.count() - 1)
    panel.network.model.activated.emit(panel.network.model.count() - 1)
    wait(lambda: session_of(panel.session.viewer).job("model").state == "failed")
    assert "letter.safetensors" in panel.network.card.text()
    assert not panel.bar.button.isEnabled()
    assert panel.network.model.currentText() == "letter.safetensors"


def test_a_folder_that_cannot_be_written(panel, run, add_scan, scan, home):
    (home / "cache").write_text("in the way")
    add_scan(scan)
    run("This projection", "failed")
    assert "Cannot write" in panel.bar.label.text()
    assert "Preferences" in panel.bar.label.text()


def test_export_is_what_grain_software_reads(
    panel, run, add_scan, frames, viewer, tmp_path, wait, monkeypatch
):
    scan = Scan(frames, omega_deg=angles(0, 5, len(frames)), name="iron", orientation=4)
    add_scan(scan)
    run("Whole stack")
    cleaned = viewer.layers[1].data
    level = middle_threshold(cleaned[0])
    panel.spots.slider.setValue(level)
    wait(lambda: viewer.layers[2].data.settings.threshold == level)
    out = tmp_path / "out" / "spots"
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *a, **k: (str(out), "")
    )
    click(panel.spots.export_button)
    job = panel.controller.files.job
    wait(lambda: job.state == "done")
    with tifffile.TiffFile(out.with_name("spots.tif")) as tif:
        assert len(tif.pages) == len(frames)
        assert tif.pages[0].tags[274].value == 4
        written = tif.asarray()
    assert written.dtype == np.uint8
    assert set(np.unique(written)) == {0, 255}
    for index in range(len(frames)):
        expected = binarise(cleaned[index], SpotSettings(threshold=level))
        np.testing.assert_array_equal(written[index] == 255, expected)
    recipe = json.loads(out.with_name("spots.tif.json").read_text())["recipe"]
    assert recipe["binarise"]["threshold"] == level
    again = open_segmentation(out.with_name("spots.tif"))  # masks: not cut a second time
    np.testing.assert_array_equal(again.mask(0, scan.shape), written[0] > 0)
    assert again.recipe["cleaned_by"] == "denoise"
    assert "Wrote" in panel.export_bar.label.text()
    click(panel.spots.save_button)
    wait(lambda: job.state == "done" and job.title.startswith("Write"))
    wait(lambda: (tifffile.imread(out.with_name("spots.tif")) == np.asarray(cleaned[:])).all())


def test_gaps_are_asked_about_before_export(panel, run, add_scan, scan, tmp_path, monkeypatch):
    add_scan(scan)
    run("This projection")
    asked = []

    def question(parent, title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", question)
    click(panel.spots.export_button)
    assert asked[0].startswith("Only 1 of 9 projections are denoised")
    assert panel.controller.files.job.state == "idle"


def test_export_into_a_folder_that_cannot_be_written(
    panel, run, add_scan, scan, tmp_path, wait, viewer
):
    layer = add_scan(scan)
    run("Whole stack")
    (tmp_path / "file").write_text("in the way")
    panel.controller.files.write_mask(layer, tmp_path / "file" / "spots.tif")
    wait(lambda: panel.controller.files.job.state == "failed")
    assert "Cannot write" in panel.export_bar.label.text()


def test_the_dock_comes_back_as_it_was_left(panel, dock, viewer, model_path, wait):
    panel.network.output.setCurrentIndex(1)
    panel.network.scope.setCurrentText("Whole stack")
    viewer.window.remove_dock_widget(panel)
    again = dock("Denoise")
    assert again.network.output.currentData() == 1200
    assert again.network.scope.currentText() == "Whole stack"
    assert again.network.model.currentData() == str(model_path)
    wait(lambda: "threshold 120" in again.network.card.text())


def test_slots_compute_nothing(panel, run, add_scan, frames, viewer, monkeypatch, wait):
    """Every numeric step of a run, and of moving the threshold, is in a worker."""
    wrong, main = [], threading.main_thread()

    class Watched(LazyStack):
        def read(self, index):
            return frames[index]

    add_scan(Scan(Watched(frames.shape, frames.dtype), name="iron"))

    def watch(where: str) -> None:
        module, _, name = where.rpartition(".")
        import importlib

        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError:
            package, _, cls = module.rpartition(".")
            owner = getattr(importlib.import_module(package), cls)
        real = getattr(owner, name)

        def watched(*args, **kwargs):
            if threading.current_thread() is main:
                wrong.append(where)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for where in (
        "napari_labdct.spots.binarisation.binarise",
        "napari_labdct.spots.matching.match_spots",
        "napari_labdct.networks.model.Model.see",
        "napari_labdct.io.safetensors.read_file",
        "napari_labdct.background.rolling_median.RollingMedian.at",
        "napari_labdct.networks.denoising.Denoiser.frame",
        "napari_labdct.core.frame_store.FrameStore.write",
        "napari_labdct.core.frame_store.FrameStore.open_or_create",
        "napari_labdct.scan.scan.Scan.identity",
        "napari_labdct.io.tiff.write_frames",
    ):
        watch(where)
    models.__init__()
    run("Whole stack")
    panel.spots.slider.setValue(middle_threshold(viewer.layers[1].data[4]))
    wait(lambda: viewer.layers[2].data.settings.threshold == panel.spots.slider.value())
    assert wrong == []


def test_the_estimate_grows_with_the_window(scan):
    assert memory_bytes(scan, 9) > memory_bytes(scan, 3) > 0
    assert all(memory_bytes(scan, 3, network) > 0 for network in NETWORKS)
    assert memory_bytes(scan, 3, "accurate") > memory_bytes(scan, 3, "compact")
    assert memory_bytes(Scan(np.zeros((1, 48, 64), np.uint16)), 9) == memory_bytes(
        Scan(np.zeros((1, 48, 64), np.uint16)), 3
    )


def test_the_controller_outlives_the_dock(panel, viewer):
    session = session_of(viewer)
    controller = session.controller(DenoiseController)
    viewer.window.remove_dock_widget(panel)
    assert session.controller(DenoiseController) is controller


DISTANCES = {"pixel_um": 40.0, "source_sample_mm": 11.0, "sample_detector_mm": 11.0}


def test_tracks_are_the_librarys_and_a_result_of_their_own(
    panel, run, add_scan, scan, viewer, wait
):
    scan = scan.replace(description=ScanDescription(**DISTANCES))
    layer = add_scan(scan)
    assert not panel.spots.track_button.isEnabled()
    run("This projection")
    assert not panel.spots.track_button.isEnabled()
    assert "whole stack denoised" in panel.spots.track_hint.text()
    run("Whole stack")
    assert panel.spots.track_button.isEnabled()
    assert not panel.spots.track_hint.isVisibleTo(panel)
    panel.spots.threshold.setValue(140)
    click(panel.spots.track_button)
    assert not panel.spots.track_button.isEnabled()  # while it runs
    wait(lambda: not panel.controller.job.running)
    assert panel.controller.job.state == "done", panel.controller.job.error
    names = [layer.name for layer in viewer.layers]
    assert names == ["iron", "iron [network result]", "iron [network mask]",
                     "iron [tracked result]", "iron [tracked mask]"]  # fmt: skip
    cleaned, tracked, mask = viewer.layers[1], viewer.layers[3], viewer.layers[4]
    tracker = Tracker(scan, cleaned.data)
    assert tracker.threshold == 120
    for _ in tracker.survey():
        pass
    for index in range(scan.n_frames):
        np.testing.assert_array_equal(tracked.data[index], tracker.frame(index))
    assert mask.data.settings.threshold == 140
    assert info_of(tracked)["recipe"]["job"] == "track"
    assert tracker.note in panel.bar.label.text()
    assert panel.controller.mask_layer(layer) is mask  # what Compare, Spots and Export take
    click(panel.spots.track_button)  # again: the same result, not one of the tracked
    wait(lambda: not panel.controller.job.running)
    assert len(viewer.layers) == 5


def test_the_dock_says_what_tracks_need(panel, run, add_scan, scan, viewer):
    layer = add_scan(scan.replace(omega_deg=None))
    run("Whole stack")
    assert not panel.spots.track_button.isEnabled()
    text = panel.spots.track_hint.text()
    assert "rotation angles, source distance, detector distance" in text
    assert "Scan dock" in text
    with pytest.raises(LabDCTError, match="rotation angles"):
        panel.controller.track(layer, SpotSettings())
    session = session_of(viewer)
    session.set_scan(layer, session.scan(layer).replace(
        omega_deg=scan.omega_deg, description=ScanDescription(**DISTANCES)))  # fmt: skip
    assert panel.spots.track_button.isEnabled()


def test_discarding_tracks_that_failed_keeps_what_was_denoised(
    panel, run, add_scan, scan, viewer, wait, monkeypatch
):
    add_scan(scan.replace(description=ScanDescription(**DISTANCES)))
    run("Whole stack")
    store = viewer.layers[1].data

    def fail(_tracker):
        raise ScanError("The sample turns the other way.")
        yield

    monkeypatch.setattr(Tracker, "survey", fail)
    click(panel.spots.track_button)
    wait(lambda: panel.controller.job.state == "failed")
    assert "turns the other way" in panel.bar.label.text()
    click(panel.bar.discard_button)
    assert [layer.name for layer in viewer.layers] == [
        "iron",
        "iron [network result]",
        "iron [network mask]",
    ]
    assert store.path.exists()
    assert store.complete


def test_a_corrected_scan_is_not_resumed_with_what_it_said_before(
    panel, run, add_scan, scan, viewer, wait, monkeypatch
):
    layer = add_scan(scan.replace(description=ScanDescription(**DISTANCES)))
    run("Whole stack")
    turned = []

    def survey(tracker):
        turned.append(tracker.scan.step_deg * np.sign(np.diff(tracker.scan.omega_deg)[0]))
        raise ScanError("The sample turns the other way.")
        yield

    monkeypatch.setattr(Tracker, "survey", survey)
    click(panel.spots.track_button)
    wait(lambda: panel.controller.job.state == "failed")
    session = session_of(viewer)
    old = session.scan(layer)
    session.set_scan(layer, old.replace(omega_deg=-old.omega_deg))
    assert not panel.controller.job.resumable
    assert panel.spots.track_button.isEnabled()
    click(panel.spots.track_button)
    wait(lambda: panel.controller.job.state == "failed")
    assert turned == [5, -5]
    assert viewer.layers[1].data.complete


def test_a_frame_without_a_result_shows_the_projection_and_no_count(
    panel, run, add_scan, scan, wait
):
    layer = add_scan(scan)
    first = panel.session.shown_frame()
    run("This projection")
    cleaned = panel.controller.cleaned_layer(layer)
    assert cleaned.data.done[first], (first, cleaned.data.done)
    assert cleaned.visible
    panel.session.show_frame(first + 1)
    assert not cleaned.visible  # black would hide the projection
    wait(lambda: panel.spots.count.text() == f"Projection {first + 1} is not denoised yet")
    panel.controller.spots.recount(layer)
    wait(lambda: not panel.session.job("spots").running)
    assert "not denoised yet" in panel.spots.count.text()
    panel.session.show_frame(first)
    assert cleaned.visible
    wait(lambda: "spot" in panel.spots.count.text())
    cleaned.visible = False
    panel.session.show_frame(first + 1)
    panel.session.show_frame(first)
    assert not cleaned.visible  # hidden by hand


def test_the_buttons_name_the_result_and_removed_layers_come_back(
    panel, run, add_scan, scan, viewer
):
    layer = add_scan(scan)
    assert panel.spots.export_button.text() == "Export mask..."
    run()
    assert panel.spots.export_button.text() == "Export [network mask]..."
    assert panel.spots.save_button.text() == "Save [network result]..."
    assert panel.spots.threshold_label.text() == "Threshold of [network mask]"
    assert not panel.show_button.isVisibleTo(panel)
    for made in panel.session.results(layer):
        viewer.layers.remove(made)
    assert panel.spots.export_button.text() == "Export mask..."
    assert panel.show_button.isVisibleTo(panel)
    click(panel.show_button)
    assert panel.controller.cleaned_layer(layer).data.complete
    assert panel.controller.mask_layer(layer) is not None
    assert not panel.show_button.isVisibleTo(panel)


def test_nothing_of_one_scan_stands_under_another(panel, run, add_scan, scan, wait):
    session = panel.session
    iron = add_scan(scan)
    run("This projection")
    assert "1 projection" in panel.bar.label.text()
    assert "iron" not in panel.bar.label.text()
    counted = panel.spots.count.text()
    assert "spot" in counted
    copper = add_scan(scan.replace(name="copper"))
    session.set_stack(copper)
    assert panel.bar.label.text().startswith("'iron': Done")
    assert "Denoise a projection" in panel.spots.count.text()
    assert not panel.spots.export_button.isEnabled()
    assert panel.compare.isHidden()
    assert panel.show_button.isHidden()
    panel.controller.spots.recount(iron)  # a count that was asked for before
    job = session.job("spots")
    assert job.running
    wait(lambda: not job.running)
    assert "Denoise a projection" in panel.spots.count.text()
    session.set_stack(iron)
    assert panel.bar.label.text().startswith("Done")
    for made in session.results(iron):
        session.viewer.layers.remove(made)
    assert not panel.show_button.isHidden()
    session.set_stack(copper)
    assert panel.show_button.isHidden()
