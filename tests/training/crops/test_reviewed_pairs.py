"""Fine-tuning: reviewed pairs are learnt from, the same way each time, and faults are said."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_labdct import cli
from napari_labdct.core.errors import ModelError, OutputError, ScanError, SettingsError
from napari_labdct.io.training_pairs import write_training_pairs
from napari_labdct.networks.model import Model
from napari_labdct.training.crops.batches import to_arrays
from napari_labdct.training.crops.reviewed_pairs import FineTuneSettings, ReviewedPairs
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.finetuning import fine_tune
from napari_labdct.training.losses import bce_dice
from napari_labdct.training.settings import SynthesisSettings

QUICK = FineTuneSettings(
    iterations=4, batch=2, crop_px=64, warmup=1, validation_crops=2, checkpoint_every=1
)
SHAPE = (80, 96)


def _write(folder, shape=SHAPE, count=3, widen=0, with_median=True):
    """A few clear spots a frame; `widen` makes the reviewer more generous than the network."""
    rng = np.random.default_rng(5)
    rows, cols = np.indices(shape)
    pairs = []
    for index in range(count):
        light = np.zeros(shape)
        for row, col in rng.uniform(8, np.array(shape) - 8, (7, 2)):
            light += 600 * np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / 5)
        frame = rng.poisson(400 + light).astype(np.uint16)
        mask = light > 240
        if widen:
            mask = ndimage.binary_dilation(mask, iterations=widen)
        ignore = np.zeros(shape, bool)
        ignore[:10, :10] = True
        median = np.full(shape, 400, np.float32) if with_median else None
        pairs.append((index, frame, median, mask, ignore))
    list(write_training_pairs(folder, pairs, {"job": "review"}))
    return pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    _write(folder)
    return folder


def read_log_file(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _loss(model, crops):
    """The training's loss of a model on crops."""
    _, target, weight = (
        torch.from_numpy(np.stack(a))
        for a in zip(*(to_arrays(c, model.block_px) for c in crops), strict=True)
    )
    output = np.stack([model(c.frame, c.median) for c in crops])[:, None]
    logits = torch.logit(torch.from_numpy(output), eps=1e-6)
    return float(bce_dice(logits, target, weight))


def test_a_fine_tuned_model_fits_its_pairs_better(tmp_path):
    _write(tmp_path / "p", widen=2)
    settings = QUICK.replace(iterations=25, batch=4, learning_rate=1e-3, warmup=3)
    *steps, said = fine_tune(settings, tmp_path / "p", tmp_path / "m.safetensors", device="cpu")
    assert [s.done for s in steps] == list(range(1, 26))
    pairs = ReviewedPairs(tmp_path / "p")
    crops = [pairs.crop(64, 9, k) for k in range(8)]
    before, after = Model.load("compact", "cpu"), Model.load(tmp_path / "m.safetensors", "cpu")
    assert _loss(after, crops) < 0.8 * _loss(before, crops)
    assert after.training["start_from"] == before.sha256
    assert after.training["pairs"] == pairs.recipe
    assert after.block_px == before.block_px
    assert after.threshold == steps[-1].validation["threshold"]
    assert not (tmp_path / "m.safetensors.work").exists()
    # What it was good for stands beside the model, and in it.
    numbers = json.loads((tmp_path / "m.json").read_text())
    assert after.training["fine_tuning"] == numbers
    assert numbers["before"]["threshold"] == before.threshold
    assert numbers["after"]["pixel_iou"] > numbers["before"]["pixel_iou"]
    assert f"F1 {numbers['before']['f1']:.3f} before" in said.message
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"
    assert [s["done"] for s in read_log_file(tmp_path / "m.log.jsonl")] == list(range(1, 26))


def test_a_crop_is_decided_by_seed_and_index(folder):
    one, other = ReviewedPairs(folder), ReviewedPairs(folder)
    first = [one.crop(64, 3, k) for k in range(6)]
    for k in (4, 0, 2):
        again = other.crop(64, 3, k)
        for name in ("frame", "median", "labels", "weight"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first[k], name))
    assert len({c.frame.tobytes() for c in first}) == 6
    assert not np.array_equal(one.crop(64, 4, 0).frame, first[0].frame)


def test_a_crop_is_a_turned_piece_of_one_frame(tmp_path):
    """Frame, median, mask and ignored pixels stay together; all eight turns occur."""
    code = np.arange(80 * 80, dtype=np.uint16).reshape(80, 80)
    mask, ignore = code % 97 < 3, code % 31 == 0
    median = code.astype(np.float32)
    list(write_training_pairs(tmp_path, [(0, code, median, mask, ignore)], {}))
    pairs, steps = ReviewedPairs(tmp_path), set()
    for k in range(60):
        crop = pairs.crop(48, 0, k)
        assert crop.frame.shape == (48, 48)
        np.testing.assert_array_equal(crop.median, crop.frame)
        hidden = ignore.ravel()[crop.frame]
        np.testing.assert_array_equal(crop.labels > 0, mask.ravel()[crop.frame] & ~hidden)
        np.testing.assert_array_equal(crop.labels == -1, hidden)
        np.testing.assert_array_equal(crop.weight == 0, hidden)
        corner = crop.frame[:2, :2].astype(int)
        steps.add((corner[0, 1] - corner[0, 0], corner[1, 0] - corner[0, 0]))
    assert steps == {(a * 1, b * 80) for a in (1, -1) for b in (1, -1)} | {
        (b * 80, a * 1) for a in (1, -1) for b in (1, -1)
    }


