from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.io import open_scan
from napari_labdct.io.label_stacks import read_labels
from napari_labdct.io.spot_tables import read_table
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.review.export import spots_recipe
from napari_labdct.review.review import ACCEPTED, REJECTED, REVIEW_DTYPE, Review
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings, binarise
from napari_labdct.spots.detections import Detections
from napari_labdct.spots.measurement import FrameMeasurer

RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    frames = RNG.poisson(200, (5, 64, 70)).astype(np.uint16)
    cleaned = np.zeros(frames.shape, np.uint8)
    routine = np.zeros(frames.shape, np.uint8)
    for i in range(5):
        for k, (r, c) in enumerate([(5, 5), (20, 30), (50, 60)]):
            top = (r + 9 * i) % 58
            box = np.s_[i, top : top + 4, c : c + 4]
            frames[box] += 150
            if k < 2:
                cleaned[box] = 230
            if k > 0:
                routine[box] = 255
    cleaned[:, 40, 10] = 255  # one pixel, too small
    tifffile.imwrite(folder / "scan.tif", frames)
    tifffile.imwrite(folder / "cleaned.tif", cleaned)
    tifffile.imwrite(folder / "routine.tif", routine)
    return folder


def _spots(folder, *more):
    scan, cleaned = str(folder / "scan.tif"), str(folder / "cleaned.tif")
    return cli.main(["spots", scan, "--denoised", cleaned, *map(str, more)])


def test_measures_and_exports_without_a_screen(folder, tmp_path, capsys):
    names = [tmp_path / n for n in ("s.csv", "s.h5", "s.json")]
    outputs = [part for name in names for part in ("-o", name)]
    stacks = ["--binary", tmp_path / "b.tif", "--labels", tmp_path / "l.tif"]
    routine = ["--routine", folder / "routine.tif"]
    assert _spots(folder, *routine, *outputs, *stacks, "--median-window", "5") == 0
    assert str(tmp_path / "b.tif") in capsys.readouterr().out
    tables = [read_table(name, REVIEW_DTYPE) for name in names]
    table, recipe = tables[0]
    assert len(table) == 15
    assert table["found_by"].tolist() == [1, 3, 2] * 5
    assert (table["snr"] > 5).all()
    np.testing.assert_allclose(table["confidence"][:2], 230 / 255, rtol=1e-6)
    assert recipe["settings"] == {"median_window": 5}
    assert recipe["spots"]["network"]["binarise"] == SpotSettings().to_dict()
    for other, _ in tables[1:]:
        np.testing.assert_array_equal(other["snr"], table["snr"])
    masks, labels = tifffile.imread(tmp_path / "b.tif"), tifffile.imread(tmp_path / "l.tif")
    np.testing.assert_array_equal(masks > 0, labels > 0)
    cleaned = tifffile.imread(folder / "cleaned.tif")
    network = binarise(cleaned[1], SpotSettings())
    np.testing.assert_array_equal(
        masks[1] > 0, network | (tifffile.imread(folder / "routine.tif")[1] > 0)
    )


def test_a_review_decides_what_is_written(folder, tmp_path):
    review = Review((5, 64, 70), tmp_path / "a.review.jsonl")
    review.set_status([(0, 1), (3, 2)], REJECTED)
    review.set_status([(1, 1)], ACCEPTED)
    given = ["--review", review.path]
    assert _spots(folder, *given, "-o", tmp_path / "s.csv", "--binary", tmp_path / "b.tif") == 0
    table, _ = read_table(tmp_path / "s.csv", REVIEW_DTYPE)
    assert len(table) == 8
    accepted = ["--keep", "accepted", "-o", tmp_path / "a.h5", "--pairs", tmp_path / "pairs"]
    assert _spots(folder, *given, *accepted) == 0
    table, _ = read_table(tmp_path / "a.h5", REVIEW_DTYPE)
    assert table[["frame", "id"]].tolist() == [(1, 1)]
    assert read_labels(tmp_path / "a.h5")[:].astype(bool).sum() == 16
    assert [p["index"] for p in read_training_pairs(tmp_path / "pairs")] == [0, 1, 3]


def test_a_review_of_other_spots_is_refused(folder, tmp_path, capsys):
    """Ids are labels: at another threshold, or in another scan, they mean other spots."""
    scan, cleaned = open_scan(folder / "scan.tif"), tifffile.imread(folder / "cleaned.tif")
    detections = Detections(BinaryFrames(cleaned, SpotSettings(threshold=96)), None, cleaned)
    for name, of in (("own", scan), ("other", Scan(scan.frames[:][:, ::-1]))):
        about = spots_recipe(of, detections, Review(detections.shape), 11)
        review = Review(detections.shape, tmp_path / f"{name}.review.jsonl", about)
        review.set_status([(0, 1)], ACCEPTED)
    own, other = (["--review", tmp_path / f"{n}.review.jsonl"] for n in ("own", "other"))
    text = tmp_path / "text.txt"
    text.write_text("not a journal")
    out = ["-o", tmp_path / "s.csv"]
    assert _spots(folder, *own, *out, "--threshold", "96") == 0
    for given, words in (
        ([*own, "--threshold", "200"], "cut otherwise"),
        ([*own, "--threshold", "96", "--routine", folder / "routine.tif"], "without the routine"),
        ([*other, "--threshold", "96"], "another scan"),
        (["--review", text], "not a review file"),
    ):
        assert _spots(folder, *given, *out) == 1
        assert words in capsys.readouterr().err
    assert text.read_text() == "not a journal"


