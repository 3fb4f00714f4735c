"""HDF5: NXtomo, Eiger masters, Data Exchange, plain data sets; links that lead away."""

from __future__ import annotations

import h5py
import hdf5plugin
import numpy as np
import pytest

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.formats import format_of

STACK = np.random.default_rng(4).integers(0, 60_000, (7, 33, 40)).astype(np.uint16)
KEYS = np.array([2, 1, 0, 0, 0, 0, 1])


def write_nxtomo(path, stack=STACK, keys=KEYS, unit="deg", **options):
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        entry["title"], entry["start_time"] = "iron", "2026-01-02T03:04:05"
        detector = entry.create_group("instrument/detector")
        detector.create_dataset("data", data=stack, **options)
        if keys is not None:
            detector["image_key"] = keys
        for name, value, its_unit in (
            ("x_pixel_size", 3.36e-6, "m"), ("distance", 30.0, "mm"), ("count_time", 900.0, "ms"),
        ):  # fmt: skip
            detector[name] = value
            detector[name].attrs["units"] = its_unit
        entry["instrument/source/distance"] = -2.0
        entry["instrument/source/distance"].attrs["units"] = "cm"
        entry["sample/rotation_angle"] = 3.0 * np.arange(len(stack))
        if unit is not None:
            entry["sample/rotation_angle"].attrs["units"] = unit
    return path


