"""Validation: who is found, who is forgiven, and the numbers by SNR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_labdct.training.crops.crop_spots import SPOT
from napari_labdct.training.crops.synthesis import Crop, make_crop
from napari_labdct.training.losses import bce_dice
from napari_labdct.training.settings import TrainSettings
from napari_labdct.training.validation import triptychs, validate, validation_crops


def _crop(n=48):
    """Four square spots of SNR 0.5, 2, 2 and 20."""
    labels = np.zeros((n, n), np.int32)
    spots = np.zeros(4, SPOT)
    spots["snr"], spots["area"] = (0.5, 2, 2, 20), 16
    for number, (row, col) in enumerate([(4, 4), (4, 30), (30, 4), (30, 30)], 1):
        labels[row : row + 4, col : col + 4] = number
    flat = np.full((n, n), 100, np.uint16)
    weight = np.ones((n, n), np.float32)
    return Crop(flat, flat.astype(np.float32), labels, weight, spots, weight, weight)


def test_validation_counts_spots_and_forgives_invisible_ones(tiny_synthesis):
    """An oracle that marks the truth, and also all that nobody could see, has F1 of 1."""
    crops = [make_crop(tiny_synthesis, 4, k) for k in range(10)]
    answers = {id(c.frame): (c.labels != 0).astype(np.float32) for c in crops}
    result = validate(lambda frame, median: answers[id(frame)], crops)
    assert result["spots"] > 10
    assert result["precision"] > 0.97
    assert result["recall"] > 0.8  # labels that touch are one component: merged
    nothing = validate(lambda frame, median: np.zeros(frame.shape), crops)
    assert nothing["recall"] == 0


def test_recall_by_snr_says_which_spots_were_found():
    """A model that sees the two on the right: one of the two of SNR 2, and the bright one."""
    crop = _crop()
    seen = (crop.labels == 2) | (crop.labels == 4)
    result = validate(lambda frame, median: seen.astype(np.float32), [crop, crop])
    assert result["recall_by_snr"] == [
        [0.3, 0.7, 0.0, 2], [1.5, 3.0, 0.5, 4], [12.0, 30.0, 1.0, 2],
    ]  # fmt: skip
    assert (result["precision"], result["recall"]) == (1.0, 0.5)
    assert result["f1"] == pytest.approx(2 / 3, abs=1e-5)


def test_the_unknown_snr_of_reviewed_spots_counts_nowhere():
    crop = _crop()
    crop.spots["snr"] = np.nan
    result = validate(lambda frame, median: (crop.labels > 0).astype(np.float32), [crop])
    assert result["recall"] == 1
    assert result["recall_by_snr"] == []


def test_the_loss_is_that_of_training():
    crop = _crop()
    output = np.where(crop.labels > 0, 0.7, 0.2).astype(np.float32)
    result = validate(lambda frame, median: output, [crop], loss_of=bce_dice)
    target = torch.from_numpy((crop.labels > 0).astype(np.float32))[None, None]
    expected = bce_dice(
        torch.logit(torch.from_numpy(output))[None, None], target, torch.ones_like(target)
    )
    assert result["loss"] == pytest.approx(float(expected), abs=1e-4)


def test_the_threshold_is_chosen_among_those_given():
    crop = _crop()
    output = np.where(crop.labels > 0, 0.6, 0.4).astype(np.float32)
    assert validate(lambda frame, median: output, [crop])["threshold"] == 112
    low = validate(lambda frame, median: output, [crop], thresholds=(80,))
    assert low["threshold"] == 80
    assert (low["recall"], low["merged"]) == (0.25, 1)  # one blob as large as the crop


def test_validation_crops_are_fixed_and_have_a_median(tiny_synthesis):
    settings = TrainSettings(validation_crops=3)
    synthesis = tiny_synthesis.replace(no_median=1.0)
    first, again = (validation_crops(settings, synthesis) for _ in range(2))
    assert len(first) == 3
    for one, other in zip(first, again, strict=True):
        assert one.median is not None
        np.testing.assert_array_equal(one.frame, other.frame)


def test_pictures_show_crops_with_spots():
    empty = _crop()
    empty.labels[:] = 0
    crops = [empty, _crop(), _crop(), _crop(), _crop()]
    pictures = triptychs(lambda frame, median: np.full(frame.shape, 0.5, np.float32), crops)
    assert {k: v.shape for k, v in pictures.items()} == dict.fromkeys(
        ("frame", "output", "target"), (3, 48, 48)
    )
    assert (pictures["output"] == 128).all()
    assert pictures["target"].any(axis=(1, 2)).all()
    assert set(np.unique(pictures["target"])) == {0, 255}