def test_only_spots_that_fulfil_a_condition(folder, tmp_path):
    written = ["--where", "row < 30", "-o", tmp_path / "s.csv", "--labels", tmp_path / "l.tif"]
    assert _spots(folder, *written) == 0
    table, recipe = read_table(tmp_path / "s.csv", REVIEW_DTYPE)
    assert 0 < len(table) < 10
    assert recipe["where"] == "row < 30"
    labels = tifffile.imread(tmp_path / "l.tif")
    assert sum(len(np.unique(frame)) - 1 for frame in labels) == len(table)


def test_resized_for_indexing(folder, tmp_path):
    assert _spots(folder, "--binary", tmp_path / "b.tif", "--stack-px", "35") == 0
    assert tifffile.imread(tmp_path / "b.tif").shape == (5, 32, 35)


def test_inputs_are_never_written_over(folder, tmp_path, capsys):
    """Not by another command's result, nor with --overwrite."""
    scan, cleaned = folder / "scan.tif", folder / "cleaned.tif"
    before = scan.read_bytes(), cleaned.read_bytes()
    out = tmp_path / "new.tif"
    for command in (
        ["spots", scan, "--denoised", cleaned, "--binary", scan],
        ["spots", scan, "--denoised", cleaned, "--labels", cleaned],
        ["denoise", scan, "-o", scan, "--overwrite"],
        ["denoise", scan, "-o", out, "--spots", scan],
        ["denoise", scan, "-o", out, "--spots", out],
        ["track", scan, "--denoised", cleaned, "-o", cleaned, "--overwrite"],
        ["routine", scan, "-o", scan, "--overwrite"],
        ["background", scan, "-o", tmp_path / "b.h5", "--frames", scan, "--overwrite"],
    ):
        assert cli.main([str(part) for part in command]) == 1, command
        assert "choose another name" in capsys.readouterr().err
    assert before == (scan.read_bytes(), cleaned.read_bytes())
    assert not list(tmp_path.iterdir())


def test_masks_with_nan_get_a_sentence(folder, tmp_path, capsys):
    masks = np.full((5, 64, 70), np.nan, np.float32)
    tifffile.imwrite(tmp_path / "m.tif", masks)
    given = ["--mask", str(tmp_path / "m.tif"), "-o", str(tmp_path / "s.csv")]
    assert cli.main(["spots", str(folder / "scan.tif"), *given]) == 1
    assert "NaN or negative" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "s.csv"], "--denoised, --mask or --routine"),
        (["--denoised", "C", "--mask", "C", "-o", "s.csv"], "either"),
        (["--denoised", "C"], "what to write"),
        (["--denoised", "C", "-o", "s.xls"], "must end in"),
        (["--denoised", "C", "-o", "s.csv", "--review", "none"], "no review"),
        (["--denoised", "C", "--binary", "b.tif", "--stack-px", "3"], "at least 16"),
        (["--denoised", "C", "--binary", "b.tif", "--stack-px", "100000000"], "at most 32768"),
        (["--mask", "nowhere.tif", "-o", "s.csv"], "does not exist"),
        (["--denoised", "C", "-o", "s.csv", "--where", "snrr > 5"], "no column 'snrr'"),
        (["--denoised", "R", "-o", "s.csv"], "is a mask; give the network result"),
        (["--mask", "SMALL", "-o", "s.csv"], "20 x 20 pixels"),
        (["--denoised", "C", "--routine", "SMALL", "-o", "s.csv"], "20 x 20 pixels"),
    ],
)
def test_faults_are_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite(folder / "small.tif", np.zeros((5, 20, 20), np.uint8))
    names = {"C": "cleaned.tif", "R": "routine.tif", "SMALL": "small.tif"}
    given = [str(folder / names[a]) if a in names else a for a in arguments]
    monkeypatch.setattr(FrameMeasurer, "measure", lambda *_: pytest.fail("measured before"))
    assert cli.main(["spots", str(folder / "scan.tif"), *given]) == 1
    err = capsys.readouterr().err.strip()
    assert words in err
    assert "\n" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["s.csv", "s.h5", "s.json", "s.parquet"])
def test_a_file_of_somebody_else_stays_unless_overwriting(name, folder, tmp_path, capsys):
    out = tmp_path / name
    out.write_text("my notes")
    assert _spots(folder, "-o", out) == 1
    assert "already holds something else" in capsys.readouterr().err
    assert out.read_text() == "my notes"
    assert _spots(folder, "-o", out, "--overwrite") == 0
    assert _spots(folder, "-o", out) == 0  # our own, of the same recipe
    assert _spots(folder, "-o", out, "--threshold", "240") == 1


@pytest.mark.parametrize("given", ["--binary", "--labels"])
def test_a_stack_of_somebody_else_stays_unless_overwriting(given, folder, tmp_path):
    out = tmp_path / "b.tif"
    out.write_text("my notes")
    assert _spots(folder, given, out) == 1
    assert out.read_text() == "my notes"
    assert _spots(folder, given, out, "--overwrite") == 0
    assert _spots(folder, given, out) == 0


def test_images_of_somebody_else_stay_unless_overwriting(folder, tmp_path):
    mine = tmp_path / "frame_0001.tif"
    mine.write_text("mine")
    assert _spots(folder, "--pairs", tmp_path) == 1
    assert mine.read_text() == "mine"
    assert _spots(folder, "--pairs", tmp_path, "--overwrite") == 0
    assert _spots(folder, "--pairs", tmp_path) == 0