def write_eiger(folder, per_file=3, filtered=True):
    options = hdf5plugin.Bitshuffle() if filtered else {}
    with h5py.File(folder / "iron_master.h5", "w") as master:
        master.create_group("entry").attrs["NX_class"] = "NXentry"
        group = master.create_group("entry/data")
        for k in range(-(-len(STACK) // per_file)):
            name = f"iron_data_{k + 1:06d}.h5"
            with h5py.File(folder / name, "w") as file:
                part = STACK[k * per_file : (k + 1) * per_file]
                file.create_dataset("entry/data/data", data=part, chunks=(1, 33, 40), **options)
            group[f"data_{k + 1:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        omega = master.create_dataset("entry/sample/goniometer/omega", data=0.5 * np.arange(7.0))
        omega.attrs["units"] = "degree"
        detector = master.create_group("entry/instrument/detector")
        for name, value, unit in (
            ("x_pixel_size", 75e-6, "m"), ("detector_distance", 0.12, "m"), ("count_time", 0.1, "s")
        ):  # fmt: skip
            detector[name] = value
            detector[name].attrs["units"] = unit
    return folder / "iron_master.h5"


def test_nxtomo_leaves_out_flats_and_darks_with_their_angles(tmp_path):
    scan = open_scan(write_nxtomo(tmp_path / "iron.nxs", chunks=(1, 33, 40), compression="gzip"))
    np.testing.assert_array_equal(scan.frames[:], STACK[2:6])
    np.testing.assert_allclose(scan.omega_deg, [6, 9, 12, 15])
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.source_sample_mm) == (3.36, 30, 20)
    assert d.exposure_s == 0.9
    assert scan.source_of("source_sample_mm") == "from the file"
    details = dict(scan.known.details)
    assert details["left out"] == "2 flats, 1 darks"
    assert (details["title"], details["date"]) == ("iron", "2026-01-02T03:04:05")
    assert format_of("iron.nxs").is_scan(tmp_path / "iron.nxs")


def test_radians_are_converted_and_a_missing_unit_is_said(tmp_path):
    scan = open_scan(write_nxtomo(tmp_path / "a.nxs", unit="rad"))
    np.testing.assert_allclose(scan.omega_deg, np.rad2deg([6, 9, 12, 15]))
    scan = open_scan(write_nxtomo(tmp_path / "b.nxs", unit=None))
    np.testing.assert_allclose(scan.omega_deg, [6, 9, 12, 15])
    assert any("without a unit; degrees are taken" in note for note in scan.notes)
    scan = open_scan(write_nxtomo(tmp_path / "c.nxs", unit="furlong"))
    assert scan.omega_deg is None
    assert any("'furlong'" in note for note in scan.notes)


def test_an_image_key_of_another_length_and_only_flats_are_said(tmp_path):
    scan = open_scan(write_nxtomo(tmp_path / "a.nxs", keys=KEYS[:4]))
    assert scan.n_frames == 7
    assert any("marks 4 images" in note for note in scan.notes)
    with pytest.raises(ScanError, match="no projections, only 7 flats"):
        open_scan(write_nxtomo(tmp_path / "b.nxs", keys=np.ones(7)))


def test_an_eiger_master_reads_its_parts_one_image_at_a_time(tmp_path):
    scan = open_scan(write_eiger(tmp_path))
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, 0.5 * np.arange(7))
    d = scan.description
    assert (d.pixel_um, d.sample_detector_mm, d.exposure_s) == (75, 120, 0.1)
    scan = open_scan(tmp_path)  # the parts are not opened again beside their master
    np.testing.assert_array_equal(scan.frames[:], STACK)


def test_data_exchange_and_a_default_of_nexus(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"], file["exchange/data_white"] = STACK, STACK[:2]
        file["exchange/theta"] = np.arange(7.0)
        file["exchange/theta"].attrs["units"] = "deg"
    scan = open_scan(tmp_path / "a.h5")
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, np.arange(7))
    assert dict(scan.known.details)["flats and darks"] == "in the file, not applied"
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.attrs["default"] = "second"
        for name, stack in (("first", STACK + 1), ("second", STACK)):
            entry = file.create_group(name)
            entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "plot"
            entry.create_group("plot").attrs["signal"] = "counts"
            entry["plot/counts"] = stack
    np.testing.assert_array_equal(open_scan(tmp_path / "b.h5").frames[:], STACK)


def test_a_data_set_is_named_behind_two_colons(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x/raw"], file["x/cleaned"], file["x/omega"] = STACK, STACK[:, :5], np.arange(7.0)
        file["one"] = STACK[3]
    with pytest.raises(ScanError, match=r"several stacks \(/x/cleaned, /x/raw\); name one"):
        open_scan(path)
    assert not format_of(path).is_scan(path)  # it may be anything
    scan = open_scan(f"{path}::/x/raw")
    np.testing.assert_array_equal(scan.frames[:], STACK)
    np.testing.assert_allclose(scan.omega_deg, np.arange(7))
    assert scan.address == f"{path}::/x/raw"
    assert (scan.source, scan.name) == (str(path), "a")
    np.testing.assert_array_equal(open_scan(f"{path}::/one").frame(0), STACK[3])
    for inside, words in [("/y", "has no '/y'"), ("/x", "is a group"), ("/x/omega", "has shape")]:
        with pytest.raises(ScanError, match=words):
            open_scan(f"{path}::{inside}")
    (tmp_path / "scan.yaml").write_text("frames: 'a.h5::/x/cleaned'\npixel_um: 2\n")
    for source in (tmp_path, tmp_path / "scan.yaml", path):
        scan = open_scan(source)
        assert scan.shape == (5, 40)
        assert scan.description.pixel_um == 2


def test_virtual_data_sets_read_through_and_a_missing_source_is_said(tmp_path):
    for k in range(7):
        with h5py.File(tmp_path / f"part{k}.h5", "w") as file:
            file["image"] = STACK[k]
    layout = h5py.VirtualLayout((7, 33, 40), "u2")
    for k in range(7):
        layout[k] = h5py.VirtualSource(f"part{k}.h5", "image", (33, 40))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    np.testing.assert_array_equal(open_scan(tmp_path / "all.h5").frames[:], STACK)
    (tmp_path / "part3.h5").unlink()
    with pytest.raises(ScanError, match=r"links to part3\.h5, which is missing"):
        open_scan(tmp_path / "all.h5")


def link_external(file, name):
    file["entry/data/data"] = h5py.ExternalLink(name, "image")


def link_virtual(file, name):
    layout = h5py.VirtualLayout((7, 33, 40), "u2")
    layout[:] = h5py.VirtualSource(name, "image", (7, 33, 40))
    file.create_virtual_dataset("entry/data/data", layout)


def link_raw(file, name):
    place = [(name.replace(".h5", ".raw"), 0, STACK.nbytes)]
    file.create_dataset("entry/data/data", STACK.shape, "u2", external=place)


@pytest.mark.parametrize("link", [link_external, link_virtual, link_raw])
@pytest.mark.parametrize("how", ["up", "absolute", "symlink", "second step"])
def test_links_that_lead_out_of_the_folder_are_refused(tmp_path, link, how):
    inside = tmp_path / "scan"
    inside.mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["image"] = STACK
    (tmp_path / "secret.raw").write_bytes(STACK.tobytes())
    name = {"absolute": str(tmp_path / "secret.h5"), "symlink": "here.h5"}.get(how, "../secret.h5")
    if how == "symlink":
        for end in ("h5", "raw"):
            (inside / f"here.{end}").symlink_to(tmp_path / f"secret.{end}")
    with h5py.File(inside / ("a.h5" if how != "second step" else "b.h5"), "w") as file:
        link(file, name)
    if how == "second step":
        with h5py.File(inside / "a.h5", "w") as file:
            file["entry/data/data"] = h5py.ExternalLink("b.h5", "entry/data/data")
    with pytest.raises(ScanError, match="outside its own folder"):
        open_scan(inside / "a.h5")


def test_links_in_a_circle_and_to_nothing_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = h5py.SoftLink("/entry/data/other")
        file["entry/data/other"] = h5py.SoftLink("/entry/data/data")
    with pytest.raises(ScanError, match="round in a circle"):
        open_scan(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["entry/data/data"] = h5py.SoftLink("/nowhere")
    with pytest.raises(ScanError, match="no stack of projections"):
        open_scan(tmp_path / "b.h5")


def test_a_cut_off_file_is_one_sentence(tmp_path):
    content = write_nxtomo(tmp_path / "a.h5").read_bytes()
    said = set()
    for size in range(0, len(content), len(content) // 17):
        (tmp_path / "cut.h5").write_bytes(content[:size])
        try:
            scan = open_scan(tmp_path / "cut.h5")
            frames = scan.frames[:]
        except ScanError as error:
            said.add(str(error))
            continue
        np.testing.assert_array_equal(frames, STACK[2:6])
    assert said
    assert all("cut.h5" in sentence and "\n" not in sentence for sentence in said)


def test_damaged_pieces_and_giants_are_said(tmp_path):
    path = write_nxtomo(tmp_path / "a.h5", chunks=(1, 33, 40), compression="gzip")
    with h5py.File(path) as file:
        data = file["entry/instrument/detector/data"]
        place = data.id.get_chunk_info_by_coord((3, 0, 0)).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.frame(0), STACK[2])
    with pytest.raises(ScanError, match=r"Projection 1 of a\.h5 cannot be read"):
        scan.frame(1)
    for shape, chunks, words in [
        ((2, 1 << 20, 1 << 20), (1, 64, 64), "more than 2 GB each"),
        ((1 << 14, 512, 512), (1 << 13, 512, 512), "in pieces of more than 2 GB"),
    ]:
        with h5py.File(tmp_path / "bomb.h5", "w") as file:
            file.create_dataset("entry/data/data", shape, "u2", chunks=chunks, compression="gzip")
        with pytest.raises(ScanError, match=words):
            open_scan(tmp_path / "bomb.h5")


def test_a_missing_filter_names_its_package(tmp_path, monkeypatch):
    path = write_eiger(tmp_path)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number < 32000)
    monkeypatch.setitem(__import__("sys").modules, "hdf5plugin", None)
    with pytest.raises(ScanError, match="run 'pip install hdf5plugin'"):
        open_scan(path)


def test_opening_reads_no_projection(tmp_path, monkeypatch):
    path = write_nxtomo(tmp_path / "a.nxs")
    monkeypatch.setattr(
        "napari_labdct.io.nexus.Hdf5Frames.read", lambda *a: pytest.fail("a frame was read")
    )
    assert open_scan(path).n_frames == 4
