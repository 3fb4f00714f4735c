"""The Simulate dock: the library's pixels, never in a slot, and sentences instead of faults."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from clicking import click
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_labdct.gui.app.layers import kind_of
from napari_labdct.gui.simulate import preview as simulate_preview
from napari_labdct.gui.simulate import tasks as simulate_run
from napari_labdct.gui.simulate.form import SimulateForm
from napari_labdct.io import open_scan
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.simulation import (
    Prediction,
    PredictSettings,
    SimulateSettings,
    Simulation,
    simulate_scan,
)

pytestmark = pytest.mark.gui

TINY = SimulateSettings(
    diameter_um=80,
    height_um=80,
    mean_grain_um=40,
    rows=96,
    cols=112,
    pixel_um=60,
    frames=5,
    start_deg=10,
    step_deg=25,
    noise=True,
    background=50,
    beam_stop_width_mm=2,
    beam_stop_height_mm=2,
)


@pytest.fixture
def simulate(dock):
    """The dock with the tiny settings."""
    made = dock("Simulate")
    made.form.set_settings(TINY)
    return made


@pytest.fixture
def preview(simulate, wait):
    """Preview and wait for it."""

    def run():
        click(simulate.preview_button)
        wait(lambda: not simulate.controller.preview_job.running)
        job = simulate.controller.preview_job
        assert not job.details
        return job.state

    return run


@pytest.fixture
def generate(simulate, wait, tmp_path):
    """Generate into a folder and wait for the end."""

    def run(folder=tmp_path / "virtual"):
        simulate.set_folder(folder)
        click(simulate.run_bar.button)
        job = simulate.controller.job
        wait(lambda: not job.running)
        assert not job.details
        return job.state

    return run


def _layer(viewer, name):
    return next(layer for layer in viewer.layers if layer.name == name)


def test_the_form_says_what_its_folded_groups_hold_and_loses_no_digit(qtbot):
    form = SimulateForm()
    qtbot.addWidget(form)
    settings = TINY.replace(pixel_um=3.3623, source_sample_mm=13.0349, gain=0.0625)
    form.set_settings(settings)
    assert form.settings() == settings
    said = {title: section.summary.text() for title, section in form.sections.items()}
    assert said["Geometry"] == "13.0349 / 11 mm, 96 x 112 px of 3.362 um"
    assert said["Projections"] == "5 from 10 by 25 deg, with noise"
    assert said["Material and beam"] == "Al, 140 kV, laue"


def test_a_preset_brings_its_intensities_and_takes_them_away(qtbot):
    form = SimulateForm()
    qtbot.addWidget(form)
    form.controls["sample"].widget.setCurrentText("D35")
    assert form.settings() == SimulateSettings.preset("D35")
    layout, row = form._rows["diameter_um"]
    assert not layout.isRowVisible(row)
    form.controls["sample"].widget.setCurrentText("cylinder")
    assert form.settings() == SimulateSettings()
    assert layout.isRowVisible(row)


def test_values_come_back_in_the_next_session(qtbot):
    first, second = SimulateForm(), SimulateForm()
    qtbot.addWidget(first)
    first.set_settings(TINY)
    qtbot.addWidget(second)
    third = SimulateForm()
    qtbot.addWidget(third)
    assert third.settings() == TINY


def test_preview_shows_the_pixels_of_the_library_without_computing_in_a_slot(
    simulate, preview, viewer, monkeypatch
):
    threads = []
    project = Simulation.project

    def spy(self, *args):
        threads.append(QThread.currentThread() is QApplication.instance().thread())
        return project(self, *args)

    monkeypatch.setattr(Simulation, "project", spy)
    simulate.index.setValue(3)
    assert preview() == "done"
    assert threads == [False]
    image, truth, spots = viewer.layers
    library = Simulation(TINY)
    expected = project(library, TINY.omega_deg[3], 3)
    np.testing.assert_array_equal(image.data, library.grey(expected, 3))
    np.testing.assert_array_equal(truth.data, expected.labels > 0)
    visible = expected.spots[expected.spots["area_px"] > 0]
    np.testing.assert_allclose(spots.data, np.column_stack([visible["row"], visible["col"]]))
    np.testing.assert_array_equal(spots.features["grain"], visible["grain"])
    assert tuple(image.scale) == (60, 60)
    assert f"{len(visible)} spots" in simulate.note.text()
    # a preview is not a scan that other docks could take
    assert simulate.session.stacks() == []


def test_a_preview_makes_the_sample_anew_only_if_it_must(monkeypatch):
    last = simulate_preview._LastSimulation()
    made = []
    sample = Simulation._sample
    monkeypatch.setattr(Simulation, "_sample", lambda self: made.append(1) or sample(self))
    first = last.preview(TINY, 0)
    louder = last.preview(TINY.replace(gain=2.0, tube_kv=100.0), 0)
    assert len(made) == 1
    assert louder.grains is first.grains
    library = Simulation(TINY.replace(gain=2.0, tube_kv=100.0))
    np.testing.assert_array_equal(louder.image, library.grey(library.project(TINY.omega_deg[0])))
    assert len(made) == 2
    last.preview(TINY.replace(seed=2), 0)
    assert len(made) == 3


def test_a_change_previews_again_once_it_has_rested(simulate, preview, viewer, wait):
    preview()
    before = viewer.layers[0].data
    for value in (5, 8, 11):
        simulate.form.controls["background"].widget.setValue(100 * value)
    assert not simulate.controller.preview_job.running
    wait(lambda: viewer.layers[0].data is not before)
    wait(lambda: not simulate.controller.preview_job.running)
    assert len(viewer.layers) == 3
    assert np.median(viewer.layers[0].data) == pytest.approx(1100, rel=0.05)


def test_generate_writes_what_the_library_writes(simulate, generate, viewer, tmp_path):
    assert generate() == "done"
    list(simulate_scan(TINY, tmp_path / "library"))
    ours, library = (open_scan(tmp_path / name) for name in ("virtual", "library"))
    np.testing.assert_array_equal(ours.frames[:], library.frames[:])
    assert ours.description == library.description
    for name in ("truth.tif", "labels.tif", "spots.csv", "grains.h5", "scan.yaml"):
        assert (tmp_path / "virtual" / name).exists()
    stack = _layer(viewer, "virtual")
    np.testing.assert_array_equal(np.asarray(stack.data[2]), library.frames[2])
    truth = _layer(viewer, "virtual [truth]")
    assert kind_of(truth) == "truth"
    assert set(np.unique(truth.data[0])) == {0, 255}
    scan = simulate.session.scan(stack)
    assert simulate.session.stack is stack
    np.testing.assert_allclose(scan.omega_deg, TINY.omega_deg)
    assert scan.missing_for("predicted spots") == []
    assert stack.contrast_limits[0] == 50
    assert stack.contrast_limits[1] > 60


def test_a_new_scan_leaves_the_user_with_the_layer_and_the_scan_at_hand(
    simulate, preview, generate, viewer, add_scan, scan
):
    iron = add_scan(scan)
    mine = viewer.add_labels(np.zeros(iron.data.shape, np.uint8), name="mine")
    mine.mode = "paint"
    assert preview() == "done"
    assert viewer.layers.selection.active is mine
    assert simulate.use_button.isHidden()
    assert generate() == "done"
    assert viewer.layers.selection.active is mine
    assert mine.mode == "paint"
    assert simulate.session.stack is iron
    made = _layer(viewer, "virtual")
    assert simulate.use_button.text() == "Work on 'virtual'"
    click(simulate.use_button)
    assert simulate.session.stack is made
    assert viewer.layers.selection.active is made
    assert simulate.use_button.isHidden()


def test_a_scan_removed_by_hand_while_it_is_made_is_offered_again(
    simulate, viewer, wait, tmp_path, monkeypatch
):
    project, go = Simulation.project, []

    def slow(self, omega, frame=0):
        while frame > 1 and not go:
            QThread.msleep(5)
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", slow)
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: simulate.controller.job.progress.done == 2)
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    go.append(1)
    wait(lambda: simulate.controller.job.state == "done")
    assert len(viewer.layers) == 0
    assert simulate.use_button.text() == "Show 'virtual' again"
    click(simulate.use_button)
    assert [x.name for x in viewer.layers] == ["virtual", "virtual [truth]", "virtual [spots]"]
    assert np.asarray(_layer(viewer, "virtual").data[4]).any()
    assert simulate.use_button.isHidden()


def test_gigabytes_are_asked_for_even_after_a_small_scan_was_stopped(
    simulate, wait, tmp_path, monkeypatch
):
    asked = []

    def refuse(_parent, _title, text):
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", refuse)
    project = Simulation.project

    def stop(self, omega, frame=0):
        simulate.controller.job._worker.quit()
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", stop)
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: simulate.controller.job.state == "stopped")
    assert not asked
    simulate.form.set_settings(TINY.replace(rows=2000, cols=2000, frames=181, step_deg=2))
    click(simulate.run_bar.button)
    assert "181 projections takes 3.6 GB" in asked[0]
    assert simulate.controller.job.state == "stopped"


def test_copy_puts_the_command_on_the_clipboard(simulate, tmp_path, monkeypatch):
    simulate.set_folder(tmp_path / "virtual")
    simulate._copy_command()
    said = QApplication.clipboard().text()
    assert said.startswith(f"labdct simulate -o {tmp_path / 'virtual'} --diameter-um=80.0")
    assert "--noise" in said


def test_denoising_works_on_it_at_once(simulate, generate, model_path):
    from napari_labdct.networks.denoising import Denoiser, DenoiseSettings

    assert generate() == "done"
    settings = DenoiseSettings(model=str(model_path), device="cpu")
    cleaned = Denoiser(simulate.session.scan(), settings).frame(2)
    assert (cleaned.shape, cleaned.dtype) == ((96, 112), np.uint8)


def test_a_frame_that_is_not_made_yet_is_black_and_the_rest_can_be_looked_at(
    simulate, viewer, wait, tmp_path, monkeypatch
):
    project, go = Simulation.project, []

    def slow(self, omega, frame=0):
        while frame > 1 and not go:
            QThread.msleep(5)
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", slow)
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: simulate.controller.job.progress.done == 2)
    stack, truth = viewer.layers
    assert np.asarray(stack.data[1]).any()
    assert np.asarray(truth.data[1]).any()
    assert not np.asarray(stack.data[4]).any()
    for frame in (1, 4):
        simulate.session.show_frame(frame)
    assert simulate.run_bar.button.text() == "Cancel"
    go.append(1)
    wait(lambda: simulate.controller.job.state == "done")


def test_spots_follow_the_slider(simulate, generate, viewer):
    generate()
    stack, spots = _layer(viewer, "virtual"), _layer(viewer, "virtual [spots]")
    np.testing.assert_allclose(spots.scale, stack.scale)
    library = Simulation(TINY)
    for frame in (0, 4, 2):
        simulate.session.show_frame(frame)
        table = library.project(TINY.omega_deg[frame], frame).spots
        table = table[table["area_px"] > 0]
        assert len(spots.data) == len(table) > 0
        assert set(spots.data[:, 0]) == {frame}
        np.testing.assert_allclose(spots.data[:, 1], table["row"], atol=1e-3)
        np.testing.assert_allclose(spots.features["energy_kev"], table["energy_kev"], rtol=1e-4)
        hkl = " ".join(str(table[0][i]) for i in "hkl")
        assert spots.features["hkl"].iloc[0] == hkl
        assert spots.features["grain"].iloc[0] == table["grain"][0]


def test_cancel_keeps_what_is_done_and_resume_goes_on(
    simulate, viewer, wait, tmp_path, monkeypatch
):
    frames = []
    project = Simulation.project

    def slow(self, omega, frame=0):
        frames.append(frame)
        if len(frames) == 4:  # the frame that sets the contrast, then 0, 1, 2
            simulate.controller.job._worker.quit()
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", slow)
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: not simulate.controller.job.running)
    assert simulate.controller.job.state == "stopped"
    assert "Stopped at 3 of 5" in simulate.run_bar.label.text()
    stack = _layer(viewer, "virtual")
    assert np.asarray(stack.data[2]).any()
    assert not np.asarray(stack.data[3]).any()
    click(simulate.run_bar.resume_button)
    wait(lambda: not simulate.controller.job.running)
    assert simulate.controller.job.state == "done"
    assert frames[5:] == [3, 4]
    assert [x.name for x in viewer.layers] == ["virtual", "virtual [truth]", "virtual [spots]"]
    np.testing.assert_array_equal(
        np.asarray(stack.data[4]), open_scan(tmp_path / "virtual").frame(4)
    )


def test_discard_takes_layers_and_files_away(simulate, viewer, wait, tmp_path, monkeypatch):
    project, calls = Simulation.project, []

    def stop(self, omega, frame=0):
        calls.append(frame)
        if len(calls) == 3:
            simulate.controller.job._worker.quit()
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", stop)
    viewer.add_image(np.zeros((4, 5)), name="mine")
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: simulate.controller.job.state == "stopped")
    click(simulate.run_bar.discard_button)
    assert [layer.name for layer in viewer.layers] == ["mine"]
    assert not (tmp_path / "virtual").exists()


def test_a_scan_made_in_one_session_is_found_whole_in_the_next(
    simulate, generate, viewer, tmp_path
):
    generate()
    viewer.layers.clear()
    simulate.controller.run = None
    assert generate() == "done"
    assert np.asarray(_layer(viewer, "virtual").data[4]).any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"material": "Xx"}, "'Xx' is not known"),
        ({"tilt_z_deg": 80.0, "tilt_y_deg": 80.0}, "tilted so far"),
        ({"diameter_um": 5.0, "height_um": 5.0}, "smaller than one grain"),
        ({"tube_kv": 30.0, "energy_min_kev": 60.0}, "is empty"),
        ({"sample_detector_mm": 4000.0, "energy_min_kev": 100.0}, "Nothing reaches the detector"),
        ({"beam_stop_width_mm": 50.0, "beam_stop_height_mm": 50.0}, "beam stop covers all"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(
    simulate, preview, generate, tmp_path, changes, words
):
    simulate.form.set_settings(TINY.replace(**changes))
    assert preview() == "failed"
    assert words in simulate.note.text()
    assert generate() == "failed"
    assert words in simulate.run_bar.label.text()
    assert "unforeseen" not in simulate.note.text()
    assert not (tmp_path / "virtual").exists()


def test_a_cif_without_a_cell_is_refused(simulate, preview, tmp_path):
    cif = tmp_path / "bare.cif"
    cif.write_text("data_bare\n_symmetry_space_group_name_H-M 'F m -3 m'\n")
    simulate.form.set_settings(TINY.replace(material=str(cif)))
    assert preview() == "failed"
    assert "has no unit cell" in simulate.note.text()


def test_a_grain_map_that_is_not_chosen_disables_run(simulate):
    simulate.form.controls["sample"].widget.setCurrentText("grain map")
    assert "needs the path of a grain map" in simulate.note.text()
    assert not simulate.run_bar.button.isEnabled()
    assert not simulate.preview_button.isEnabled()


def test_a_grain_map_brings_its_own_geometry(simulate, generate, preview, wait, tmp_path):
    simulate.form.set_settings(TINY.replace(source_sample_mm=13.25, tube_kv=120.0))
    generate()
    simulate.form.set_settings(TINY.replace(rows=80))
    simulate.form.controls["sample"].widget.setCurrentText("grain map")
    line = simulate.form.controls["grain_map"].widget
    line.setText(str(tmp_path / "virtual" / "grains.h5"))
    line.editingFinished.emit()
    wait(lambda: not simulate.controller.map_job.running)
    now = simulate.form.settings()
    assert (now.source_sample_mm, now.tube_kv, now.frames) == (13.25, 120.0, 5)
    assert (now.rows, now.material, now.sample) == (80, "Al", "grain map")
    assert preview() == "done"
    line.setText(str(tmp_path / "nowhere.h5"))
    line.editingFinished.emit()
    wait(lambda: not simulate.controller.map_job.running)
    assert "not a GrainMapper3D grain map" in simulate.note.text()


def test_predicted_spots_lie_on_the_simulated_ones(simulate, generate, viewer, wait, tmp_path):
    generate()
    assert simulate.predict.map_line.text() == str(tmp_path / "virtual" / "grains.h5")
    click(simulate.predict.title)
    click(simulate.predict.predict_button)
    wait(lambda: not simulate.controller.predict_job.running)
    layer = _layer(viewer, "virtual [predicted spots]")
    settings = PredictSettings(grain_map=str(tmp_path / "virtual" / "grains.h5"))
    prediction = Prediction(open_scan(tmp_path / "virtual"), settings)
    simulated = _layer(viewer, "virtual [spots]")
    for frame in (1, 3):
        simulate.session.show_frame(frame)
        table = prediction.frame(frame)
        np.testing.assert_allclose(layer.data[:, 1:], np.column_stack([table["row"], table["col"]]))
        np.testing.assert_array_equal(layer.features["energy_kev"], table["energy_kev"])
        assert {"grain", "hkl", "energy_kev", "two_theta_deg"} <= set(layer.features.columns)
        gap = np.linalg.norm(simulated.data[:, None, 1:] - layer.data[None, :, 1:], axis=2)
        # spots cut by the beam stop or the detector's edge have another centre, or none
        assert np.median(gap.min(axis=1)) < 0.05
        assert np.mean(gap.min(axis=1) < 1.0) > 0.8
    # once more replaces our own layer instead of piling up
    count = len(viewer.layers)
    click(simulate.predict.predict_button)
    wait(lambda: not simulate.controller.predict_job.running)
    assert len(viewer.layers) == count


def test_an_incomplete_scan_says_what_is_missing_and_where_to_enter_it(simulate, add_scan, scan):
    add_scan(scan)
    simulate.predict.map_line.setText("grains.h5")
    said = simulate.predict.note.text()
    assert "source-sample distance, sample-detector distance, tube voltage" in said
    assert not simulate.predict.scan_button.isHidden()
    assert not simulate.predict.predict_button.isEnabled()
    whole = ScanDescription(
        pixel_um=60, source_sample_mm=11, sample_detector_mm=11, tube_kv=140, material="Al"
    )
    simulate.session.set_scan(simulate.session.stack, scan.replace(description=whole))
    assert simulate.predict.scan_button.isHidden()
    assert simulate.predict.predict_button.isEnabled()


def test_the_map_beside_a_scan_is_offered_and_a_typed_one_stays(
    simulate, generate, add_scan, scan, tmp_path
):
    generate()
    virtual = simulate.session.stack
    beside = str(tmp_path / "virtual" / "grains.h5")
    assert simulate.predict.map_line.text() == beside
    other = add_scan(scan)
    simulate.session.set_stack(other)
    assert simulate.predict.map_line.text() == ""
    simulate.session.set_stack(virtual)
    assert simulate.predict.map_line.text() == beside
    simulate.predict.map_line.setText("mine.h5")
    simulate.session.set_stack(other)
    simulate.session.set_stack(virtual)
    assert simulate.predict.map_line.text() == "mine.h5"


def test_an_unreadable_map_is_one_sentence(simulate, add_scan, frames, wait):
    whole = ScanDescription(pixel_um=60, source_sample_mm=11, sample_detector_mm=11, tube_kv=140)
    add_scan(Scan(frames, angles(0, 5, len(frames)), whole, "iron"))
    simulate.predict.map_line.setText("nowhere.h5")
    click(simulate.predict.title)
    click(simulate.predict.predict_button)
    wait(lambda: not simulate.controller.predict_job.running)
    assert "nowhere.h5 is not a GrainMapper3D grain map" in simulate.predict.note.text()


def test_grains_in_3d_have_their_size_and_colours(make_napari_viewer, wait):
    viewer = make_napari_viewer(show=True)
    _, made = viewer.window.add_plugin_dock_widget("napari-labdct", "Simulate")
    made.form.set_settings(TINY)
    made.grains_section.title.setChecked(True)
    view = made.grains
    wait(made.preview_button.isVisible)
    click(made.preview_button)
    wait(lambda: view.layer is not None)
    sample = Simulation(TINY).grains
    low, high = np.asarray(view.layer.extent.world)
    np.testing.assert_allclose(high - low, 80, rtol=0.1)
    assert f"{sample.n_grains} grains" in view.caption.text()
    assert len(view.layer.vertex_colors) == len(view.layer.vertices)
    whole = len(view.layer.vertices)
    view.cut.setChecked(True)
    assert len(view.layer.vertices) != whole
    assert len(viewer.layers) == 3
    # folding gives the canvas back, and so does the end of the window
    canvas = weakref.ref(view._canvas)
    made.grains_section.title.setChecked(False)
    assert view.layer is None
    made.grains_section.title.setChecked(True)
    assert view.layer is not None
    wait(lambda: gc.collect() >= 0 and canvas() is None)


def test_the_dock_goes_with_its_window_and_leaves_no_canvas(make_napari_viewer, wait):
    viewer = make_napari_viewer(show=True)
    _, made = viewer.window.add_plugin_dock_widget("napari-labdct", "Simulate")
    made.form.set_settings(TINY)
    made.grains_section.title.setChecked(True)
    wait(made.preview_button.isVisible)
    click(made.preview_button)
    wait(lambda view=made.grains: view.layer is not None)
    canvas = weakref.ref(made.grains._canvas)
    viewer.window.remove_dock_widget(made)
    made.deleteLater()
    wait(lambda: gc.collect() >= 0 and canvas() is None)


def test_the_outside_of_voxels_is_closed():
    from napari_labdct.gui.widgets.grains_view import outside

    labels = np.zeros((3, 4, 5), np.int32)
    labels[1, 1:3, 1:3] = 7
    labels[1, 1, 3] = 2
    vertices, faces, owner = outside(labels)
    assert len(faces) == 2 * (5 * 6 - 2 * 5)  # five pairs of faces touch
    assert vertices.min(axis=0) == pytest.approx([0.5, 0.5, 0.5])
    assert vertices.max(axis=0) == pytest.approx([1.5, 2.5, 3.5])
    assert set(owner) == {2, 7}


def test_a_reopened_dock_finds_the_run(simulate, viewer, wait, tmp_path, monkeypatch):
    project = Simulation.project
    go = []

    def slow(self, omega, frame=0):
        while not go:
            QThread.msleep(5)
        return project(self, omega, frame)

    monkeypatch.setattr(Simulation, "project", slow)
    simulate.set_folder(tmp_path / "virtual")
    click(simulate.run_bar.button)
    wait(lambda: len(viewer.layers) == 2)
    viewer.window.remove_dock_widget(simulate)
    simulate.deleteLater()
    _, again = viewer.window.add_plugin_dock_widget("napari-labdct", "Simulate")
    assert again.run_bar.button.text() == "Cancel"
    go.append(1)
    wait(lambda: again.controller.job.state == "done")
    assert [x.name for x in viewer.layers] == ["virtual", "virtual [truth]", "virtual [spots]"]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_fits_a_small_screen_in_both_themes(viewer, dock, theme):
    viewer.theme = theme
    made = dock("Simulate")
    for section in made.form.sections.values():
        section.title.setChecked(True)
    assert made.minimumSizeHint().height() < 560
    assert made.minimumSizeHint().width() < 420
    for control in made.form.controls.values():
        assert control.widget.accessibleName()
        assert control.widget.toolTip()


def test_disk_need_is_the_size_of_the_files(generate, simulate, tmp_path):
    generate()
    files = [tmp_path / "virtual" / n for n in ("frames.tif", "truth.tif", "labels.tif")]
    on_disk = sum(path.stat().st_size for path in files)
    assert simulate_run.disk_bytes(TINY) == pytest.approx(on_disk, rel=0.1)


def test_limits_are_those_of_the_spots():
    projection = Simulation(TINY).project(10.0)
    low, high = simulate_preview.spot_limits(TINY, projection)
    peaks = projection.spots["peak"][projection.spots["area_px"] > 0]
    assert low == 50
    assert high == pytest.approx(50 + np.percentile(peaks, 75))


def test_the_written_grain_map_is_the_sample(generate, tmp_path):
    generate()
    written = read_grainmapper(tmp_path / "virtual" / "grains.h5").grains
    sample = Simulation(TINY).grains
    np.testing.assert_array_equal(written.labels, sample.labels)
