"""The Scan dock: what is typed, guessed, drawn, checked and saved."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from clicking import click
from qtpy.QtCore import Qt

from napari_labdct.gui.app.session import session_of
from napari_labdct.gui.scan.controller import ScanController, checks
from napari_labdct.io import open_scan
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(dock):
    return dock("Scan")


@pytest.fixture
def bare(frames) -> Scan:
    """A scan of which nothing is known."""
    return Scan(frames, name="iron")


@pytest.fixture
def type_into(qtbot):
    def type_into(line, text: str) -> None:
        line.clear()
        qtbot.keyClicks(line, text)
        qtbot.keyClick(line, Qt.Key.Key_Return)

    return type_into


def shadowed() -> np.ndarray:
    """Projections with a dark square beam stop near the middle."""
    frames = np.random.default_rng(0).poisson(500.0, (5, 120, 120)).astype(np.uint16)
    frames[:, 45:75, 50:80] = 5
    return frames


def test_angles_are_typed(panel, add_scan, bare, type_into):
    layer = add_scan(bare)
    assert "Not given" in panel.angles.text()
    type_into(panel.start, "180")
    assert session_of(panel.session.viewer).scan(layer).omega_deg is None
    type_into(panel.increment, "-3")
    omega = panel.session.scan(layer).omega_deg
    np.testing.assert_allclose(omega, angles(180, -3, 9))
    assert panel.angles.text() == "9 angles: 180 to 156 deg"
    type_into(panel.start, "0")
    assert panel.session.scan(layer).omega_deg[0] == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("angles.csv", "frame,omega\n" + "".join(f"{i},{i * i}\n" for i in range(9))),
        ("scan.yaml", "omega_deg: [0, 1, 4, 9, 16, 25, 36, 49, 64]\n"),
    ],
)
def test_angles_come_from_a_file(panel, add_scan, bare, tmp_path, monkeypatch, name, text):
    layer = add_scan(bare)
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getOpenFileName", lambda *a, **k: (str(tmp_path / name), "")
    )
    panel._load()
    np.testing.assert_allclose(panel.session.scan(layer).omega_deg, np.arange(9) ** 2)
    assert "uneven" in panel.angles.text()
    assert panel.start.text() == ""


def test_a_wrong_number_of_angles_is_said(panel, add_scan, bare, tmp_path, monkeypatch):
    add_scan(bare)
    (tmp_path / "a.csv").write_text("1\n2\n")
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getOpenFileName",
        lambda *a, **k: (str(tmp_path / "a.csv"), ""),
    )
    panel._load()
    assert "9 projections but 2 rotation angles" in panel.status.text()


def test_the_pixel_size_scales_the_scan_and_what_lies_over_it(
    panel, add_scan, bare, type_into, viewer
):
    layer = add_scan(bare)
    session = session_of(viewer)
    full = session.add_result(layer, np.zeros((9, 48, 64), np.uint8), "cleaned")
    half = session.add_result(layer, np.zeros((9, 24, 32), np.uint8), "cleaned")
    mine = viewer.add_image(np.zeros((48, 64)), name="mine")
    session.controller(ScanController).show_shapes(layer)
    type_into(panel.form.controls["pixel_um"].widget, "3.36")
    assert session.scan(layer).description.pixel_um == 3.36
    np.testing.assert_allclose(layer.scale, (1, 3.36, 3.36))
    np.testing.assert_allclose(full.scale, (1, 3.36, 3.36))
    np.testing.assert_allclose(half.scale, (1, 6.72, 6.72))
    np.testing.assert_allclose(viewer.layers["iron [beam stop]"].scale, (3.36, 3.36))
    assert str(layer.units[1]) == "micrometer"
    np.testing.assert_allclose(mine.scale, (1, 1))
    type_into(panel.form.controls["pixel_um"].widget, "")
    np.testing.assert_allclose(layer.scale, (1, 1, 1))


def test_values_out_of_range_are_said_and_not_taken(panel, add_scan, bare, type_into):
    layer = add_scan(bare)
    type_into(panel.form.controls["tube_kv"].widget, "3")
    assert "it must be 10 to 500 kV" in panel.status.text()
    assert panel.session.scan(layer).description.tube_kv is None
    type_into(panel.centre, "12")
    assert "Detector centre needs 2 numbers" in panel.status.text()
    type_into(panel.centre, "24.5, 30")
    type_into(panel.tilt, "0, 0.5, 0")
    description = panel.session.scan(layer).description
    assert description.detector_center_px == (24.5, 30)
    assert description.detector_tilt_deg == (0, 0.5, 0)
    type_into(panel.centre, "23,5; 31,25")
    type_into(panel.tilt, "0,25 0 0")
    description = panel.session.scan(layer).description
    assert description.detector_center_px == (23.5, 31.25)
    assert description.detector_tilt_deg == (0.25, 0, 0)
    type_into(panel.start, "0,5")
    type_into(panel.increment, "1,25")
    np.testing.assert_allclose(panel.session.scan(layer).omega_deg, angles(0.5, 1.25, 9))


def test_the_check_list_says_what_is_missing_for_which_step(panel, add_scan, bare, type_into):
    add_scan(bare)
    assert "Denoise: complete" in panel.checks.text()
    assert "Grain size: add pixel size" in panel.checks.text()
    for name, value in (("pixel_um", "3"), ("source_sample_mm", "13"), ("sample_detector_mm", "15"),
                        ("tube_kv", "110"), ("material", "Fe")):  # fmt: skip
        type_into(panel.form.controls[name].widget, value)
    type_into(panel.start, "0")
    type_into(panel.increment, "40")
    text = panel.checks.text()
    assert "Denoise, grain size, tracks, predicted spots: complete" in text
    assert "Grain map: add beam stop" in text
    assert "Magnification 2.15" in text
    assert "The angles go once round" in text


def test_odd_values_are_pointed_out(frames):
    far = ScanDescription(
        pixel_um=3, source_sample_mm=13, sample_detector_mm=15, detector_tilt_deg=(0, 90, 0),
        beam_stop_px=(((900, 900), (910, 900), (910, 910)),),
    )  # fmt: skip
    said = checks(Scan(frames, omega_deg=np.zeros(9), description=far))
    bad = " ".join(text for good, text in said if not good)
    assert "no longer faces the source" in bad
    assert "All rotation angles are the same" in bad
    assert "lies outside the image" in bad


def test_the_beam_stop_is_guessed_and_can_be_edited(panel, add_scan, viewer, wait):
    layer = add_scan(Scan(shadowed(), name="iron"))
    click(panel.guess_button)
    job = session_of(viewer).job("beam stop")
    wait(lambda: not job.running)
    shapes = viewer.layers["iron [beam stop]"]
    scan = panel.session.scan(layer)
    mask = scan.beam_stop_mask()
    assert mask[60, 65]
    assert 700 < mask.sum() < 1200
    assert panel.stop.text().startswith("1 polygon")
    shapes.add_rectangles(np.array([[5, 5], [5, 20], [20, 20], [20, 5]]))
    assert panel.session.scan(layer).beam_stop_mask()[10, 10]
    shapes.add_ellipses(np.array([[90, 90], [90, 110], [110, 110], [110, 90]]))
    shapes.add_lines(np.array([[1, 1], [3, 3]]))
    assert panel.session.scan(layer).beam_stop_mask()[100, 100]
    assert len(panel.session.scan(layer).description.beam_stop_px) == 3
    click(panel.remove_button)
    assert panel.session.scan(layer).description.beam_stop_px == ()
    assert "iron [beam stop]" not in viewer.layers


def test_no_beam_stop_is_said(panel, add_scan, wait):
    add_scan(Scan(np.full((5, 64, 64), 500, np.uint16), name="flat"))
    click(panel.guess_button)
    wait(lambda: not panel.session.job("beam stop").running)
    assert "No beam stop was found" in panel.status.text()


def test_drawing_a_beam_stop_from_nothing(panel, add_scan, bare, viewer):
    layer = add_scan(bare)
    click(panel.edit_button)
    shapes = viewer.layers["iron [beam stop]"]
    assert shapes.mode == "add_polygon"
    shapes.add_polygons(np.array([[5, 5], [5, 20], [20, 20]]))
    assert len(panel.session.scan(layer).description.beam_stop_px) == 1
    viewer.layers.remove(shapes)  # the scan keeps what was drawn
    assert len(panel.session.scan(layer).description.beam_stop_px) == 1


def test_the_description_of_another_scan_in_the_folder_is_kept(panel, viewer, tmp_path, frames):
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames)
    for name, pixel in (("a", 3.0), ("b", 9.0)):
        scan = open_scan(tmp_path / f"{name}.tif")
        layer = viewer.add_image(scan.frames, name=name)
        panel.session.scan(layer)
        panel.session.set_scan(layer, scan)
        panel.session.set_stack(layer)
        panel.controller.describe(layer, pixel_um=pixel)
        click(panel.save_button)
    assert "describes other files (a.tif)" in panel.status.text()
    assert open_scan(tmp_path / "a.tif").description.pixel_um == 3.0


def test_saved_beside_the_data_and_found_again(panel, viewer, tmp_path, frames, type_into):
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"p{index}.tif", frame)
    viewer.open(tmp_path, plugin="napari-labdct")
    type_into(panel.form.controls["pixel_um"].widget, "3.36")
    type_into(panel.start, "180")
    type_into(panel.increment, "-3")
    click(panel.save_button)
    assert str(tmp_path / "scan.yaml") in panel.status.text()
    again = open_scan(tmp_path)
    assert again.description.pixel_um == 3.36
    np.testing.assert_allclose(again.omega_deg, angles(180, -3, 9))


def test_a_folder_that_cannot_be_written_is_said(panel, add_scan, bare, tmp_path, monkeypatch):
    add_scan(bare)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getSaveFileName",
        lambda *a, **k: (str(tmp_path / "file" / "scan.yaml"), ""),
    )
    click(panel.save_button)
    assert "Cannot write" in panel.status.text()


def test_each_scan_keeps_its_own_description(panel, add_scan, bare, type_into):
    first = add_scan(bare)
    second = add_scan(bare.replace(name="nickel"))
    type_into(panel.form.controls["material"].widget, "Fe")
    panel.session.set_stack(second)
    assert panel.form.controls["material"].widget.text() == ""
    type_into(panel.form.controls["material"].widget, "Ni")
    panel.session.set_stack(first)
    assert panel.form.controls["material"].widget.text() == "Fe"


def test_a_value_that_is_hardly_meant_is_red_at_its_field(panel, add_scan, bare, type_into):
    layer = add_scan(bare)
    control = panel.form.controls["pixel_um"]
    type_into(control.widget, "0,0134")
    assert panel.session.scan(layer).description.pixel_um == 0.0134
    assert "did you mean 13.4 um" in control.widget.toolTip()
    assert "did you mean 13.4 um" in panel.checks.text()
    assert "border" in control.widget.styleSheet()
    assert "Grain size: check pixel size" in panel.checks.text()
    type_into(control.widget, "13,4")
    assert panel.session.scan(layer).description.pixel_um == 13.4
    assert control.widget.styleSheet() == ""
    assert "did you mean" not in control.widget.toolTip() + panel.checks.text()
    type_into(panel.centre, "5000, 10")
    assert "border" in panel.centre.styleSheet()
    assert "lies outside the image" in panel.checks.text()


def test_without_a_step_there_are_no_angles_and_the_start_stays(panel, add_scan, scan, type_into):
    layer = add_scan(scan)
    type_into(panel.increment, "")
    assert panel.session.scan(layer).omega_deg is None
    assert (panel.start.text(), panel.increment.text()) == ("0", "")
    type_into(panel.increment, "2")
    np.testing.assert_allclose(panel.session.scan(layer).omega_deg, angles(0, 2, 9))


def test_uneven_angles_are_removed_by_a_button(panel, add_scan, scan, type_into):
    layer = add_scan(scan.replace(omega_deg=np.arange(9.0) ** 2))
    assert panel.increment.placeholderText() == "uneven"
    click(panel.forget_button)
    assert panel.session.scan(layer).omega_deg is None
    assert "Not given" in panel.angles.text()
    assert panel.increment.placeholderText() == "deg"
    assert not panel.forget_button.isVisibleTo(panel)
    type_into(panel.start, "10")
    type_into(panel.increment, "2")
    np.testing.assert_allclose(panel.session.scan(layer).omega_deg, angles(10, 2, 9))
    assert panel.forget_button.isVisibleTo(panel)


def test_what_the_file_names_tell_is_shown(frames):
    scan = Scan(frames, name="iron", notes=("Number 4 is missing.",))
    assert (False, "Number 4 is missing.") in checks(scan)


def test_a_scan_yml_is_written_again_not_shadowed(panel, add_scan, frames, tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", frames, photometric="minisblack")
    (tmp_path / "scan.yml").write_text("pixel_um: 2\n")
    layer = add_scan(open_scan(tmp_path))
    panel.controller.describe(layer, pixel_um=3.0)
    assert panel.controller.save(layer).name == "scan.yml"
    assert not (tmp_path / "scan.yaml").exists()
    assert open_scan(tmp_path).description.pixel_um == 3.0


@pytest.fixture
def gapped(tmp_path) -> np.ndarray:
    """Projections in a folder, with a dead stripe; returns where it is."""
    frames = np.random.default_rng(0).poisson(500.0, (5, 60, 80)).astype(np.uint16)
    frames[:, 20:26] = 65535
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"p{index}.tif", frame)
    return frames[0] == 65535


def test_the_detector_mask_is_found_painted_used_and_kept(panel, viewer, tmp_path, gapped, wait):
    viewer.open(tmp_path, plugin="napari-labdct")
    layer = panel.session.stack
    wait(lambda: panel.mask.text() == "10 % of the pixels left out (found in the projections).")
    assert not panel.use_mask_button.isEnabled()
    assert not panel.find_mask_button.isEnabled()
    click(panel.show_mask_button)
    labels = viewer.layers[-1]
    assert labels.name.endswith("[detector mask]")
    np.testing.assert_array_equal(labels.data, gapped)
    labels.data[:3] = 1
    click(panel.use_mask_button)
    assert panel.mask.text() == "15 % of the pixels left out (as drawn)."
    assert panel.session.scan(layer).detector_mask[:3].all()
    click(panel.save_button)
    assert "Saved" in panel.status.text()
    again = open_scan(tmp_path)
    assert again.n_frames == 5
    np.testing.assert_array_equal(again.detector_mask, labels.data != 0)
    assert panel.mask.text() == "15 % of the pixels left out (detector_mask.tif)."
    click(panel.find_mask_button)
    wait(lambda: "found in the projections" in panel.mask.text())
    np.testing.assert_array_equal(labels.data, gapped)


def test_no_pixel_left_out_is_a_mask_too(panel, viewer, tmp_path, gapped, wait):
    viewer.open(tmp_path, plugin="napari-labdct")
    layer = panel.session.stack
    click(panel.show_mask_button)  # it may not be known yet
    wait(lambda: panel.use_mask_button.isEnabled())
    labels = viewer.layers[-1]
    labels.data = np.ones_like(labels.data)
    click(panel.use_mask_button)
    assert "leaves out every pixel" in panel.status.text()
    labels.data = np.zeros_like(labels.data)
    click(panel.use_mask_button)
    assert panel.session.scan(layer).detector_mask is None
    assert panel.mask.text() == "No pixel is left out."
    panel.controller.describe(layer, pixel_um=3.0)
    np.testing.assert_allclose(labels.scale, (3, 3))
    click(panel.save_button)
    assert open_scan(tmp_path).detector_mask is None
