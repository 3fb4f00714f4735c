"""What users made with an earlier version opens, resumes and comes out the same."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_labdct import cli
from napari_labdct.background import BackgroundSet
from napari_labdct.core.recipes import recipe_beside, recipe_hash
from napari_labdct.io import open_scan, read_spot_csv
from napari_labdct.io.training_pairs import read_training_pairs
from napari_labdct.networks.denoising import Denoiser, DenoiseSettings
from napari_labdct.review.review import REVIEW_DTYPE, Review
from napari_labdct.spots.log_routine import RoutineJob, RoutineSettings
from napari_labdct.spots.tracking import Tracker
from napari_labdct.training.run_folder import read_log

OLD = Path(__file__).parent / "data" / "v0.1"
# Version 0.1 asked for nothing beside the network's word.
NO_EVIDENCE = {"min_significance": 0, "smallest_px": 1}
NO_EVIDENCE_FLAGS = ("--min-significance", 0, "--smallest-px", 1)
ROUTINE = RoutineSettings(sigma_px=1.2, median_window=5, background=20, percentage=20)


@pytest.fixture
def old(tmp_path):
    """A copy of the files, since resuming writes into them."""
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def run(*command) -> None:
    assert cli.main([str(part) for part in command]) == 0


def test_results_keep_their_hashes_so_caches_and_reviews_are_found():
    scan = open_scan(OLD / "scan")
    jobs = {
        "denoised.tif": Denoiser(
            scan, DenoiseSettings(device="cpu", augmentations=2, **NO_EVIDENCE)
        ),
        "stopped.tif": Denoiser(scan, DenoiseSettings(device="cpu", **NO_EVIDENCE)),
        "routine.tif": RoutineJob(scan, ROUTINE),
        "tracked.tif": Tracker(
            scan, open_scan(OLD / "denoised.tif").frames, made=recipe_beside(OLD / "denoised.tif")
        ),
    }
    for name, job in jobs.items():
        known = json.loads((OLD / f"{name}.json").read_text())["hash"]
        assert recipe_hash(job.recipe()) == known, name


def test_whole_results_are_taken_as_they_are(old, monkeypatch):
    monkeypatch.setattr(Denoiser, "frame", lambda *_: pytest.fail("denoised again"))
    monkeypatch.setattr(Tracker, "frame", lambda *_: pytest.fail("tracked again"))
    monkeypatch.setattr(RoutineJob, "frame", lambda *_: pytest.fail("segmented again"))
    scan, denoised = old / "scan", old / "denoised.tif"
    run("denoise", scan, "-o", denoised, "--device", "cpu", *NO_EVIDENCE_FLAGS, "--looks", 2)
    run("track", scan, "--cleaned", denoised, "-o", old / "tracked.tif")
    given = [x for k, v in ROUTINE.to_dict().items() if k in _CHANGED for x in (_flag(k), v)]
    run("routine", scan, "-o", old / "routine.tif", *given)


_CHANGED = ("sigma_px", "median_window", "background", "percentage")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def test_a_stopped_result_is_gone_on_with(old):
    before = tifffile.imread(old / "stopped.part.tif")[:4]
    run("denoise", old / "scan", "-o", old / "stopped.tif", "--device", "cpu", *NO_EVIDENCE_FLAGS)
    assert not (old / "stopped.part.tif").exists()
    after = tifffile.imread(old / "stopped.tif")
    np.testing.assert_array_equal(after[:4], before)
    assert after[4:].any(axis=(1, 2)).all()


def test_masks_and_tables_come_out_as_before(old, tmp_path):
    scan = old / "scan"
    given = [x for k in _CHANGED for x in (_flag(k), getattr(ROUTINE, k))]
    run("routine", scan, "-o", tmp_path / "routine.tif", *given)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "routine.tif"), tifffile.imread(old / "routine.tif")
    )
    masks = ("--cleaned", old / "denoised.tif", "--routine", old / "routine.tif")
    run("spots", scan, *masks, "-o", tmp_path / "table.csv")
    mine, theirs = (
        read_spot_csv(folder / "table.csv", REVIEW_DTYPE, REVIEW_DTYPE.names)
        for folder in (tmp_path, old)
    )
    both = [n for n in REVIEW_DTYPE.names if n in (old / "table.csv").read_text().split("\n")[0]]
    assert len(both) > 15
    for name in both:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    scanned = open_scan(scan)
    denoiser = Denoiser(scanned, DenoiseSettings(device="cpu", augmentations=2, **NO_EVIDENCE))
    for index in (0, 5):  # processors round the last bit of a network differently
        difference = (
            denoiser.frame(index).astype(int) - tifffile.imread(old / "denoised.tif")[index]
        )
        assert np.abs(difference).max() <= 1


def test_a_review_opens_and_decides(old, tmp_path):
    review = Review((9, 72, 88), old / "spots.review.jsonl")
    assert review.note == ""
    assert review.statuses(2)[1:5].tolist() == [1, 1, 1, 2]
    assert not review.statuses(3).any()  # undone
    masks = ("--cleaned", old / "denoised.tif", "--routine", old / "routine.tif")
    kept = ("--review", old / "spots.review.jsonl", "--keep", "accepted")
    run("spots", old / "scan", *masks, *kept, "-o", tmp_path / "a.csv")
    kept = read_spot_csv(tmp_path / "a.csv", REVIEW_DTYPE, REVIEW_DTYPE.names)
    assert kept[["frame", "id"]].tolist() == [(2, 1), (2, 2), (2, 3)]


def test_background_sets_and_training_pairs_open():
    background = BackgroundSet.load(OLD / "background.h5")
    assert background.shape == (72, 88)
    assert np.isfinite(background.mean).all()
    (pair,) = read_training_pairs(OLD / "pairs")
    assert pair["index"] == 2
    assert pair["mask"].sum() > 10


def test_a_training_is_gone_on_with(old):
    folder = old / "training"
    packed = folder / "last.safetensors.gz"
    (folder / "last.safetensors").write_bytes(gzip.decompress(packed.read_bytes()))
    before = read_log(folder)
    run("train", folder, "--workers", 0, "--device", "cpu")
    after = read_log(folder)
    assert [line["done"] for line in after] == [line["done"] for line in before]
    assert after[:-1] == before[:-1]
    assert after[-1]["loss"] != before[-1]["loss"]  # the third step is new, from other weights
