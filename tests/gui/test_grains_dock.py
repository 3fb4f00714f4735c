"""The Grains dock through buttons that a user can see: map, look, click, correct, compare."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from clicking import choose, click
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_labdct.gui.app.docks import open_dock
from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.grains import volume
from napari_labdct.gui.grains.tasks import Growth
from napari_labdct.scan.scan import Scan

pytestmark = pytest.mark.gui


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """A scan of a few iron grains, its masks and its truth."""
    from napari_labdct.simulation import SimulateSettings, Simulation

    settings = SimulateSettings(
        material="Fe", diameter_um=60, height_um=60, mean_grain_um=34, source_sample_mm=11,
        sample_detector_mm=18, binning=8, frames=40, start_deg=-180, step_deg=9, voxel_um=6,
        truth_min_grey=20, seed=3,
    )  # fmt: skip
    simulation = Simulation(settings, threads=1)
    masks = np.stack(
        [simulation.project(w, i).labels > 0 for i, w in enumerate(settings.omega_deg)]
    ).astype(np.uint8)
    frames = (300 + 400 * masks.astype(np.uint16)).astype(np.uint16)
    scan = Scan(frames, settings.omega_deg, simulation.description(), "iron")
    return SimpleNamespace(scan=scan, masks=masks, truth=simulation.grains)


@pytest.fixture(scope="session")
def map_file(tiny, tmp_path_factory):
    """The map of the tiny scan."""
    from napari_labdct.grains import GrainMapping, GrainSettings, write_result

    settings = GrainSettings(
        sample="cylinder", diameter_um=60, height_um=60, voxel_um=6, threads=1, effort="quick"
    )
    job = GrainMapping(tiny.scan, tiny.masks, settings)
    for _ in job.run():
        pass
    path = tmp_path_factory.mktemp("map") / "tiny.h5"
    write_result(path, job.result)
    return path


@pytest.fixture
def grains(shown, tiny, wait):
    """The dock with the tiny scan, and its masks as a layer of the user's."""
    from napari.layers import Layer

    from napari_labdct.gui.app.layers import layer_data

    layer = shown.add_layer(Layer.create(*layer_data(tiny.scan)))
    shown.add_labels(
        tiny.masks, name="masks", scale=layer.scale, units=layer.units,
        axis_labels=layer.axis_labels,
    )  # fmt: skip
    panel = open_dock(shown, "Grains")
    wait(panel.isVisible)
    return panel


@pytest.fixture
def described(grains):
    """The dock with the sample and quick settings."""
    click(grains.setup.section.title)
    choose(grains.setup.sample, "a cylinder")
    for line in (grains.setup.diameter, grains.setup.height):
        line.setText("60")
        line.editingFinished.emit()
    grains.setup.form.controls["voxel_um"].widget.setText("6")
    choose(grains.setup.form.controls["effort"].widget, "quick")
    click(grains.setup.section.title)
    return grains


@pytest.fixture
def mapped(grains, wait, map_file, monkeypatch):
    """The dock with the map, opened through its dialog."""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(map_file), ""))
    click(grains.open_button)
    wait(lambda: not grains.controller.open_job.running)
    assert grains.controller.study is not None, grains.controller.open_job.error
    wait(lambda: grains.map_part.view.grains is not None)
    return grains


def test_a_map_grows_and_fills_the_table(described, wait):
    grains = described
    seen: list[Growth] = []
    grains.controller.grown.connect(seen.append)
    click(grains.bar.button)
    wait(lambda: not grains.controller.job.running)
    assert grains.controller.job.state == "done", grains.controller.job.error
    assert seen
    assert seen[-1].filled > 0.9
    study = grains.controller.study
    assert grains.map_part.table.model_.rowCount() == len(study.edited.numbers) >= 6
    assert grains.map_part.view.grains.data.max() == len(study.edited.table)
    assert "grains" in grains.bar.label.text()
    click(grains.bar.button)  # the very same map is there already
    wait(lambda: not grains.controller.job.running)
    assert "made before" in grains.bar.label.text()
    assert grains.controller.study is not study


