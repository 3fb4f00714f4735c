from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from skimage.measure import label, regionprops

from napari_labdct.background.noise import block_median, noise_map
from napari_labdct.core.errors import ScanError
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.binarisation import BinaryFrames, SpotSettings, binarise
from napari_labdct.spots.components import EIGHT
from napari_labdct.spots.measurement import (
    SPOT_DTYPE,
    label_image,
    local_background,
    measure,
    measure_stack,
)

RNG = np.random.default_rng(11)


@settings(max_examples=50, deadline=None)
@given(mask=arrays(bool, (17, 19)), size=st.integers(1, 12))
def test_binarise_keeps_what_regionprops_keeps(mask, size):
    got = binarise(mask * np.uint8(200), SpotSettings(threshold=200, min_size_px=size))
    labels = label(mask, connectivity=2)
    expected = np.isin(labels, [r.label for r in regionprops(labels) if r.area >= size])
    np.testing.assert_array_equal(got, expected)


def test_threshold_is_inclusive_and_lazy():
    cleaned = np.zeros((2, 8, 8), np.uint8)
    cleaned[1, 2:5, 2:5] = 128
    frames = BinaryFrames(cleaned, SpotSettings(threshold=128))
    assert frames[1].sum() == 9 * 255
    frames.settings = SpotSettings(threshold=129)
    assert not frames[1].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), density=st.floats(0.05, 0.4))
def test_measurements_agree_with_scikit_image(seed, density):
    rng = np.random.default_rng(seed)
    mask = rng.random((40, 44)) < density
    frame = rng.integers(200, 900, mask.shape).astype(np.uint16)
    background = np.full(mask.shape, 100.0, np.float32)
    table = measure(frame, mask, background)
    drift = np.median(frame[~mask]) / 100
    signal = frame - 100 * drift
    regions = regionprops(ndi.label(mask, EIGHT)[0])
    assert len(table) == len(regions)
    for row, region in zip(table, regions):
        box = tuple(int(row[n]) for n in ("row_min", "col_min", "row_max", "col_max"))
        assert box == (*region.bbox[:2], region.bbox[2] - 1, region.bbox[3] - 1)
        assert row["area_px"] == region.area
        # scikit-image takes pixels as points; a square adds its own variance of 1/12
        length, width = (
            np.hypot(v, 4 / np.sqrt(12))
            for v in (region.axis_major_length, region.axis_minor_length)
        )
        np.testing.assert_allclose([row["length_px"], row["width_px"]], [length, width], rtol=1e-4)
        values = signal[tuple(region.coords.T)]
        np.testing.assert_allclose(row["sum"], values.sum(), rtol=1e-4, atol=0.5)
        np.testing.assert_allclose(row["peak"], values.max(), rtol=1e-4)


def test_orientation_of_a_tilted_streak():
    rows, cols = np.indices((60, 60))
    for degrees in (0, 30, 60, 90, -45):
        along = (cols - 30) * np.cos(np.deg2rad(degrees)) - (rows - 30) * np.sin(
            np.deg2rad(degrees)
        )
        across = (cols - 30) * np.sin(np.deg2rad(degrees)) + (rows - 30) * np.cos(
            np.deg2rad(degrees)
        )
        mask = (abs(along) < 20.4) & (abs(across) < 3.4)
        (row,) = measure(np.where(mask, 500, 100), mask, np.full(mask.shape, 100.0))
        assert abs((row["orientation_deg"] - degrees + 90) % 180 - 90) < 1.5
        assert row["length_px"] > 5 * row["width_px"]


