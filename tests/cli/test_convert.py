"""``labdct convert``: scans, masks, labels and tables in the formats of other programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from ole_writer import txrm_streams, write_ole

from napari_labdct import cli
from napari_labdct.cli.convert import KINDS, Kind
from napari_labdct.core.recipes import recipe_beside
from napari_labdct.io import open_scan
from napari_labdct.io.spot_tables import read_table, write_csv, write_hdf5
from napari_labdct.review.review import REVIEW_DTYPE

STACK = np.random.default_rng(3).integers(0, 4000, (5, 60, 70)).astype(np.uint16)


def convert(*words) -> int:
    return cli.main(["convert", *map(str, words)])


@pytest.fixture
def zeiss(tmp_path):
    return write_ole(tmp_path / "iron.txrm", txrm_streams(STACK))


@pytest.fixture
def table():
    made = np.zeros(3, REVIEW_DTYPE)
    made["id"], made["row"], made["area_px"] = [1, 2, 5], [2.5, 7.25, 9], 12
    made["omega_deg"], made["significance"] = 30, 7
    return made


@pytest.mark.parametrize("end", [".ome.tif", ".ome.zarr", ".nxs", ".edf"])
def test_a_zeiss_scan_goes_to_other_formats_with_what_it_knows(tmp_path, zeiss, end, capsys):
    out = tmp_path / "out" / f"iron{end}"
    assert convert(zeiss, out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    before, after = open_scan(zeiss), open_scan(out)
    np.testing.assert_array_equal(after.frames[:], STACK)
    np.testing.assert_allclose(after.omega_deg, before.omega_deg)
    assert after.description == before.description
    assert after.orientation == 4
    there = sorted(p.read_bytes() for p in out.parent.rglob("*") if p.is_file())
    assert convert(zeiss, out) == 0
    assert sorted(p.read_bytes() for p in out.parent.rglob("*") if p.is_file()) == there
    tifffile.imwrite(tmp_path / "other.tif", STACK[:, ::-1])
    assert convert(tmp_path / "other.tif", out) == 1
    assert "already holds something else" in capsys.readouterr().err
    assert sorted(p.read_bytes() for p in out.parent.rglob("*") if p.is_file()) == there
    assert convert(tmp_path / "other.tif", out, "--overwrite") == 0
    np.testing.assert_array_equal(open_scan(out).frames[:], STACK[:, ::-1])
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_a_plain_tiff_says_what_it_loses_and_a_mask_keeps_its_recipe(tmp_path, zeiss, capsys):
    assert convert(zeiss, tmp_path / "iron.tif") == 0
    assert "no place for angles" in capsys.readouterr().err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "iron.tif"), STACK)
    mask = np.where(STACK > 2000, 255, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    recipe = {"job": "routine", "settings": {"sigma_px": 2}}
    (tmp_path / "mask.tif.json").write_text(json.dumps({"recipe": recipe}))
    assert convert(tmp_path / "mask.tif", tmp_path / "mask.edf") == 0
    np.testing.assert_array_equal(open_scan(tmp_path / "mask.edf").frames[:], mask)
    assert recipe_beside(tmp_path / "mask.edf") == recipe


def test_several_files_and_a_data_set_inside_a_file(tmp_path):
    for k in range(3):
        tifffile.imwrite(tmp_path / f"p{k}.tif", STACK[k])
    assert convert(*(tmp_path / f"p{k}.tif" for k in (2, 0, 1)), tmp_path / "all.nxs") == 0
    inside = f"{tmp_path / 'all.nxs'}::/entry/instrument/detector/data"
    assert convert(inside, tmp_path / "all.edf") == 0
    np.testing.assert_array_equal(open_scan(tmp_path / "all.edf").frames[:], STACK[:3])


@pytest.mark.parametrize("end", [".csv", ".h5", ".parquet"])
def test_tables_go_from_format_to_format(tmp_path, table, end):
    write_csv(tmp_path / "s.csv", table, {"job": "spots"})
    path = tmp_path / f"t{end}"
    assert convert(tmp_path / "s.csv", path) == 0
    back, recipe = read_table(path, REVIEW_DTYPE)
    assert recipe == {"job": "spots"}
    for name in REVIEW_DTYPE.names:
        np.testing.assert_array_equal(back[name], table[name])
    assert convert(path, tmp_path / "s.flt") == 0
    rows = np.loadtxt(tmp_path / "s.flt")
    np.testing.assert_allclose(rows[:, 0], [2.5, 7.25, 9])


def test_labels_of_a_table_with_images_go_to_a_stack(tmp_path, table):
    labels = np.zeros((2, 20, 20), np.int32)
    labels[0, 3:5, 3:6], labels[1, 9, 9] = 2, 5
    write_hdf5(tmp_path / "s.h5", table, {}, iter(labels), labels.shape)
    assert convert(tmp_path / "s.h5", tmp_path / "labels.edf") == 0
    np.testing.assert_array_equal(open_scan(tmp_path / "labels.edf").frames[:], labels)


def test_what_cannot_be_converted_is_said_in_one_sentence(tmp_path, zeiss, table, capsys):
    write_csv(tmp_path / "s.csv", table, {})
    (tmp_path / "letter.txt").write_text("Dear colleague")
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    for source, target, words in [
        (tmp_path / "none.tif", "a.edf", "does not exist"),
        (tmp_path / "letter.txt", "a.edf", "nothing that can be converted"),
        (zeiss, "a.txrm", "one of the ends .ome.tif"),
        (zeiss, "a.png", "holds a stack of projections"),
        (tmp_path / "s.csv", "a.edf", "holds a table of spots; name the output"),
        (tmp_path / "wrong.csv", "a.flt", "no usable column"),
        (zeiss, zeiss.name.replace("txrm", "txrm/a.edf"), "Cannot write"),
    ]:
        assert convert(source, tmp_path / target) == 1, words
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert words in said
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("a.")]


def test_an_output_over_its_own_input_is_refused(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    assert convert(tmp_path / "a.tif", tmp_path / "a.tif", "--overwrite") == 1
    assert "read by this job" in capsys.readouterr().err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), STACK)


def test_another_package_adds_a_kind(tmp_path):
    def shouted(sources, target, overwrite):
        target.write_text(sources[0].upper())
        return target

    KINDS.register("words", Kind("words", lambda p: p.suffix == ".txt", lambda: [".loud"], shouted))
    try:
        (tmp_path / "a.txt").touch()
        assert convert(tmp_path / "a.txt", tmp_path / "b.loud") == 0
        assert (tmp_path / "b.loud").read_text().endswith("A.TXT")
    finally:
        KINDS.forget("words")