def _click_volume(panel, number: int) -> None:
    """Click in the middle of a grain, in the slice through its centre."""
    view, study = panel.map_part.view, panel.controller.study
    choose(view.slices, "Slices along z")
    inside = np.argwhere(study.edited.labels == number)
    middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    view.slider.setValue(int(middle[0]))
    at = view.grains.data_to_world(middle)
    view.pick(at, None, [1, 2])


def _points(panel, name: str):
    return panel.controller.spots.layer(name)


def test_a_click_on_a_grain_shows_its_spots_and_the_arrows_walk_them(mapped, shown):
    study = mapped.controller.study
    _click_volume(mapped, 2)
    assert mapped.controller.current == 2
    assert mapped.map_part.table.numbers() == [2]
    rows = study.reflections.of_grain(2)
    found = _points(mapped, "spots found")
    assert len(found.data) == (rows["seen"] == 1).sum() > 10
    missing = _points(mapped, "spots missing")
    assert (0 if missing is None else len(missing.data)) == (rows["seen"] == 0).sum()
    # the click went to a spot; the arrows go on from there
    first = mapped.controller.spot
    table = mapped.map_part.table
    QTest.keyClick(table, Qt.Key.Key_Right)
    assert mapped.controller.spot == (first + 1) % len(rows)
    row = rows[mapped.controller.spot]
    assert mapped.session.shown_frame() == row["frame"]
    mark = _points(mapped, "spot looked at")
    np.testing.assert_allclose(mark.data[0], [row["frame"], row["row"], row["col"]], rtol=1e-5)
    QTest.keyClick(table, Qt.Key.Key_Left)
    assert mapped.controller.spot == first
    click(mapped.map_part.after)
    assert mapped.controller.spot == (first + 1) % len(rows)
    assert "of" in mapped.map_part.about.text()
    # over the projections, too
    canvas = shown.window._qt_viewer.canvas.native
    QTest.keyClick(canvas, Qt.Key.Key_Left)
    assert mapped.controller.spot == first
    mapped.controller.select(None)
    frame = mapped.session.shown_frame()
    QTest.keyClick(canvas, Qt.Key.Key_Right)  # napari's own key again
    assert mapped.session.shown_frame() == frame + 1


def test_a_click_on_a_spot_lights_its_grain_up(mapped):
    study, spots = mapped.controller.study, mapped.controller.spots
    rows = study.reflections.of_grain(3)
    row = rows[rows["seen"] == 1][4]
    mapped.session.show_frame(int(row["frame"]))
    at = mapped.session.stack.data_to_world((row["frame"], row["row"], row["col"]))
    spots.pick(at)
    owners = study.reflections.spot_at(int(row["frame"]), row["row"], row["col"]).grains
    assert mapped.controller.current in owners
    number = mapped.controller.current
    assert mapped.map_part.table.numbers() == [number]
    lit = mapped.map_part.view.model.layers["chosen"]
    assert lit.data.sum() == (study.edited.labels == number).sum()
    first = np.argwhere(study.edited.labels == number)[0]
    np.testing.assert_allclose(
        lit.data_to_world(np.argwhere(lit.data)[0]),
        mapped.map_part.view.grains.data_to_world(first),
    )
    assert f"grain {study.edited.name(number)}" in mapped.status.text()


def test_a_spot_of_no_grain_says_so(mapped, wait):
    study, controller = mapped.controller.study, mapped.controller
    rows = study.reflections.of_grain(1)
    for row in rows[rows["seen"] == 1]:
        owners = study.reflections.spot_at(int(row["frame"]), row["row"], row["col"]).grains
        if owners == (1,):
            break
    _click_volume(mapped, 1)
    click(mapped.map_part.delete)
    wait(lambda: not controller.edit_job.running)
    mapped.session.show_frame(int(row["frame"]))
    controller.spots.pick(
        mapped.session.stack.data_to_world((row["frame"], row["row"], row["col"]))
    )
    assert controller.current is None
    assert "no grain" in mapped.status.text()