def test_snr_is_mean_signal_over_local_noise():
    level, height = 400, 55
    frame = RNG.poisson(level, (256, 256)).astype(float)
    mask = np.zeros(frame.shape, bool)
    mask[100:110, 80:90] = True
    frame[mask] += height
    for median in (np.full(frame.shape, float(level)), np.full(frame.shape, level / 1.1), None):
        (row,) = measure(np.round(frame).astype(np.uint16), mask, median)
        expected = height / np.sqrt(level)
        # the mean of 100 pixels has an error of a tenth of the noise
        assert row["snr"] == pytest.approx(expected, abs=0.35)
        assert row["background"] == pytest.approx(level, rel=0.01)


def test_noise_map_follows_the_noise_and_ignores_spots():
    sigma = np.where(np.arange(256) < 128, 5.0, 15.0)[None] * np.ones((256, 1))
    frame = 300 + RNG.normal(0, 1, sigma.shape) * sigma
    frame[::16, ::16] += 5000
    noise = noise_map(frame, np.full(frame.shape, 300.0))
    assert noise[:, 20:100].mean() == pytest.approx(5, rel=0.08)
    assert noise[:, 160:230].mean() == pytest.approx(15, rel=0.08)


def test_local_background_follows_the_drift_of_the_source():
    median = np.full((64, 64), 500.0)
    mask = np.zeros((64, 64), bool)
    np.testing.assert_allclose(local_background(median * 1.07, median, mask), 535, rtol=1e-5)


@given(shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), block=st.integers(4, 64))
@settings(deadline=None, max_examples=25)
def test_block_median_of_a_constant_is_constant(shape, block):
    np.testing.assert_allclose(block_median(np.full(shape, 7.0), block_px=block), 7)


def test_edges_beam_stop_and_an_empty_frame():
    mask = np.zeros((30, 30), bool)
    mask[0:3, 5:8] = mask[15:18, 12:15] = mask[25:28, 20:23] = True
    stop = np.zeros_like(mask)
    stop[10:15, 10:20] = True
    table = measure(mask * 100 + 50, mask, np.full(mask.shape, 50.0), beam_stop=stop)
    assert table["touches_edge"].tolist() == [True, False, False]
    assert table["touches_beam_stop"].tolist() == [False, True, False]
    empty = measure(np.zeros((9, 9)), np.zeros((9, 9)), None)
    assert empty.dtype == SPOT_DTYPE
    assert len(empty) == 0


def test_a_stack_is_measured_frame_by_frame_with_its_angles():
    stack = RNG.poisson(100, (7, 64, 64)).astype(np.uint16)
    masks = np.zeros(stack.shape, np.uint8)
    for i in range(7):
        stack[i, 8 * i : 8 * i + 4, 30:34] += 200
        masks[i, 8 * i : 8 * i + 4, 30:34] = 255
    tables = list(measure_stack(Scan(stack, omega_deg=np.arange(7.0)), masks, 5))
    assert [t["frame"][0] for t in tables] == list(range(7))
    assert [t["omega_deg"][0] for t in tables] == list(range(7))
    assert all(abs(t["row"][0] - (8 * i + 1.5)) < 0.2 for i, t in enumerate(tables))
    single = next(measure_stack(Scan(stack[:1]), masks[:1]))
    assert single["snr"][0] > 5


@pytest.mark.parametrize("value", [0.7, 1.0, 255.0])
def test_a_mask_of_one_floating_value_is_a_mask(value):
    mask = np.zeros((9, 9), np.float32)
    mask[1:3, 1:3] = mask[5:7, 5:7] = value
    assert np.unique(label_image(mask)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.2, 0.7], "different fractions"),
        ([1.5, 3.0], "different fractions"),
        ([np.nan], "NaN"),
        ([-1.0], "negative"),
        ([1e20], "may go up to"),
        ([np.inf], "may go up to"),
        (np.array([4_000_000_000], np.uint32), "may go up to"),
        (np.array([2_000_000_000], np.int32), "may go up to"),
    ],
)
def test_what_is_neither_mask_nor_labels_is_refused(values, words):
    with pytest.raises(ScanError, match=words):
        label_image(np.array([[0, *values]], np.asarray(values).dtype))
