"""Found, missed, false, merged and split on cases drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_labdct.spots.matching import Score, match_spots


def boxes(*spots, shape=(40, 40)):
    mask = np.zeros(shape, bool)
    for r0, r1, c0, c1 in spots:
        mask[r0:r1, c0:c1] = True
    return mask


def test_equal_masks_match_fully():
    mask = boxes((2, 6, 2, 6), (20, 23, 30, 39))
    match = match_spots(mask, mask)
    assert match.found == match.n_a == match.n_b == 2
    assert match.centroid_error_px.max() == 0
    score = Score() + match
    assert (score.precision, score.recall, score.f1, score.pixel_iou) == (1, 1, 1, 1)


def test_one_missed_one_false():
    match = match_spots(boxes((2, 6, 2, 6), (30, 34, 2, 6)), boxes((2, 6, 2, 6), (2, 6, 30, 34)))
    assert match.found == 1
    assert len(match.only_a) == len(match.only_b) == 1
    score = Score() + match
    assert score.f1 == 0.5


def test_a_blob_over_two_neighbours_is_merged_and_finds_one():
    match = match_spots(boxes((10, 14, 5, 20)), boxes((10, 14, 5, 12), (10, 14, 13, 20)))
    assert (match.found, len(match.merged), len(match.split)) == (1, 1, 0)
    assert len(match.only_b) == 1


def test_a_spot_in_two_pieces_is_split_and_found_once():
    match = match_spots(boxes((10, 14, 5, 12), (10, 14, 13, 20)), boxes((10, 14, 5, 20)))
    assert (match.found, len(match.merged), len(match.split)) == (1, 0, 1)
    assert len(match.only_a) == 1


def test_touching_without_overlap_matches_only_when_centroids_are_near():
    far = match_spots(boxes((10, 14, 5, 15)), boxes((14, 18, 5, 15)))
    assert far.found == 0
    near = match_spots(boxes((10, 12, 10, 12)), boxes((12, 14, 10, 12)))
    assert near.found == 1
    assert near.centroid_error_px[0] == 2


def test_a_corner_overlap_of_large_spots_is_no_match():
    assert match_spots(boxes((0, 10, 0, 10)), boxes((9, 19, 9, 19))).found == 0


def test_each_spot_is_used_once_and_the_better_overlap_wins():
    match = match_spots(boxes((10, 16, 10, 16)), boxes((10, 16, 10, 15), (17, 19, 12, 14)), 8)
    assert match.pairs.tolist() == [[1, 1]]


def test_empty_and_edge():
    nothing = boxes()
    assert match_spots(nothing, nothing).found == 0
    score = Score() + match_spots(nothing, boxes((0, 2, 0, 2)))
    assert (score.recall, score.f1) == (0, 0)
    assert np.isnan(score.precision)
    assert match_spots(boxes((38, 40, 38, 40)), boxes((37, 40, 37, 40))).found == 1
    with pytest.raises(ValueError, match="cannot match"):
        match_spots(nothing, np.zeros((3, 3)))


def test_labels_keep_touching_spots_apart():
    labels = np.zeros((20, 20), int)
    labels[5:9, 2:6], labels[5:9, 6:10] = 3, 8
    assert match_spots(labels, labels).found == 2
    assert match_spots(labels > 0, labels > 0).found == 1
    assert match_spots(labels[5:9, 2:10], labels[5:9, 2:10]).found == 2  # no background at all


@settings(max_examples=60, deadline=None)
@given(a=arrays(bool, (14, 15)), b=arrays(bool, (14, 15)), distance=st.floats(0.5, 6))
def test_matching_is_one_to_one_and_symmetric_in_counts(a, b, distance):
    match = match_spots(a, b, distance)
    assert len(set(match.pairs[:, 0])) == len(set(match.pairs[:, 1])) == match.found
    assert match.found + len(match.only_a) == match.n_a
    assert match.found + len(match.only_b) == match.n_b
    back = match_spots(b, a, distance)
    assert (len(back.merged), len(back.split)) == (len(match.split), len(match.merged))
    assert match.pixels_both == (a & b).sum()
    assert match.pixels_either == (a | b).sum()
