"""Training sets: the paper's split, pairs from their seed, files that survive a stop."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.training.crops.own_scan_settings import TrainingSetSettings
from napari_labdct.training.crops.paper_pairs import TrainingSet, discard, samples_of, snr_bins
from napari_labdct.training.crops.reviewed_pairs import ReviewedPairs

SMALL = TrainingSetSettings(pairs=8, validation_percent=30)


@pytest.fixture(scope="module")
def made(background, small_scan):
    return TrainingSet(SMALL, [background], [small_scan, small_scan.replace(seed=2)], 1)


def _write(made, folder, **options):
    return list(made.write(folder, **options))


def test_the_papers_set_is_924_and_162_pairs_of_three_samples(background, small_scan):
    settings = TrainingSetSettings()
    assert settings.pairs == 1086
    names = [s.sample for s in samples_of(settings)]
    assert names == ["D18", "D35", "D64"]
    assert {(s.rows, s.cols, s.frames, s.intensity_model) for s in samples_of(settings)} == {
        (2032, 2032, 181, "fang2020")
    }
    whole = TrainingSet(settings, [background], [small_scan], 1)
    splits = np.array([whole.split(k) for k in range(1086)])
    assert (splits == "validation").sum() == 162
    # no projection teaches and examines: both pairs of one go together
    assert (splits[::2] == splits[1::2]).all()


def test_pairs_are_decided_by_seed_and_number(made, background, small_scan):
    other = TrainingSet(SMALL, [background], [small_scan, small_scan.replace(seed=2)], 1)
    late = other.pair(5)
    other.pair(0)
    for pair in (made.pair(5), other.pair(5)):
        np.testing.assert_array_equal(pair.frame, late.frame)
        np.testing.assert_array_equal(pair.mask, late.mask)
        np.testing.assert_array_equal(pair.spots, late.spots)
    assert not np.array_equal(made.pair(4).frame, late.frame)  # the same spots, another draw
    np.testing.assert_array_equal(made.pair(4).mask, late.mask)
    turned = TrainingSet(SMALL.replace(seed=9), [background], [small_scan], 1)
    assert not np.array_equal(turned.pair(5).frame, late.frame)


def test_another_set_takes_over_what_was_projected(made):
    louder = TrainingSet(SMALL.replace(tau=4.0), made._sets, made._samples, 1, like=made)
    assert louder._made is made._made
    fresh = TrainingSet(SMALL.replace(tau=4.0), made._sets, made._samples, 1)
    np.testing.assert_array_equal(louder.pair(3).frame, fresh.pair(3).frame)


def test_8_bit_and_16_bit(made, background, small_scan):
    pair = made.pair(0)
    assert (pair.frame.dtype, pair.mask.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(pair.mask)) == {0, 255}
    assert pair.median is None
    # x0 (1 + tau/2) with I_BG below 1 and R_BG about 110
    assert 60 < np.median(pair.frame) < 1.5 * 121
    weak = {"snr_min": 1, "snr_max": 1}  # there are spots on half of so small a frame
    settings = SMALL.replace(output="16-bit", median_window=11, **weak)
    physical = TrainingSet(settings, [background], [small_scan], 1).pair(0)
    assert physical.frame.dtype == np.uint16
    assert np.median(physical.frame) == pytest.approx(np.median(background.mean), rel=0.1)
    noise = (physical.frame - physical.median)[physical.mask == 0]
    assert 1.4826 * np.median(np.abs(noise)) == pytest.approx(
        np.sqrt(background.noise_variance(np.median(background.mean))), rel=0.25
    )
    # hot pixels stand still, in frame and median alike
    for row, col in background.hot_pixels:
        assert physical.median[row, col] > 1.5 * background.mean[row, col]


def test_resized_pairs_keep_level_and_places(background, small_scan):
    full = TrainingSet(SMALL, [background], [small_scan], 1).pair(1)
    half = TrainingSet(SMALL.replace(resize_px=40), [background], [small_scan], 1).pair(1)
    assert half.frame.shape == half.mask.shape == (40, 40)
    assert half.frame.mean() == pytest.approx(full.frame.mean(), rel=0.01)
    assert half.mask.mean() == pytest.approx(full.mask.mean(), rel=0.5)
    np.testing.assert_allclose(half.spots["row"], (full.spots["row"] + 0.5) / 2 - 0.5, atol=1e-4)
    np.testing.assert_array_equal(half.spots["snr"], full.spots["snr"])


def test_files_can_be_read_as_pairs_and_list_the_snr_of_every_spot(made, tmp_path):
    steps = _write(made, tmp_path / "set")
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (0, 8, 8)
    assert steps[-1].message.startswith("8 pairs (2 for validation) with")
    found = {}
    for split, count in (("train", 6), ("validation", 2)):
        pairs = list(read_training_pairs(tmp_path / "set" / split))
        assert len(pairs) == count
        found |= {pair["index"]: pair for pair in pairs}
    for index in (0, 7):
        np.testing.assert_array_equal(found[index]["frame"], made.pair(index).frame)
        np.testing.assert_array_equal(found[index]["mask"], made.pair(index).mask)
    with open(tmp_path / "set" / "spots.csv") as file:
        table = list(csv.DictReader(file))
    whole = [made.pair(k).spots for k in range(8)]
    assert len(table) == sum(len(t) for t in whole) > 20
    snr = np.array([float(row["snr"]) for row in table])
    np.testing.assert_allclose(snr, np.concatenate([t["snr"] for t in whole]), rtol=1e-4)
    with open(tmp_path / "set" / "snr.csv") as file:
        assert sum(int(row["spots"]) for row in csv.DictReader(file)) == len(table)
    assert (tmp_path / "set" / "snr.png").read_bytes().startswith(b"\x89PNG")
    assert ReviewedPairs(tmp_path / "set" / "train").crop(64, 0, 0).frame.shape == (64, 64)


def test_a_stopped_set_goes_on_and_a_finished_one_is_left_alone(made, tmp_path):
    folder = tmp_path / "set"
    job = made.write(folder)
    for step in job:
        if step.done == 3:
            break
    job.close()
    assert len(list((folder / "made").glob("*.json"))) == 3
    assert not (folder / "train" / "pairs.json").exists()
    before = {p: p.stat().st_mtime_ns for p in folder.glob("*/frame_*.tif")}
    assert _write(made, folder)[0].done == 3
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    stamp = (folder / "snr.png").stat().st_mtime_ns
    assert [step.done for step in _write(made, folder)] == [8]
    assert (folder / "snr.png").stat().st_mtime_ns == stamp


def test_what_is_in_the_folder_is_not_overwritten_unasked(made, background, small_scan, tmp_path):
    folder = tmp_path / "set"
    _write(made, folder)
    (folder / "notes.txt").write_text("mine")
    other = TrainingSet(SMALL.replace(pairs=2), [background], [small_scan], 1)
    with pytest.raises(OutputError, match="already holds something else; choose another name"):
        next(other.write(folder))
    _write(other, folder, overwrite=True)
    assert len(list(folder.glob("*/frame_*.tif"))) == 2
    discard(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    discard(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_cannot_be_made_is_said_in_one_sentence(background, small_scan):
    with pytest.raises(SettingsError, match="'D99' is no sample; choose from D18, D35, D64"):
        samples_of(TrainingSetSettings(samples="D18,D99"))
    with pytest.raises(ScanError, match="simulate frames of the same proportions"):
        TrainingSet(SMALL, [background], [small_scan.replace(rows=40)], 1)
    with pytest.raises(SettingsError, match="at least one background"):
        TrainingSet(SMALL, [], [small_scan], 1)
    with pytest.raises(SettingsError, match="Simulate frames of one size"):
        TrainingSet(SMALL, [background], [small_scan, small_scan.replace(rows=40)], 1)


def test_the_histogram_counts_every_spot():
    edges, counts = snr_bins(np.array([0.001, 0.5, 0.51, 3, 3, 1e6]))
    assert counts.sum() == 6
    assert len(edges) == len(counts) + 1
    assert counts[(edges[:-1] <= 3) & (edges[1:] > 3)] == 2
    assert snr_bins(np.zeros(0))[1].sum() == 0


def test_the_recipe_is_kept_beside_the_pairs(made, tmp_path):
    _write(made, tmp_path / "set")
    kept = json.loads((tmp_path / "set" / "recipe.json").read_text())
    assert kept["settings"] == SMALL.to_dict()
    assert len(kept["input"]["simulations"]) == 2
    first = json.loads((tmp_path / "set" / "train" / "pairs.json").read_text())["pairs"][0]
    assert first["background"] == "iron"
    assert first["sample"] == "cylinder"
