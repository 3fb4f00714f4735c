"""``labdct compare``: the library's numbers, on paper."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct.cli import main
from napari_labdct.cli.common import EITHER, check_stack
from napari_labdct.evaluation.comparison import Comparison, compare, open_segmentation, read_numbers
from napari_labdct.io import open_scan, write_frames


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(6)
    frames = random.poisson(150, (5, 64, 72)).astype(np.uint16)
    masks = np.zeros((2, 5, 64, 72), np.uint8)
    for k in range(5):
        masks[0, k, 8 * k + 4 : 8 * k + 8, 10:14] = 255
        masks[1, k, 8 * k + 4 : 8 * k + 8, 11:15] = 255
        masks[1, k, 8 * k + 4 : 8 * k + 7, 50:53] = 255
    frames += masks.max(axis=0) // 2
    write_frames(tmp_path / "scan.tif", frames)
    write_frames(tmp_path / "a.tif", masks[0])
    write_frames(tmp_path / "b.tif", masks[1])
    return tmp_path


def test_numbers_tables_pictures_and_report(folder, capsys):
    arguments = ["compare", str(folder / "a.tif"), str(folder / "b.tif"), "--scan",
                 str(folder / "scan.tif"), "--truth", str(folder / "b.tif"), "-o",
                 str(folder / "out")]  # fmt: skip
    assert main(arguments) == 0
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert said["both"] == "5"
    scan = open_scan(folder / "scan.tif")
    a, b = (open_segmentation(folder / f"{n}.tif") for n in "ab")
    result = Comparison()
    for one in compare(scan, a, b, b):
        result.add(one)
    numbers = read_numbers(folder / "out" / "summary.csv")
    assert numbers == pytest.approx(result.numbers(), rel=1e-5, nan_ok=True)
    assert numbers["recall_a_truth"] == 0.5
    page = (folder / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page
    assert (folder / "out" / "figure_1.png").exists()


def test_a_cleaned_stack_is_cut_and_named(folder, capsys):
    import json

    cleaned = np.zeros((5, 64, 72), np.uint8)
    cleaned[:, 10:14, 10:14], cleaned[:, 30:34, 30:34], cleaned[:, 50:54, 50:54] = 200, 110, 60
    tifffile.imwrite(folder / "c.tif", cleaned, photometric="minisblack")
    recipe = {"job": "denoise", "model": {"name": "gone", "threshold": 100}}
    (folder / "c.tif.json").write_text(json.dumps({"recipe": recipe}))
    tail = [str(folder / "b.tif"), "--scan", str(folder / "scan.tif"), "-o", str(folder / "o")]
    assert main(["compare", str(folder / "c.tif"), *tail]) == 0
    assert "spots_a: 10\n" in capsys.readouterr().out
    assert main(["compare", str(folder / "c.tif"), *tail, "--threshold", "50"]) == 1
    assert "already holds something else" in capsys.readouterr().err
    assert main(["compare", str(folder / "c.tif"), *tail, "--threshold", "50", "--overwrite"]) == 0
    assert "spots_a: 15\n" in capsys.readouterr().out
    assert "binarise.threshold" in (folder / "o" / "report.html").read_text()


def test_masks_of_another_scan_are_refused_in_one_sentence(folder, capsys):
    write_frames(folder / "short.tif", np.zeros((3, 64, 72), np.uint8))
    arguments = ["compare", str(folder / "short.tif"), str(folder / "b.tif"), "--scan",
                 str(folder / "scan.tif"), "-o", str(folder / "out")]  # fmt: skip
    assert main(arguments) == 1
    assert "has shape (3, 64, 72), but the scan has 5 projections" in capsys.readouterr().err


@pytest.mark.parametrize("at", [0, 1, 3])
def test_masks_of_another_size_are_refused_before_anything_is_written(folder, capsys, at):
    tifffile.imwrite(folder / "small.tif", np.zeros((5, 16, 18), np.uint8))
    paths = ["a.tif", "b.tif", "scan.tif", "b.tif"]
    paths[at] = "small.tif"
    a, b, scan, truth = (str(folder / name) for name in paths)
    out = folder / "out"
    assert main(["compare", a, b, "--scan", scan, "--truth", truth, "-o", str(out)]) == 1
    assert "16 x 18 pixels, but the projections of 'scan' have 64 x 72" in capsys.readouterr().err
    assert not out.exists()


def test_a_coarse_stack_of_this_very_scan_is_compared(folder, capsys):
    import json

    tifffile.imwrite(folder / "small.tif", np.zeros((5, 16, 18), np.uint8))
    recipe = {"job": "binarise", "input": {"id": open_scan(folder / "scan.tif").identity()}}
    (folder / "small.tif.json").write_text(json.dumps(recipe))
    check_stack(
        str(folder / "small.tif"), open_segmentation(folder / "small.tif").masks,
        open_scan(folder / "scan.tif"), EITHER, coarse=True,
    )  # fmt: skip
    assert capsys.readouterr().err == ""
