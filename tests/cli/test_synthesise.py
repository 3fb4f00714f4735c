"""``labdct synthesise``: the same pairs as from Python, and one sentence for a fault."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct import cli
from napari_labdct.background import BackgroundSet
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.training.crops.own_scan_settings import TrainingSetSettings
from napari_labdct.training.crops.paper_pairs import TrainingSet

FLAGS = ["--pairs", "4", "--samples", "D18", "--binning", "16", "--validation-percent", "50"]


@pytest.fixture
def set_path(flat_background, tmp_path):
    return flat_background.save(tmp_path / "flat.h5")


def test_pairs_are_those_of_the_library(set_path, tmp_path, capsys):
    out = tmp_path / "pairs"
    command = ["synthesise", str(set_path), "-o", str(out), *FLAGS]
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "train")
    assert "4 pairs (2 for validation) with" in captured.err
    settings = TrainingSetSettings(pairs=4, samples="D18", binning=16, validation_percent=50)
    library = TrainingSet(settings, [BackgroundSet.load(set_path)])
    pairs = [p for split in ("train", "validation") for p in read_training_pairs(out / split)]
    assert sorted(p["index"] for p in pairs) == [0, 1, 2, 3]
    for pair in pairs:
        np.testing.assert_array_equal(pair["frame"], library.pair(pair["index"]).frame)
    assert cli.main(command) == 0  # nothing is left to do
    assert cli.main([*command, "--seed", "3"]) == 1
    assert "already holds something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--samples", "D19"], "'D19' is no sample"),
        (["--snr-min", "2"], "or neither"),
        (["--scan", "nowhere.tif"], "nowhere.tif"),
    ],
)
def test_a_fault_is_one_sentence_and_leaves_no_folder(set_path, tmp_path, capsys, more, said):
    out = tmp_path / "pairs"
    assert cli.main(["synthesise", str(set_path), "-o", str(out), *FLAGS, *more]) == 1
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_set_of_other_proportions_is_refused(set_path, tmp_path, capsys):
    scan = tmp_path / "scan.yaml"
    from napari_labdct.io import write_frames

    write_frames(tmp_path / "frames.tif", [np.ones((60, 90), np.uint16)] * 3)
    scan.write_text(
        "frames: [frames.tif]\npixel_um: 50\nsource_sample_mm: 11\nsample_detector_mm: 11\n"
    )
    command = ["synthesise", str(set_path), "-o", str(tmp_path / "x"), "--scan", str(scan), *FLAGS]
    assert cli.main(command) == 1
    assert "simulate frames of the same proportions" in capsys.readouterr().err
