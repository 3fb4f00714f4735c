from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_labdct.core.errors import SettingsError
from napari_labdct.review.corrections import GrowSettings, edit, erase, grow, merge, separate, split
from napari_labdct.spots.components import EIGHT

ROWS, COLS = np.indices((60, 70))


def _applied(labels, change):
    out = labels.copy()
    out.ravel()[change.index] = change.ids
    return out


def _gauss(r, c, sigma=3.0):
    return np.exp(-((ROWS - r) ** 2 + (COLS - c) ** 2) / (2 * sigma**2))


def test_an_edit_holds_only_pixels_that_change():
    labels = np.zeros((4, 4), np.int32)
    labels[0, 0] = 3
    change = edit(labels, [0, 5, 5, 1], 3)
    assert change.index.tolist() == [1, 5]
    assert edit(labels, [0], 3).empty


def test_erase_and_merge():
    labels = np.zeros((60, 70), np.int32)
    labels[5:9, 5:9], labels[5:9, 20:24], labels[30:34, 5:9] = 2, 5, 6
    assert np.unique(_applied(labels, erase(labels, [2, 6]))).tolist() == [0, 5]
    merged = _applied(labels, merge(labels, [2, 5]))
    assert np.unique(merged).tolist() == [0, 2, 6]
    assert ndi.label(merged == 2, EIGHT)[1] == 1  # one spot in a mask too
    with pytest.raises(SettingsError, match="at least two"):
        merge(labels, [2, 99])


def test_a_bridge_takes_nothing_from_a_spot_in_between():
    labels = np.zeros((60, 70), np.int32)
    labels[10, 5:8], labels[8:13, 15:18], labels[10, 25:28] = 1, 2, 3
    merged = _applied(labels, merge(labels, [1, 3]))
    assert (merged == 2).sum() == 15


@pytest.mark.parametrize("equal", [True, False])
def test_split_finds_the_valley_between_two_spots(equal):
    frame = 100 + 500 * _gauss(30, 25) + (500 if equal else 250) * _gauss(30, 37)
    labels = np.where(frame > 180, 4, 0).astype(np.int32)
    assert ndi.label(labels)[1] == 1
    cut = _applied(labels, split(labels, 4, frame, next_id=9))
    assert np.unique(cut).tolist() == [0, 4, 9]
    assert cut[30, 25] != cut[30, 37]
    np.testing.assert_array_equal(cut > 0, labels > 0)


def test_split_cuts_an_even_streak_across_and_in_three():
    labels = np.zeros((60, 70), np.int32)
    labels[30:33, 10:50] = 1
    for parts in (2, 3):
        cut = _applied(labels, split(labels, 1, np.full((60, 70), 7.0), 2, parts))
        sizes = np.bincount(cut.ravel())[1:]
        assert len(sizes) == parts
        assert sizes.min() > 0.6 * sizes.max()
    labels[:] = 0
    labels[5, 5:8] = 1
    with pytest.raises(SettingsError, match="too small"):
        split(labels, 1, np.zeros((60, 70)), 2)


def test_grow_follows_the_contour_and_leaves_other_spots_alone():
    rng = np.random.default_rng(3)
    frame = rng.normal(100, 3, (60, 70)) + 200 * _gauss(30, 25)
    background = np.full(frame.shape, 100.0)
    labels = np.zeros(frame.shape, np.int32)
    grown = _applied(labels, grow(labels, frame, background, (31, 26), 8, GrowSettings(contour=50)))
    radius = np.sqrt((grown == 8).sum() / np.pi)
    assert radius == pytest.approx(3 * np.sqrt(2 * np.log(2)), abs=0.6)
    labels[:, 25:] = 1
    half = _applied(labels, grow(labels, frame, background, (30, 23), 8))
    assert (half[:, 25:] == 1).all()
    assert (half == 8).any()
    with pytest.raises(SettingsError, match="already"):
        grow(labels, frame, background, (30, 60), 8)
    with pytest.raises(SettingsError, match="brighter"):
        grow(np.zeros_like(labels), background, background, (5, 5), 8)


@settings(max_examples=50, deadline=None)
@given(labels=arrays(np.int32, (12, 13), elements=st.integers(0, 3)))
def test_separate_keeps_touching_spots_apart(labels):
    mask = separate(labels)
    assert not mask[labels == 0].any()
    apart, count = ndi.label(mask, EIGHT)
    for k in range(1, count + 1):
        assert np.unique(labels[apart == k]).size == 1
    alone = np.where(labels == 3, 3, 0)
    np.testing.assert_array_equal(separate(alone), alone > 0)


def test_separate_loses_no_thin_spot():
    labels = np.zeros((8, 12), int)
    labels[2, 2:8] = 1  # a line one pixel wide between two higher labels
    labels[3:6, 2:8] = 2
    labels[0:2, 2:8] = 3
    mask = separate(labels)
    assert ndi.label(mask, EIGHT)[1] == 3
    assert mask[labels == 1].all()
