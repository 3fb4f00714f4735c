"""A format from outside the package opens like ours; ends of names say what is a scan."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.formats import FORMATS, Format, dialog_filter, format_of
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

FRAMES = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)


def open_toy(path):
    frames = np.load(path)
    omega = 10.0 * np.arange(len(frames))
    return Scan(frames, omega, ScanDescription(tube_kv=140.0), name="toy")


@pytest.fixture
def toy():
    """Files that end in .toy hold a NumPy array of projections."""
    FORMATS.register("toy", Format((".toy",), open_toy, lambda p: p.stat().st_size > 0))
    yield
    FORMATS.forget("toy")


def write_toy(path, frames=FRAMES):
    with path.open("wb") as file:
        np.save(file, frames)
    return path


def test_a_format_from_outside_opens_and_is_offered(toy, tmp_path):
    path = write_toy(tmp_path / "iron.TOY")
    scan = open_scan(path)
    assert scan.name == "iron"
    np.testing.assert_array_equal(scan.frame(2), FRAMES[2])
    assert format_of(path).is_scan(path)
    assert dialog_filter().endswith("*.toy)")


def test_folders_and_lists_of_any_format_are_one_scan(toy, tmp_path):
    paths = [write_toy(tmp_path / f"part{k}.toy", FRAMES + k) for k in (9, 10)]
    for source in (tmp_path, paths[::-1]):  # natural order
        scan = open_scan(source)
        assert scan.n_frames == 6
        np.testing.assert_array_equal(scan.frames[2:4], np.stack([FRAMES[2] + 9, FRAMES[0] + 10]))
        np.testing.assert_array_equal(scan.omega_deg, [0, 10, 20, 0, 10, 20])
        assert scan.source_of("tube_kv") == "from the file"
        assert any("same angle: 0 and 3" in note for note in scan.notes)
    write_toy(tmp_path / "part11.toy", FRAMES[:, :3])
    with pytest.raises(ScanError, match=r"part11\.toy is 3 x 5 uint16, but part9\.toy is 4 x 5"):
        open_scan(tmp_path)


def test_a_scan_yaml_beside_a_format_from_outside_counts(toy, tmp_path):
    path = write_toy(tmp_path / "a.toy")
    (tmp_path / "scan.yaml").write_text("frames: a.toy\nomega_deg: {start: 5, step: 1}\n")
    for source in (tmp_path, path):
        scan = open_scan(source)
        assert scan.omega_deg[0] == 5
        assert scan.source_of("omega_deg") == ""
        assert scan.description.tube_kv == 140


def test_tiffs_come_before_other_kinds_and_several_others_are_asked_about(toy, tmp_path):
    FORMATS.register("other", Format((".other",), open_toy, words="Other"))
    try:
        for name in ("a.toy", "b.other"):
            write_toy(tmp_path / name)
        with pytest.raises(ScanError, match="several kinds of files"):
            open_scan(tmp_path)
        with pytest.raises(ScanError, match="of several kinds"):
            open_scan([tmp_path / "a.toy", tmp_path / "b.other"])
        tifffile.imwrite(tmp_path / "c.tif", FRAMES[0] + 7)
        assert open_scan(tmp_path).n_frames == 1
    finally:
        FORMATS.forget("other")


def test_the_longest_end_of_a_name_counts(toy, tmp_path):
    FORMATS.register("packed", Format((".packed.toy",), open_toy))
    try:
        assert format_of("a.packed.toy") is FORMATS["packed"]
        assert format_of("packed.toy") is FORMATS["toy"]
        assert format_of(".toy") is None  # a hidden file without a name
        scan = open_scan(write_toy(tmp_path / "iron.packed.toy"))
        assert scan.name == "iron"
    finally:
        FORMATS.forget("packed")


def test_of_two_formats_with_one_end_the_one_that_knows_the_file_opens_it(toy, tmp_path):
    def broken(path):
        raise RuntimeError("a guess of somebody else")

    FORMATS.register("rival", Format((".toy",), broken, lambda path: path.name.startswith("r")))
    FORMATS.register("worse", Format((".toy",), broken, broken))
    try:
        (tmp_path / "r.toy").touch()
        assert format_of(tmp_path / "r.toy") is FORMATS["rival"]
        assert format_of(write_toy(tmp_path / "a.toy")) is FORMATS["toy"]
    finally:
        FORMATS.forget("rival")
        FORMATS.forget("worse")


def test_a_stack_inside_a_file_is_asked_only_of_formats_that_have_such(toy, tmp_path):
    path = write_toy(tmp_path / "a.toy")
    with pytest.raises(ScanError, match="leave out '::/x'"):
        open_scan(f"{path}::/x")


def test_ours_come_first_and_what_nobody_knows_is_said(tmp_path):
    assert list(FORMATS)[:2] == ["tiff", "scan.yaml"]
    assert dialog_filter().startswith("Projections (*.tif *.tiff *.yaml *.yml")
    assert format_of("a.png") is None
    (tmp_path / "a.png").touch()
    with pytest.raises(ScanError, match="not a TIFF"):
        open_scan(tmp_path / "a.png")


def test_angles_that_names_tell_in_words_are_taken_and_others_offered(tmp_path):
    for k in range(3):
        tifffile.imwrite(tmp_path / f"iron_{k:03d}_omega_{12.5 * k}.tif", FRAMES[k])
    scan = open_scan(tmp_path)
    np.testing.assert_array_equal(scan.omega_deg, [0, 12.5, 25])
    assert scan.source_of("omega_deg") == "from the file names"
    (tmp_path / "signs").mkdir()
    for k in range(3):
        tifffile.imwrite(tmp_path / "signs" / f"view_{60 * k - 60}.tif", FRAMES[k])
    scan = open_scan(tmp_path / "signs")
    assert scan.omega_deg is None
    assert "-60 to 60 deg" in scan.notes[0]
