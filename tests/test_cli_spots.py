from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.io.spot_exports import read_labels, read_table, read_training_pairs
from napari_labdct.review import ACCEPTED, REJECTED, REVIEW_DTYPE, Review
from napari_labdct.spots import SpotSettings, binarise

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
    return cli.main(["spots", scan, "--cleaned", cleaned, *map(str, more)])


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
    assert recipe["spots"]["network"]["cut"] == SpotSettings().to_dict()
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "s.csv"], "--cleaned, --mask or --routine"),
        (["--cleaned", "C", "--mask", "C", "-o", "s.csv"], "either"),
        (["--cleaned", "C"], "what to write"),
        (["--cleaned", "C", "-o", "s.xls"], "must end in"),
        (["--cleaned", "C", "-o", "s.csv", "--review", "none"], "no review"),
        (["--cleaned", "C", "--binary", "b.tif", "--stack-px", "3"], "at least 16"),
        (["--mask", "nowhere.tif", "-o", "s.csv"], "does not exist"),
    ],
)
def test_faults_are_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    given = [str(folder / "cleaned.tif") if a == "C" else a for a in arguments]
    assert cli.main(["spots", str(folder / "scan.tif"), *given]) == 1
    err = capsys.readouterr().err.strip()
    assert words in err
    assert "\n" not in err
    assert not list(tmp_path.iterdir())
