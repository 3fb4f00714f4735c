"""The compiled loops against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage as ndi

from napari_labdct.core import kernels
from napari_labdct.spots.components import EIGHT, drop_small
from napari_labdct.spots.log_routine import laplacian_of_gaussian

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))


@settings(max_examples=150, deadline=None)
@given(mask=MASKS, eight=st.booleans())
def test_components_are_scipys_in_the_same_order(mask, eight):
    labels = np.empty(mask.shape, np.int32)
    count = kernels.label(mask, eight, labels)
    expected, n = ndi.label(mask, EIGHT if eight else None)
    assert count == n
    np.testing.assert_array_equal(labels, expected)


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, min_size=st.integers(0, 9))
def test_small_components_go_and_the_input_stays(mask, min_size):
    before = mask.copy()
    labels, n = ndi.label(mask, EIGHT)
    expected = np.isin(labels, [k for k in range(1, n + 1) if (labels == k).sum() >= min_size])
    np.testing.assert_array_equal(drop_small(mask, min_size), expected & mask)
    np.testing.assert_array_equal(mask, before)


@settings(max_examples=40, deadline=None)
@given(mask=MASKS, part=st.floats(0, 1, width=32), seed=st.integers(0, 9))
def test_cut_keeps_what_stands_above_its_own_peak(mask, part, seed):
    above = np.random.default_rng(seed).gamma(1, 5, mask.shape).astype(np.float32)
    labels, n = ndi.label(mask)
    expected = np.zeros_like(mask)
    for k in range(1, n + 1):
        inside = labels == k
        expected |= inside & (above > np.float32(part) * above[inside].max())
    got = mask.copy()
    kernels.cut_at_part_of_peak(got, above, np.float32(part), np.empty(mask.shape, np.int32))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (30, 1), (65, 700)])
def test_median_of_nine_is_scipys(shape):
    image = np.random.default_rng(3).normal(0, 9, shape).astype(np.float32)
    out = np.empty_like(image)
    padded = np.pad(image, 1, mode="edge")
    kernels.in_row_blocks(kernels.median_3x3, shape[0], padded, out)
    np.testing.assert_array_equal(out, ndi.median_filter(image, 3, mode="nearest"))


@pytest.mark.parametrize("sigma", [0.3, 0.9, 3.3, 12.0])
@pytest.mark.parametrize("shape", [(3, 5), (40, 1100), (130, 513)])
def test_log_is_the_plain_convolution(sigma, shape):
    image = np.random.default_rng(4).gamma(1, 30, shape)
    half = int(np.ceil(8 * np.sqrt(2) * sigma))
    x = np.arange(-half, half + 1.0)
    g = np.exp(-(x**2) / (2 * sigma**2))
    g /= g.sum()
    w = g * (x**2 - sigma**2) / sigma**4

    def passes(rows, cols):
        one = ndi.convolve1d(image, rows, axis=0, mode="constant")
        return ndi.convolve1d(one, cols, axis=1, mode="constant")

    expected = -(passes(w, g) + passes(g, w))
    got = laplacian_of_gaussian(image, sigma)
    np.testing.assert_allclose(got, expected, atol=1e-10 * np.abs(expected).max())
