"""Significance: in white noise the sigmas of a filter, on a spot the height the theory gives."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.spots import significance as module
from napari_labdct.spots.measurement import measure
from napari_labdct.spots.significance import filter_bank, significance


def gaussian(shape, row, col, length, width, turn=0.0):
    r, c = np.indices(shape)
    along = (c - col) * np.cos(turn) - (r - row) * np.sin(turn)
    across = (c - col) * np.sin(turn) + (r - row) * np.cos(turn)
    return np.exp(-0.5 * ((along / length) ** 2 + (across / width) ** 2)).astype(np.float32)


@pytest.mark.parametrize(("length", "width", "turn"), [(1, 0.8, 0), (4.5, 1.2, 0.7), (2.7, 1.8, 2)])
def test_a_spot_of_a_filters_shape_has_its_matched_height(length, width, turn):
    turn = np.pi / 8 * round(turn / (np.pi / 8))
    spot = 3 * gaussian((60, 60), 30, 30, length, width, turn)
    labels = (spot > 1).astype(np.int32)
    ideal = np.sqrt((spot**2).sum())  # sum(s^2) / sqrt(sum(s^2)) for a filter like the spot
    found = significance(spot, labels)[0]
    assert 0.95 * ideal < found < 1.001 * ideal


def test_noise_alone_has_heights_of_sigmas():
    noise = np.random.default_rng(3).standard_normal((300, 300), np.float32)
    places = np.zeros(noise.shape, np.int32)
    places[8::16, 8::16] = np.arange(1, 19 * 19 + 1).reshape(19, 19)  # apart: independent
    heights = significance(noise, places)
    # the largest of 75 filters that resemble each other at one pixel
    assert 0.9 < np.median(heights) < 2.2
    assert heights.max() < 5


def test_what_is_enough_ends_the_search_and_decides_alike():
    rng = np.random.default_rng(1)
    image = rng.standard_normal((200, 200), np.float32)
    labels = np.zeros(image.shape, np.int32)
    for n, (row, col) in enumerate(rng.integers(15, 185, (40, 2)), 1):
        spot = gaussian(image.shape, row, col, 2, 1, n)
        image += rng.uniform(0.5, 4) * spot
        labels[(spot > 0.4) & (labels == 0)] = n
    every, enough = significance(image, labels, count=40), significance(image, labels, 4.5, 40)
    assert 5 < (every >= 4.5).sum() < 35
    np.testing.assert_array_equal(enough >= 4.5, every >= 4.5)
    np.testing.assert_allclose(enough[every < 4.5], every[every < 4.5])


def test_at_the_edge_a_filter_counts_what_is_on_the_detector():
    spot = 4 * gaussian((40, 40), 0, 20, 2.7, 1.2)
    found = significance(spot, (spot > 2).astype(np.int32))[0]
    assert found == pytest.approx(np.sqrt((spot**2).sum()), rel=0.05)


def test_no_spots_have_no_significance_and_unlabelled_numbers_the_lowest():
    assert significance(np.ones((20, 20)), np.zeros((20, 20), np.int32)).shape == (0,)
    labels = np.zeros((20, 20), np.int32)
    labels[5, 5] = 2
    assert np.isneginf(significance(np.ones((20, 20)), labels)[0])


def test_the_bank_has_unit_directions_and_round_filters_first():
    starts, taps, weights, n_round = filter_bank()
    assert starts[-1] == len(taps) == len(weights)
    assert 1 <= n_round < starts.size - 1
    assert (starts.size - 1 - n_round) % module.DIRECTIONS == 0


def test_the_table_of_spots_has_it_whatever_the_units_of_the_detector():
    rng = np.random.default_rng(5)
    median = np.full((160, 160), 400, np.float32)
    spot = 60 * gaussian(median.shape, 80, 80, 2.7, 1.2)
    frame = rng.poisson(median + spot)
    mask = spot > 12
    expected = np.sqrt(((spot / 20) ** 2).sum())  # sigma is 20 counts, a little more in the spot
    one = measure(frame, mask, median)["significance"][0]
    ten = measure(10 * frame + 500, mask, 10 * median + 500)["significance"][0]
    assert one == pytest.approx(expected, rel=0.2)
    assert ten == pytest.approx(one, rel=0.03)