def test_the_table_walks_filters_and_sorts(mapped):
    table = mapped.map_part.table
    mapped.map_part.filter.setText("diameter_um > 34")
    sizes = table.model_.rows["diameter_um"][table.model_.order]
    assert len(sizes) > 0
    assert (sizes > 34).all()
    table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    sizes = table.model_.rows["diameter_um"][table.model_.order]
    assert (np.diff(sizes) <= 0).all()
    table.setFocus()
    table.setCurrentIndex(table.model_.index(0, 0))
    number = table.model_.number(0)
    assert mapped.controller.current == number
    assert "chosen" in mapped.map_part.view.model.layers
    mapped.map_part.filter.setText("no_such > 3")
    assert "no column" in mapped.status.text()
    mapped.map_part.filter.setText("")
    assert mapped.controller.current == number


def test_every_colouring_and_view_is_drawn(mapped):
    view, study = mapped.map_part.view, mapped.controller.study
    for mode in (volume.IDS, volume.IPF_X, volume.IPF_Y, volume.IPF_Z):
        choose(view.modes, mode)
        view.modes.activated.emit(view.modes.currentIndex())
        colours = view.grains.colormap.colors
        assert len(colours) == len(study.edited.table) + 1
        if mode != volume.IDS:
            np.testing.assert_allclose(colours[1:, :3], study.colours(mode[-1]), atol=1e-5)
    choose(view.modes, volume.COMPLETENESS)
    view.modes.activated.emit(view.modes.currentIndex())
    assert not view._shown.grains
    for name in ("Slices along z", "Slices along y", "Slices along x", "3D"):
        choose(view.slices, name)
        assert view.model.dims.ndisplay == (3 if name == "3D" else 2)
    click(view.ids)
    centres = view.model.layers["centres"]
    assert len(centres.data) == len(study.edited.numbers)
    choose(view.modes, volume.BOUNDARIES)
    view.modes.activated.emit(view.modes.currentIndex())
    assert "Compare" in mapped.status.text()


def test_corrections_are_made_taken_back_and_kept(mapped, wait):
    controller = mapped.controller
    study = controller.study
    before = study.edited.labels.copy()

    def done(button) -> None:
        click(button)
        wait(lambda: not controller.edit_job.running)

    _click_volume(mapped, 2)
    done(mapped.map_part.lock)
    assert mapped.map_part.lock.text() == "Unlock"
    done(mapped.map_part.delete)
    assert "locked" in mapped.status.text()
    done(mapped.map_part.lock)
    done(mapped.map_part.delete)
    assert not (study.edited.labels == 2).any()
    assert 2 not in mapped.map_part.table.model_.rows["number"]
    mapped.map_part.table.select([1, 3])
    done(mapped.map_part.merge)
    assert "not one crystal" in mapped.status.text()
    # the volume is empty where the grain was; a seed there finds it again
    place = np.argwhere(before == 2)
    middle = place[np.abs(place - place.mean(axis=0)).sum(axis=1).argmin()]
    choose(mapped.map_part.view.slices, "Slices along z")
    mapped.map_part.view.slider.setValue(int(middle[0]))
    mapped.map_part.view.pick(mapped.map_part.view.grains.data_to_world(middle), None, [1, 2])
    done(mapped.map_part.seed)
    assert "Seed grain" in mapped.status.text(), controller.edit_job.error
    new = len(study.edited.table)
    assert (study.edited.labels == new).sum() > 0.7 * len(place)
    assert len(study.reflections.of_grain(new)) > 20
    done(mapped.map_part.undo)
    done(mapped.map_part.undo)
    np.testing.assert_array_equal(study.edited.labels, before)
    done(mapped.map_part.redo)
    # the same map again has the same corrections
    click(mapped.open_button)
    wait(lambda: not controller.open_job.running)
    assert controller.study is not study
    assert controller.study.edited.gone[1]