def test_weights_are_those_of_synthetic_crops(tmp_path):
    mask = np.zeros((64, 64), bool)
    mask[5:7, 5:8] = mask[5:7, 9:12] = True  # one column between them
    mask[30:50, 30:50] = True
    list(
        write_training_pairs(tmp_path, [(0, mask.astype(np.uint8), None, mask, ~mask & False)], {})
    )
    crop = ReviewedPairs(tmp_path).crop(64, 0, 0)
    assert crop.median is None
    weights = {w: int((crop.weight == np.float32(w)).sum()) for w in np.unique(crop.weight)}
    assert weights[np.float32(0.4)] == 400
    assert weights[np.float32(3)] in (2, 3, 4)
    assert sorted(crop.spots["area"]) == [6, 6, 400]


@pytest.mark.parametrize("part", [0.25, 0.5, 1.0])
def test_the_stream_mixes_the_two_kinds_evenly(folder, part):
    synthesis = SynthesisSettings(crop_px=64)
    pairs = ReviewedPairs(folder, part)
    mixed = [pairs.mixed(synthesis, 1, k) for k in range(8)]
    reviewed = [bool(np.isnan(c.expected).all()) for c in mixed]
    assert sum(reviewed) == 8 * part
    assert sum(reviewed[:4]) == 4 * part
    for k, crop in enumerate(mixed):
        same = pairs.crop(64, 1, k) if reviewed[k] else make_crop(synthesis, 1, k)
        np.testing.assert_array_equal(crop.frame, same.frame)


def test_a_stopped_fine_tuning_goes_on_and_ends_the_same(folder, tmp_path):
    *whole, _ = fine_tune(QUICK, folder, tmp_path / "a.safetensors", device="cpu")
    running = fine_tune(QUICK, folder, tmp_path / "b.safetensors", device="cpu")
    assert [s.done for s in itertools.islice(running, 3)] == [1, 2, 3]
    running.close()
    assert not (tmp_path / "b.safetensors").exists()
    *rest, _ = fine_tune(QUICK, folder, tmp_path / "b.safetensors", device="cpu")
    assert rest[-1].done == 4
    assert rest[-1].loss == pytest.approx(whole[-1].loss, rel=1e-4)
    assert (tmp_path / "b.safetensors").exists()


def test_a_wish_to_stop_leaves_no_model_yet(folder, tmp_path):
    output = tmp_path / "m.safetensors"
    steps = []
    for step in fine_tune(QUICK, folder, output, device="cpu"):
        steps.append(step)
        (tmp_path / "m.safetensors.work" / "stop").touch()
    assert [(s.done, s.end) for s in steps] == [(1, ""), (2, "stopped")]
    assert not output.exists()


def test_a_stopped_fine_tuning_of_other_pairs_is_refused(folder, tmp_path):
    running = fine_tune(QUICK, folder, tmp_path / "m.safetensors", device="cpu")
    assert [s.done for s in itertools.islice(running, 2)] == [1, 2]
    running.close()
    _write(tmp_path / "others", count=1)
    with pytest.raises(ModelError, match="other settings"):
        next(fine_tune(QUICK, tmp_path / "others", tmp_path / "m.safetensors", device="cpu"))


def test_folders_without_usable_pairs_are_refused(folder, tmp_path):
    output = tmp_path / "m.safetensors"
    with pytest.raises(ScanError, match="no training pairs"):
        next(fine_tune(QUICK, tmp_path, output, device="cpu"))
    (tmp_path / "pairs.json").write_text(json.dumps({"pairs": []}))
    with pytest.raises(ScanError, match="review some spots"):
        next(fine_tune(QUICK, tmp_path, output, device="cpu"))
    _write(tmp_path, count=1)
    listed = json.loads((tmp_path / "pairs.json").read_text())
    del listed["pairs"][0]["mask"]
    (tmp_path / "pairs.json").write_text(json.dumps(listed))
    with pytest.raises(ScanError, match="lacks its frame or mask"):
        next(fine_tune(QUICK, tmp_path, output, device="cpu"))
    with pytest.raises(SettingsError, match=r"80 x 96 px, smaller than a crop of 96 px"):
        next(fine_tune(QUICK.replace(crop_px=96), folder, output, device="cpu"))
    with pytest.raises(SettingsError, match="multiple of 16"):
        next(fine_tune(QUICK.replace(crop_px=72), folder, output, device="cpu"))
    assert not (tmp_path / "m.safetensors.work").exists()


def test_the_command_wants_pairs_or_a_scan(folder, tmp_path, capsys):
    output = str(tmp_path / "m.safetensors")
    assert cli.main(["finetune", "-o", output]) == 1
    assert cli.main(["finetune", str(folder), "--scan", "frames.tif", "-o", output]) == 1
    assert capsys.readouterr().err.count("Give either a folder of reviewed pairs, or --scan") == 2


def test_the_command_makes_a_model_and_keeps_the_one_that_is_there(folder, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    command = ["finetune", str(folder), "--model", "compact", "-o", str(output), "--device", "cpu"]
    small = ["--iterations", "1", "--batch", "2", "--crop-px", "64", "--validation-crops", "1"]
    assert cli.main([*command, *small]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(output)
    assert "validation F1" in printed.err
    assert Model.load(output, "cpu").training["pairs"]["pairs"] == 3
    before = output.read_bytes()
    assert cli.main([*command, *small]) == 0  # it is there already
    assert cli.main([*command, *small, "--pairs-part", "1"]) == 1
    assert "already holds something else" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert cli.main([*command, *small, "--overwrite", "--pairs-part", "1"]) == 0
    assert Model.load(output, "cpu").training["pairs"]["part"] == 1
    with pytest.raises(OutputError, match="let it end in"):
        next(fine_tune(QUICK, folder, tmp_path / "mine.pt"))
