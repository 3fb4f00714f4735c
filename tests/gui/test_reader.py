"""File > Open: what is a scan, what is left to napari, and what is said of bad files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct.core.errors import ScanError
from napari_labdct.gui.app.layers import layer_data, scan_layer
from napari_labdct.gui.app.reader import get_reader
from napari_labdct.gui.app.session import session_of
from napari_labdct.io import TiffFrames
from napari_labdct.io.formats import FORMATS, Format
from napari_labdct.scan.scan import Scan

pytestmark = pytest.mark.gui


@pytest.fixture
def folder(tmp_path, frames):
    place = tmp_path / "scan"
    place.mkdir()
    for index, frame in enumerate(frames):
        tifffile.imwrite(place / f"proj{index}.tif", frame)
    return place


def test_a_folder_is_one_lazy_layer(viewer, folder, frames):
    (layer,) = viewer.open(folder, plugin="napari-labdct")
    assert isinstance(layer.data, TiffFrames)
    assert layer.data.shape == frames.shape
    np.testing.assert_array_equal(layer.data[3], frames[3])
    assert layer.name == "scan"
    assert layer.axis_labels == ("projection", "y", "x")
    low, high = layer.contrast_limits
    assert frames.min() <= low < high <= frames.max()
    assert session_of(viewer).stack is layer


def test_scan_yaml_gives_scale_units_and_angles(viewer, folder):
    (folder / "scan.yaml").write_text("omega_deg: {start: 180, step: -3}\npixel_um: 3.36\n")
    for path in (folder, folder / "scan.yaml"):
        (layer,) = viewer.open(path, plugin="napari-labdct")
        np.testing.assert_allclose(layer.scale, (1, 3.36, 3.36))
        assert [str(u) for u in layer.units] == ["pixel", "micrometer", "micrometer"]
        scan = session_of(viewer).scan(layer)
        assert scan.omega_deg[1] == 177
        assert scan.description.pixel_um == 3.36


def test_many_pages_and_lists(tmp_path, folder, frames):
    tifffile.imwrite(tmp_path / "all.tif", frames, photometric="minisblack")
    data, options, kind = get_reader(str(tmp_path / "all.tif"))(str(tmp_path / "all.tif"))[0]
    assert (data.shape, options["name"], kind) == (frames.shape, "all", "image")
    files = [str(folder / f"proj{i}.tif") for i in (2, 0, 1)]
    data, *_ = get_reader(files)(files)[0]
    np.testing.assert_array_equal(data[0], frames[0])


def test_opening_reads_three_frames(tmp_path, monkeypatch, make_frames):
    tifffile.imwrite(tmp_path / "all.tif", make_frames(40), photometric="minisblack")
    seen = []
    read = TiffFrames.read
    monkeypatch.setattr(TiffFrames, "read", lambda self, i: (seen.append(i), read(self, i))[1])
    scan_layer(tmp_path / "all.tif")
    assert sorted(seen) == [0, 19, 39]


def test_pictures_are_left_to_napari(tmp_path):
    pictures = {
        "rgb.tif": np.zeros((20, 30, 3), np.uint8),
        "mask.tif": np.zeros((20, 30), np.uint8),
        "channels.ome.tif": np.zeros((2, 3, 20, 30), np.uint8),
    }
    for name, image in pictures.items():
        tifffile.imwrite(tmp_path / name, image)
        assert get_reader(str(tmp_path / name)) is None, name
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "note.yaml.txt").write_text("a")
    for path in (empty, tmp_path / "missing.tif", tmp_path / "note.yaml.txt"):
        assert get_reader(str(path)) is None
    assert get_reader([]) is None
    assert get_reader([str(tmp_path / "mask.tif"), str(tmp_path / "a.png")]) is None


def test_a_single_page_with_a_description_is_a_scan_of_one(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.ones((20, 30), np.uint16))
    (tmp_path / "scan.yaml").write_text("pixel_um: 2\n")
    path = str(tmp_path / "one.tif")
    data, options, _ = get_reader(path)(path)[0]
    assert data.shape == (1, 20, 30)
    assert options["scale"] == (1.0, 2.0, 2.0)


def test_a_truncated_file_in_the_middle_is_named(folder):
    whole = (folder / "proj4.tif").read_bytes()
    (folder / "proj4.tif").write_bytes(whole[:-800])
    reader = get_reader(str(folder))
    with pytest.raises(ScanError, match=r"proj4\.tif is cut off"):
        reader(str(folder))


def test_mixed_sizes_are_named(folder):
    tifffile.imwrite(folder / "proj5.tif", np.zeros((20, 20), np.uint16))
    with pytest.raises(ScanError, match=r"proj5\.tif is 20 x 20"):
        get_reader(str(folder))(str(folder))


def test_not_an_image(tmp_path):
    (tmp_path / "letter.tif").write_text("Dear colleague")
    path = str(tmp_path / "letter.tif")
    with pytest.raises(ScanError, match="not a TIFF file"):
        get_reader(path)(path)


def test_wrong_scan_yaml(folder):
    (folder / "scan.yaml").write_text("pixel_um: tiny\n")
    with pytest.raises(ScanError, match="Pixel size"):
        get_reader(str(folder))(str(folder))


def test_nan_frames_open_with_sensible_contrast(make_frames):
    frames = make_frames(3).astype(np.float32)
    frames[0] = np.nan
    _, options, _ = layer_data(Scan(frames))
    low, high = options["contrast_limits"]
    assert np.isfinite([low, high]).all()
    assert high > low


@pytest.mark.parametrize(
    ("tag", "looks"),
    [(1, ("down", "right")), (3, ("up", "left")), (4, ("up", "right")), (2, ("down", "left"))],
)
def test_the_camera_turns_and_never_the_data(viewer, tmp_path, frames, tag, looks):
    place = tmp_path / "turned"
    place.mkdir()
    for index, frame in enumerate(frames):
        tifffile.imwrite(place / f"{index}.tif", frame, extratags=[(274, "H", 1, tag, True)])
    (layer,) = viewer.open(place, plugin="napari-labdct")
    assert tuple(str(o.value) for o in viewer.scene.camera.orientation2d) == looks
    np.testing.assert_array_equal(layer.data[2], frames[2])
    assert session_of(viewer).scan(layer).orientation == tag


def test_swapped_axes_are_swapped_on_the_screen_only(viewer, tmp_path, frames):
    for index, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"{index}.tif", frame, extratags=[(274, "H", 1, 6, True)])
    (layer,) = viewer.open(tmp_path, plugin="napari-labdct")
    assert viewer.dims.order == (0, 2, 1)
    np.testing.assert_array_equal(layer.data[2], frames[2])


@pytest.fixture
def toy():
    """Files that end in .toy hold a NumPy array; another package brings the format."""
    opened = Format((".toy",), lambda path: Scan(np.load(path)), lambda p: p.stat().st_size > 200)
    FORMATS.register("toy", opened)
    yield
    FORMATS.forget("toy")


def write_toy(path, frames):
    with path.open("wb") as file:
        np.save(file, frames)
    return str(path)


def test_a_format_of_another_package_is_a_scan_alone_in_lists_and_in_folders(toy, tmp_path, frames):
    paths = [write_toy(tmp_path / f"{k}.toy", frames[k : k + 2]) for k in (0, 2)]
    for given, count in ((paths[0], 2), (paths, 4), (str(tmp_path), 4)):
        data, *_ = get_reader(given)(given)[0]
        np.testing.assert_array_equal(data[:], frames[:count])
    (tmp_path / "empty.toy").touch()
    assert get_reader(str(tmp_path / "empty.toy")) is None  # its own sniff says no
    assert get_reader([paths[0], str(tmp_path / "empty.toy")]) is None
    assert get_reader([paths[0], str(tmp_path / "a.tif")]) is None


def test_file_open_finds_a_format_of_another_package_through_its_manifest(
    toy, viewer, tmp_path, frames
):
    from npe2 import DynamicPlugin

    path = write_toy(tmp_path / "iron.toy", frames)
    with DynamicPlugin("toy-package") as plugin:
        plugin.contribute.reader(filename_patterns=["*.toy"])(get_reader)
        viewer.window._qt_viewer._qt_open([path], stack=False)  # what File > Open and drops call
    (layer,) = viewer.layers
    assert layer.name == "iron"
    assert session_of(viewer).stack is layer
    np.testing.assert_array_equal(layer.data[2], frames[2])


def test_file_open_of_a_zeiss_scan_fills_the_scan_dock(viewer, tmp_path, dock, make_frames):
    from ole_writer import txrm_streams, write_ole

    frames = make_frames(5)
    path = write_ole(tmp_path / "iron.txrm", txrm_streams(frames))
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)
    (layer,) = viewer.layers
    np.testing.assert_allclose(layer.scale, (1, 3.36, 3.36), rtol=1e-4)
    panel = dock("Scan")
    assert panel.angles.text() == "5 angles: -180 to 108 deg, from the file"
    assert panel.form.controls["source_sample_mm"].widget.text() == "20"
    assert "from the file" in panel.form.controls["tube_kv"].widget.toolTip()
    assert "From the file: rotation angles, pixel size" in panel.told.text()
    assert "Date: 06/26/23" in panel.told.text()
    panel.controller.describe(layer, tube_kv=140.0)  # it can be overruled
    assert "from the file" not in panel.form.controls["tube_kv"].widget.toolTip()
    assert "tube voltage" not in panel.told.text()
    saved = panel.controller.save(layer)
    assert "frames: [iron.txrm]" in saved.read_text()
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)
    again = session_of(viewer).scan(viewer.layers[-1])
    assert again.description.tube_kv == 140
    assert any("the file says 160" in note for note in again.notes)


def test_data_of_other_kinds_in_files_of_known_ends_is_left_alone(tmp_path):
    import h5py
    import zarr

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volume"] = np.zeros((9, 9, 9))
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(3, 4, 5, 6), dtype="u1")
    (tmp_path / "c.img").write_bytes(bytes(500))
    for name in ("a.h5", "b.zarr", "c.img"):
        assert get_reader(str(tmp_path / name)) is None, name
