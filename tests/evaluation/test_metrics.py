"""Hand-made masks against hand-made truths."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_labdct.evaluation.metrics import REASONS, Tally, Truth, judge


def squares(*corners, size=4, shape=(60, 60)):
    labels = np.zeros(shape, np.int32)
    for number, (row, col) in enumerate(corners, 1):
        labels[row : row + size, col : col + size] = number
    return labels


def truth_of(labels, snr, nuisance=None):
    area = np.bincount(labels.ravel())[1:]
    return Truth(labels, np.array(snr, float), area, nuisance)


def test_found_missed_and_false():
    labels = squares((5, 5), (5, 30), (40, 40))
    mask = squares((5, 5), (6, 31), (20, 10)) > 0
    verdict = judge(mask, truth_of(labels, [5, 5, 5]))
    assert sorted(verdict.found) == [1, 2]
    assert list(verdict.missed) == [3]
    assert verdict.false.size == 1
    match = verdict.against.match
    assert (match.n_a, match.n_b, match.found) == (3, 3, 2)
    assert match.pixels_both == 16 + 9
    assert match.pixels_either == 16 + (16 + 16 - 9) + 16 + 16


def test_a_spot_nobody_can_see_is_passed_over():
    labels = squares((5, 5), (40, 40))
    truth = truth_of(labels, [5, 0.9])  # 0.9 sqrt(16) is below 4
    blind = judge(squares((5, 5)) > 0, truth).against.match
    lucky = judge(labels > 0, truth)
    for match in (blind, lucky.against.match):
        assert (match.n_a, match.n_b, match.found) == (1, 1, 1)
        assert match.pixels_both == match.pixels_either == 16
    assert lucky.excused.size == 1
    assert lucky.false.size == 0


def test_a_blob_over_two_spots_finds_one_and_misses_the_other_in_a_merger():
    labels = squares((10, 10), (10, 16))
    mask = np.zeros(labels.shape, bool)
    mask[10:14, 10:20] = True
    verdict = judge(mask, truth_of(labels, [5, 5]))
    assert verdict.against.match.merged.size == 1
    assert verdict.merged.size == verdict.missed.size == 1
    assert verdict.reasons["missed in a merger"] == 1
    assert verdict.reasons["missed in the dark"] == 0


def test_touching_labels_found_apart_are_two_spots():
    labels = squares((10, 10), (10, 14))
    verdict = judge(labels * 7, truth_of(labels, [5, 5]))  # label images, any numbers
    assert verdict.against.match.found == 2
    assert verdict.against.match.merged.size == 0


def test_false_spots_are_told_apart():
    labels = squares((30, 30))
    nuisance = np.zeros(labels.shape, np.uint8)
    nuisance[5:9, 5:9], nuisance[5:9, 20:24] = 1, 2
    mask = squares((30, 30), (5, 5), (5, 20), (50, 5)) > 0
    mask[35:37, 30:34] = True  # one row below the true spot
    reasons = judge(mask, truth_of(labels, [5], nuisance)).reasons
    assert [reasons[name] for name in REASONS] == [0, 0, 1, 1, 1, 1]


def test_snr_of_false_spots_decides_the_bin_of_precision():
    labels = squares((30, 30))
    snr_map = np.full(labels.shape, 0.7, np.float32)
    snr_map[30:34, 30:34] = 5
    tally = Tally()
    tally.add(judge(squares((30, 30), (5, 5)) > 0, truth_of(labels, [5.0]), snr_map))
    precision = dict(zip(tally.bins["snr_from"].tolist(), tally.bins["precision"]))
    assert precision[4.0] == 1
    assert precision[0.5] == 0


def test_tallies_add_up_and_survive_json():
    labels = squares((5, 5), (40, 40))
    one, both = Tally(), Tally()
    for tally, mask in ((one, labels == 1), (both, labels > 0)):
        tally.add(judge(mask, truth_of(labels, [5, 5])))
    total = one + both
    assert total.score.frames == 2
    assert total.score.recall == pytest.approx(3 / 4)
    assert total.bins["truth"].sum() == 4
    again = Tally.from_dict(json.loads(json.dumps(total.to_dict())))
    np.testing.assert_equal(again.numbers(), total.numbers())
    for name in total.bins.dtype.names:
        np.testing.assert_array_equal(again.bins[name], total.bins[name])
    assert both.worth > one.worth


def test_nothing_found_and_nothing_there():
    labels = squares((5, 5))
    empty = judge(np.zeros_like(labels, bool), truth_of(labels, [5]))
    assert empty.against.match.n_a == 0
    assert list(empty.missed) == [1]
    nothing = judge(labels > 0, truth_of(np.zeros_like(labels), []))
    assert nothing.against.match.n_b == 0
    assert nothing.false.size == 1


def test_a_crop_keeps_the_spots_inside_it():
    truth = truth_of(squares((5, 5), (20, 20), (38, 38)), [1, 2, 3]).crop(np.s_[18:40, 18:40])
    np.testing.assert_array_equal(truth.snr, [2, 3])
    np.testing.assert_array_equal(truth.area_px, [16, 4])
    np.testing.assert_array_equal(np.unique(truth.labels), [0, 1, 2])