def test_a_cancelled_map_goes_on(described, wait, monkeypatch):
    from napari_labdct.grains.search import Search

    grains, pressed, search = described, threading.Event(), Search.run

    def held(self):
        for found in search(self):
            yield found
            assert not self.grains or pressed.wait(60)

    monkeypatch.setattr("napari_labdct.grains.mapping._SAVE_S", 0.0)
    monkeypatch.setattr("napari_labdct.gui.grains.tasks._LOOK_S", 0.0)
    monkeypatch.setattr(Search, "run", held)
    job = grains.controller.job
    click(grains.bar.button)
    wait(lambda: grains.controller.growth is not None)
    assert grains.map_part.isVisibleTo(grains)
    assert grains.map_part.view.grains.data.max() >= 1
    click(grains.bar.button)
    pressed.set()
    wait(lambda: not job.running)
    assert job.state == "stopped"
    click(grains.bar.resume_button)
    wait(lambda: not job.running)
    assert job.state == "done", job.error
    assert len(grains.controller.study.edited.numbers) >= 6


def test_what_is_missing_is_said_and_where_to_enter_it(dock, viewer, add_scan, tiny):
    panel = dock("Grains")
    assert not panel.bar.button.isEnabled()
    bare = tiny.scan.replace(
        omega_deg=None, description=tiny.scan.description.replace(sample_detector_mm=None)
    )
    add_scan(bare)
    assert "rotation angles" in panel.note.text()
    assert "sample-detector distance" in panel.note.text()
    assert panel.scan_button.isVisibleTo(panel)
    viewer.layers.clear()
    add_scan(tiny.scan)
    assert "No spots yet" in panel.note.text()
    assert not panel.bar.button.isEnabled()


def test_a_map_is_saved_opened_and_compared(mapped, wait, tmp_path, monkeypatch):
    controller = mapped.controller
    path = tmp_path / "saved.h5"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    click(mapped.export_button)
    wait(lambda: not controller.export_job.running)
    assert path.exists()
    before = controller.study
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(path), ""))
    click(mapped.open_button)
    wait(lambda: not controller.open_job.running)
    assert controller.study is not before
    assert controller.study.reflections is not None
    np.testing.assert_array_equal(controller.study.edited.labels, before.edited.labels)
    panel = mapped.compare
    click(panel.title)
    panel.reference.setText(str(path))
    click(panel.bar.button)
    wait(lambda: not controller.compare_job.running)
    assert controller.compare_job.state == "done", controller.compare_job.error
    count = len(before.edited.numbers)
    assert panel.table.item(1, 0).text() == str(count)
    assert panel.table.item(3, 0).text() == "0"
    click(panel.boundaries)
    assert mapped.map_part.view.mode == volume.BOUNDARIES
    assert mapped.map_part.view.grains.data.max() == 0  # the map is its own reference
    folder = tmp_path / "report"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(folder))
    click(panel.write)
    wait(lambda: (folder / "report.html").exists() and not controller.export_job.running)
    assert (folder / "grains.csv").exists()


def test_napari_opens_a_grain_map_in_the_dock(viewer, wait, tiny, tmp_path):
    from napari_labdct.crystal import material
    from napari_labdct.io.grainmapper_writer import write_grainmapper

    path = tmp_path / "truth.h5"
    write_grainmapper(path, tiny.truth, material("Fe"))
    viewer.open(path, plugin="napari-labdct")
    session = session_of(viewer)
    wait(lambda: not session.job("open grains").running)
    from napari_labdct.gui.grains.controller import GrainsController

    controller = session.controller(GrainsController)
    wait(lambda: controller.study is not None)
    assert len(controller.study.edited.table) == tiny.truth.n_grains
    assert controller.study.reflections is None
    controller.select(1)
    assert controller.current == 1


