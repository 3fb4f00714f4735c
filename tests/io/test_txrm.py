"""Zeiss .txrm and .xrm: what is in the file arrives, and damage is said in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import txrm2tiff
from ole_writer import floats, ints, txrm_streams, write_ole

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.txrm import read_reference

STACK = np.random.default_rng(1).integers(0, 60_000, (5, 60, 70)).astype(np.uint16)


def write(path, stack=STACK, scattered=False, more=None, **changes):
    return write_ole(path, {**txrm_streams(stack, **changes), **(more or {})}, scattered)


@pytest.mark.parametrize("scattered", [False, True], ids=["in order", "scattered"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.uint8])
def test_every_pixel_arrives_as_another_reader_reads_it(tmp_path, dtype, scattered):
    stack = (STACK >> 8).astype(dtype)
    path = write(tmp_path / "iron.txrm", stack, scattered)
    scan = open_scan(path)
    assert scan.dtype == dtype
    np.testing.assert_array_equal(scan.frames[:], stack)
    with txrm2tiff.open_txrm(path, load_images=True, load_reference=False) as other:
        np.testing.assert_array_equal(other.get_images(), scan.frames[:])
    assert scan.orientation == 4  # Zeiss stores the lowest row first; nothing is turned


def test_images_small_enough_for_the_mini_stream_and_more_than_a_hundred(tmp_path):
    stack = np.arange(130 * 6 * 7, dtype=np.uint16).reshape(130, 6, 7)
    scan = open_scan(write(tmp_path / "small.txrm", stack))
    np.testing.assert_array_equal(scan.frames[:], stack)  # ImageData1 and ImageData2
    assert scan.omega_deg[-1] == pytest.approx(-180 + 360 / 130 * 129, abs=1e-4)


def test_what_the_file_knows_is_taken_over(tmp_path):
    scan = open_scan(write(tmp_path / "iron.txrm"))
    d = scan.description
    np.testing.assert_allclose(scan.omega_deg, -180 + 72 * np.arange(5))
    assert (d.source_sample_mm, d.sample_detector_mm) == (20, 30)  # the sign is only a side
    assert d.pixel_um == pytest.approx(1.344 * 50 / 20)  # at the detector, not at the sample
    assert (d.tube_kv, d.exposure_s, d.binning) == (160, 45, 2)
    assert scan.geometry().magnification == pytest.approx(2.5)
    names = ("omega_deg", "pixel_um", "source_sample_mm", "tube_kv", "binning")
    assert {scan.source_of(name) for name in names} == {"from the file"}
    assert scan.source_of("material") == ""
    details = dict(scan.known.details)
    assert details["date"] == "06/26/23 12:04:11"
    assert details["images"] == "one exposure each"
    assert scan.notes == ()


def test_scan_yaml_counts_where_it_speaks_and_a_contradiction_is_said(tmp_path):
    write(tmp_path / "iron.txrm")
    (tmp_path / "scan.yaml").write_text("frames: iron.txrm\npixel_um: 3.4\nmaterial: Fe\n")
    for source in (tmp_path, tmp_path / "iron.txrm", tmp_path / "scan.yaml"):
        scan = open_scan(source)
        assert scan.description.pixel_um == 3.4
        assert scan.description.material == "Fe"
        assert scan.description.tube_kv == 160
        assert scan.source_of("pixel_um") == ""
        assert scan.source_of("tube_kv") == "from the file"
        assert scan.omega_deg is not None
        (note,) = scan.notes
        assert "pixel_um: 3.4, the file says 3.36" in note


def test_averaged_images_references_and_shifts_are_told_and_not_applied(tmp_path):
    flat = np.full((60, 70), 1000, np.uint16)
    more = {
        "ReferenceData/Image": flat.tobytes(), "ReferenceData/DataType": ints(5),
        "Alignment/X-Shifts": floats(*[-1.5] * 5),
    }  # fmt: skip
    path = write(tmp_path / "a.txrm", more=more, CameraNumberOfFramesPerImage=ints(8))
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.frames[:], STACK)
    details = dict(scan.known.details)
    assert details["images"] == "mean of 8 exposures each"
    assert details["reference image"] == "in the file, not applied"
    assert details["shifts of the stage"] == "up to 1.5 px, not applied"
    np.testing.assert_array_equal(read_reference(path), flat)
    assert read_reference(write(tmp_path / "b.txrm")) is None


def test_a_folder_of_xrm_images_is_one_scan(tmp_path):
    for k in range(4):
        streams = txrm_streams(STACK[k : k + 1], Angles=floats(10.0 * k))
        write_ole(tmp_path / f"view{k + 8}.xrm", streams)
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.frames[:], STACK[:4])
    np.testing.assert_allclose(scan.omega_deg, [0, 10, 20, 30])
    assert scan.description.tube_kv == 160


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Angles": floats(1, 2, 3)}, "3 angles for 5 projections, so projections 3 to 4 have"),
        ({"Angles": floats(1, 2, 3, 4)}, "so projection 4 has none"),
        ({"Angles": floats(1, 2, np.nan, 4, 5)}, "angle of projection 2 is not a number"),
        ({"Angles": floats(1, 2, 2, 3, 4)}, "same angle: 1 and 2 (2 deg)"),
        ({"Angles": floats(1, 2, 5, 4, 6)}, "turn back at projection 3"),
        ({"NoOfImages": ints(181)}, "holds 5 of the 181 projections that were planned"),
        ({"Voltage": floats(-4.0)}, "tube voltage as -4, which cannot be"),
        ({"StoRADistance": None}, "no distances"),
        ({"MosiacRows": ints(3)}, "mosaic"),
        ({"ExpTimes": floats(1, 1, 2, 1, 1)}, "exposure changes"),
    ],
    ids=str,
)
def test_what_is_odd_is_said_and_the_scan_opens(tmp_path, changes, words):
    scan = open_scan(write(tmp_path / "iron.txrm", **changes))
    assert any(words in note for note in scan.notes), scan.notes
    np.testing.assert_array_equal(scan.frame(4), STACK[4])


def test_reversed_angles_are_an_order_like_any_other(tmp_path):
    scan = open_scan(write(tmp_path / "a.txrm", Angles=floats(180, 90, 0, -90, -179)))
    assert scan.notes == ()
    assert scan.omega_deg[0] == 180


def test_radians_are_not_taken_for_degrees_without_a_word(tmp_path):
    stack = np.zeros((40, 6, 7), np.uint16)
    angles = floats(*np.linspace(0, 2 * np.pi, 40, endpoint=False))
    scan = open_scan(write(tmp_path / "a.txrm", stack, Angles=angles))
    assert any("looks like radians" in note for note in scan.notes)


@pytest.mark.parametrize("scattered", [False, True])
def test_a_cut_off_file_never_opens_as_another_scan(tmp_path, scattered):
    content = write(tmp_path / "a.txrm", scattered=scattered).read_bytes()
    said = set()
    for size in [*range(0, len(content), 1999), len(content) - 513, len(content) - 600]:
        (tmp_path / "cut.txrm").write_bytes(content[:size])
        try:
            scan = open_scan(tmp_path / "cut.txrm")  # said here, not when a projection is read
        except ScanError as error:
            said.add(str(error))
            continue
        assert len(content) - size < 512  # the last sector is longer than what it holds
        np.testing.assert_array_equal(scan.frames[:], STACK)
    assert said
    assert all("cut.txrm" in sentence and "\n" not in sentence for sentence in said)


def test_random_damage_gives_pixels_or_one_sentence(tmp_path):
    content = bytearray(write(tmp_path / "a.txrm").read_bytes())
    rng, said = np.random.default_rng(5), set()
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 9000), 8):
            damaged[place] = rng.integers(256)
        (tmp_path / "b.txrm").write_bytes(damaged)
        try:
            scan = open_scan(tmp_path / "b.txrm")
            for k in range(scan.n_frames):
                scan.frames[k]
        except ScanError as error:
            said.add(str(error))
    assert said
    assert not [sentence for sentence in said if "\n" in sentence]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageHeight": None}, "no ImageInfo"),
        ({"DataType": ints(12)}, "unknown type"),
        ({"ImageHeight": ints(61)}, "Image 1 of a.txrm has 8400 bytes instead of 8540"),
        ({"ImageHeight": ints(1 << 20), "ImageWidth": ints(1 << 20)}, "more than 2 GB each"),
        ({"ImageHeight": ints(-5)}, "damaged"),
    ],
    ids=str,
)
def test_files_that_are_no_scan_are_refused(tmp_path, changes, words):
    path = write(tmp_path / "a.txrm", **changes)
    with pytest.raises(ScanError, match=words):
        open_scan(path)


def test_a_text_is_no_zeiss_file_and_a_missing_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.txrm").write_text("Dear colleague")
    with pytest.raises(ScanError, match="not a Zeiss file"):
        open_scan(tmp_path / "a.txrm")
    monkeypatch.setitem(__import__("sys").modules, "olefile", None)
    with pytest.raises(ScanError, match="run 'pip install olefile'"):
        open_scan(write(tmp_path / "b.txrm"))


def test_opening_reads_no_projection(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txrm")
    monkeypatch.setattr(
        "napari_labdct.io.txrm.TxrmFrames.read", lambda *a: pytest.fail("a frame was read")
    )
    assert open_scan(path).n_frames == 5


def test_the_table_of_sectors_is_read_in_time_that_grows_with_it(tmp_path, monkeypatch):
    """olefile copies the whole table for every sector of it: minutes for a file of 1.5 GB."""
    import olefile

    stack = np.zeros((3, 2000, 2000), np.uint16)
    path = write(tmp_path / "a.txrm", stack)  # 24 MB: more sectors than the header has room for
    monkeypatch.setattr(
        olefile.OleFileIO, "loadfat_sect", lambda *a: pytest.fail("the slow way was taken")
    )
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.frame(2), stack[2])
