from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_labdct.core.errors import OutputError, ScanError
from napari_labdct.io import (
    open_scan,
    read_scan_yaml,
    read_spot_csv,
    write_frames,
    write_scan_yaml,
    write_spot_csv,
)
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.measurement import SPOT_DTYPE


def test_written_frames_are_read_back_with_their_orientation(tmp_path):
    stack = np.random.default_rng(0).integers(0, 2, (3, 9, 8)).astype(np.uint8) * 255
    path = write_frames(tmp_path / "mask.tif", iter(stack), orientation=4, compression="zlib")
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.frames[:], stack)
    assert scan.orientation == 4
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 3


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path):
    path = write_frames(tmp_path / "mask.tif", [np.zeros((4, 4), np.uint8)])
    before = path.read_bytes()

    def broken():
        yield np.ones((4, 4), np.uint8)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_frames(path, broken())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"]


@pytest.mark.parametrize("known", ["length", "count", "nothing"])
def test_a_file_that_may_pass_the_limit_of_a_plain_tiff_is_a_bigtiff(tmp_path, monkeypatch, known):
    stack = np.random.default_rng(2).integers(0, 99, (3, 9, 8)).astype(np.uint8)
    path, count = tmp_path / "mask.tif", 3 if known == "count" else None
    for limit in (stack.nbytes, stack.nbytes - 1):
        monkeypatch.setattr("napari_labdct.io.tiff._CLASSIC_BYTES", limit)
        write_frames(path, stack if known == "length" else (i for i in stack), count=count)
        with tifffile.TiffFile(path) as tif:
            assert tif.is_bigtiff == (limit < stack.nbytes and known != "nothing")
        np.testing.assert_array_equal(open_scan(path).frames[:], stack)


def test_a_plain_tiff_that_is_full_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **options):
        raise struct.error("'I' format requires 0 <= number <= 4294967295")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(OutputError, match="passes the 4 GB of a plain TIFF; write fewer"):
        write_frames(tmp_path / "mask.tif", (image for image in np.zeros((2, 4, 4), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another folder"):
        write_frames(tmp_path / "file" / "mask.tif", [np.zeros((4, 4), np.uint8)])
    with pytest.raises(OutputError, match="choose another folder"):
        write_spot_csv(tmp_path / "file" / "spots.csv", [np.zeros(1, SPOT_DTYPE)])


def test_spot_tables_survive_the_csv(tmp_path):
    rng = np.random.default_rng(1)
    table = np.zeros(7, SPOT_DTYPE)
    for name in SPOT_DTYPE.names:
        table[name] = rng.integers(0, 2 if SPOT_DTYPE[name].kind == "b" else 900, 7)
    table["omega_deg"] = np.nan
    path = write_spot_csv(tmp_path / "spots.csv", [table[:3], table[3:3], table[3:]])
    back = read_spot_csv(path, SPOT_DTYPE)
    for name in SPOT_DTYPE.names:
        np.testing.assert_allclose(back[name], table[name], rtol=1e-5)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ScanError, match="no usable column"):
        read_spot_csv(tmp_path / "other.csv", SPOT_DTYPE)


number = st.floats(1, 500).map(lambda v: round(v, 4))
corner = st.tuples(st.integers(0, 90), st.integers(0, 90))


@given(
    pixel_um=st.none() | number,
    source_sample_mm=st.none() | number,
    detector_center_px=st.none() | st.tuples(number, number),
    detector_tilt_deg=st.tuples(*[st.floats(-5, 5)] * 3),
    beam_stop_px=st.lists(st.lists(corner, min_size=3, max_size=6), max_size=2),
    material=st.none() | st.sampled_from(["Fe", "Al", str(Path("Ti.cif").absolute())]),
    omega=st.none() | st.lists(st.floats(-360, 360), min_size=4, max_size=4),
)
def test_scan_yaml_round_trip(tmp_path_factory, omega, **fields):
    scan = Scan(np.zeros((4, 8, 8)), omega_deg=omega, description=ScanDescription(**fields))
    path = write_scan_yaml(tmp_path_factory.mktemp("yaml") / "scan.yaml", scan, ["a*.tif"])
    back = read_scan_yaml(path)
    assert back.description == scan.description
    assert back.frames == ["a*.tif"]
    if omega is None:
        assert back.omega is None
    else:
        np.testing.assert_allclose(back.omega_deg(4), omega, atol=2e-6)


def test_a_crystal_file_beside_scan_yaml_belongs_to_its_folder(tmp_path):
    beside = tmp_path / "Ti.cif"
    scan = Scan(np.zeros((4, 8, 8)), description=ScanDescription(material=str(beside)))
    path = write_scan_yaml(tmp_path / "scan.yaml", scan, ["a.tif"])
    assert "material: Ti.cif" in path.read_text()
    assert read_scan_yaml(path).description.material == str(beside)
    moved = tmp_path / "moved"
    moved.mkdir()
    path.rename(moved / "scan.yaml")
    assert read_scan_yaml(moved / "scan.yaml").description.material == str(moved / "Ti.cif")
