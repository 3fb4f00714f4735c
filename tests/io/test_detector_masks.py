"""A detector mask in `scan.yaml`: polygons or a file, read, kept, and refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct.cli import main
from napari_labdct.core.errors import ScanError
from napari_labdct.io import open_scan
from napari_labdct.io.detector_masks import keep_mask
from napari_labdct.io.scan_yaml import write_scan_yaml

SHAPE = (40, 50)


@pytest.fixture
def folder(tmp_path):
    """Five projections, a mask beside them."""
    folder = tmp_path / "run"
    folder.mkdir()
    for k, frame in enumerate(np.random.default_rng(0).poisson(300, (5, *SHAPE))):
        tifffile.imwrite(folder / f"p_{k}.tif", frame.astype(np.uint16))
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:20, 30:] = 7
    tifffile.imwrite(folder / "bad.tif", mask)
    return folder


@pytest.mark.parametrize("frames", ["", "frames: '*.tif'\n"])
@pytest.mark.parametrize("start", ["folder", "scan.yaml", "file"])
def test_a_file_named_as_mask_is_no_projection(folder, frames, start, monkeypatch):
    (folder / "scan.yaml").write_text(f"{frames}mask: bad.tif\n")
    monkeypatch.chdir("/")
    given = {"folder": folder, "scan.yaml": folder / "scan.yaml", "file": folder / "p_0.tif"}[start]
    scan = open_scan(given)
    assert scan.n_frames == (1 if start == "file" else 5)
    expected = np.zeros(SHAPE, bool)
    expected[10:20, 30:] = True
    np.testing.assert_array_equal(scan.detector_mask, expected)
    assert "(bad.tif)" in scan.about_mask()


def test_arrays_of_numpy_and_polygons_are_masks_too(folder):
    (folder / "bad.tif").unlink()
    np.save(folder / "bad.npy", np.eye(*SHAPE))
    (folder / "scan.yaml").write_text("mask: bad.npy\n")
    assert open_scan(folder).detector_mask.sum() == 40
    (folder / "scan.yaml").write_text("mask: [[5, 5], [5, 15], [15, 15], [15, 5]]\n")
    mask = open_scan(folder).detector_mask
    assert mask[10, 10]
    assert 81 <= mask.sum() <= 121
    (folder / "scan.yaml").write_text("mask: none\n")
    assert open_scan(folder).detector_mask is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("nowhere.tif", "nowhere.tif does not exist"),
        ("small.tif", "has 3 x 4 pixels, but the projections of 'run' have 40 x 50"),
        ("full.tif", "leaves out every pixel"),
        ("several.tif", "must be one image"),
        ("notes.txt", "must be a TIFF or .npy image"),
        ("broken.npy", "broken.npy cannot be read"),
        ("5", "must be a file name, polygons or 'none'"),
        ("[[1, 2], [3, 4]]", "at least three"),
    ],
)
def test_masks_that_cannot_be_are_refused_in_words(folder, mask, words):
    (folder / "bad.tif").unlink()
    masks = folder / "masks"
    masks.mkdir()
    tifffile.imwrite(masks / "small.tif", np.zeros((3, 4), np.uint8))
    tifffile.imwrite(masks / "full.tif", np.ones(SHAPE, np.uint8))
    tifffile.imwrite(masks / "several.tif", np.zeros((2, *SHAPE), np.uint8))
    (masks / "notes.txt").write_text("no")
    (masks / "broken.npy").write_bytes(b"\x93NUMPY")
    name = f"masks/{mask}" if mask.endswith(("tif", "txt", "npy")) else mask
    (folder / "scan.yaml").write_text(f"mask: {name}\n")
    with pytest.raises(ScanError, match=words):
        open_scan(folder)


def test_a_mask_is_kept_beside_scan_yaml_and_read_again(folder):
    mine = np.zeros(SHAPE, bool)
    mine[:4, 7] = True
    (folder / "bad.tif").rename(folder / "detector_mask.tif")  # of somebody else
    before = (folder / "detector_mask.tif").read_bytes()
    names = sorted(p for p in folder.glob("p_*.tif"))
    scan = keep_mask(open_scan(names).replace(mask=mine), folder)
    write_scan_yaml(folder / "scan.yaml", scan, ["p_*.tif"])
    assert "mask: detector_mask_2.tif" in (folder / "scan.yaml").read_text()
    assert (folder / "detector_mask.tif").read_bytes() == before
    again = open_scan(folder)
    np.testing.assert_array_equal(again.detector_mask, mine)
    assert keep_mask(again, folder).description == again.description
    mine[0, 0] = True
    kept = keep_mask(again.replace(mask=mine), folder)
    write_scan_yaml(folder / "scan.yaml", kept, ["p_*.tif"])
    np.testing.assert_array_equal(open_scan(folder / "scan.yaml").mask, mine)
    assert not (folder / "detector_mask_3.tif").exists()


def test_info_tells_of_the_mask(folder, capsys):
    (folder / "scan.yaml").write_text("mask: bad.tif\n")
    assert main(["info", str(folder)]) == 0
    assert "detector mask: 10 % of the pixels left out (bad.tif)" in capsys.readouterr().out