def test_calibrate_shows_before_and_after_and_writes_only_when_asked(
    shown, wait, tiny, tmp_path, monkeypatch
):
    import tifffile

    from napari_labdct.io.scan_yaml import read_scan_yaml, write_scan_yaml

    folder = tmp_path / "iron"
    folder.mkdir()
    tifffile.imwrite(folder / "frames.tif", tiny.scan.frames, photometric="minisblack")
    mask = tmp_path / "mask.tif"
    tifffile.imwrite(mask, tiny.masks * 255, photometric="minisblack")
    off = tiny.scan.description.sample_detector_mm + 0.15
    write_scan_yaml(
        folder / "scan.yaml",
        tiny.scan.replace(description=tiny.scan.description.replace(sample_detector_mm=off)),
        frames=["frames.tif"],
    )
    text = (folder / "scan.yaml").read_bytes()
    shown.open(str(folder), plugin="napari-labdct")
    panel = open_dock(shown, "Grains")
    wait(panel.isVisible)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(mask), ""))
    choose(panel.setup.spots, "Mask file...")
    panel.setup.spots.activated.emit(panel.setup.spots.currentIndex())
    assert panel.setup.spots.currentText() == "mask.tif"
    calibrate = panel.calibrate
    click(calibrate.title)
    click(calibrate.more.title)
    choose(calibrate.form.controls["direction"].widget, "given")
    click(calibrate.bar.button)
    job = panel.controller.calibrate_job
    wait(lambda: not job.running)
    assert job.state == "done", job.error
    found = panel.controller.calibration
    rows = [calibrate.table.item(k, 0).text() for k in range(calibrate.table.rowCount())]
    at = rows.index("sample-detector distance")
    assert float(calibrate.table.item(at, 1).text()) == pytest.approx(off)
    true = tiny.scan.description.sample_detector_mm
    assert float(calibrate.table.item(at, 2).text()) == pytest.approx(true, abs=0.03)
    assert found.residual_px < found.before_px
    assert (folder / "scan.yaml").read_bytes() == text
    click(calibrate.use)
    now = panel.session.scan().description
    assert now.sample_detector_mm == pytest.approx(true, abs=0.03)
    assert (folder / "scan.yaml").read_bytes() == text
    click(calibrate.write)
    wait(lambda: (folder / "scan.yaml.old").exists())
    wait(lambda: not panel.controller.export_job.running)
    written = read_scan_yaml(folder / "scan.yaml").description
    assert written.sample_detector_mm == pytest.approx(true, abs=0.03)
    assert (folder / "scan.yaml.old").read_bytes() == text


def test_point_grains_are_a_list_and_centres(grains, wait, map_file, tmp_path, monkeypatch):
    import json

    from napari_labdct.grains.opened_map import open_map
    from napari_labdct.grains.results import write_grain_csv

    opened = open_map(map_file)
    path = tmp_path / "points.csv"
    write_grain_csv(path, opened.table)
    path.with_suffix(".json").write_text(json.dumps({"material": {"name": "Fe"}}))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, **k: (str(path), ""))
    click(grains.open_button)
    controller = grains.controller
    wait(lambda: not controller.open_job.running)
    assert controller.open_job.state == "done", controller.open_job.error
    wait(lambda: grains.map_part.view.model is not None)
    assert grains.map_part.view.grains is None
    assert len(grains.map_part.view.model.layers["centres"].data) == len(opened.table)
    grains.map_part.table.setCurrentIndex(grains.map_part.table.model_.index(2, 0))
    assert len(controller.rows) > 20
    click(grains.map_part.delete)
    wait(lambda: not controller.edit_job.running)
    assert len(grains.map_part.view.model.layers["centres"].data) == len(opened.table) - 1
    assert not grains.map_part.seed.isEnabled()


def test_a_reversed_rotation_points_to_calibrate(described, wait, tiny):
    grains = described
    session = grains.session
    backwards = tiny.scan.replace(frames=session.stack.data, omega_deg=-tiny.scan.omega_deg + 3)
    session.set_scan(session.stack, backwards)
    click(grains.bar.button)
    job = grains.controller.job
    wait(lambda: not job.running)
    assert job.state == "failed"
    assert "No grain was found" in grains.bar.label.text()
    assert "(Calibrate tries directions" in grains.bar.label.text()
