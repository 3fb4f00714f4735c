"""Training crops: reproducible, and with the statistics of the paper's eqs 1 and 2."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from napari_labdct.core.errors import SettingsError
from napari_labdct.core.shape_kernels import keep_apart, stack_median
from napari_labdct.training.crops.crop_spots import GAP_WEIGHT, SPOT, Drawn, truth_of
from napari_labdct.training.crops.synthesis import add_noise, make_crop, mix, stream, tau_of
from napari_labdct.training.settings import SynthesisSettings


@pytest.fixture(scope="module")
def crops():
    return [make_crop(SynthesisSettings(), 5, k) for k in range(40)]


def test_a_seed_and_a_number_decide_a_crop(crops):
    again = make_crop(SynthesisSettings(), 5, 3)
    for name in ("frame", "labels", "weight", "expected", "spots"):
        np.testing.assert_array_equal(getattr(again, name), getattr(crops[3], name))
    other = make_crop(SynthesisSettings(), 6, 3)
    assert not np.array_equal(other.frame, crops[3].frame)
    started = next(stream(seed=5, start=3))
    np.testing.assert_array_equal(started.frame, crops[3].frame)


def test_stream_goes_on():
    settings = SynthesisSettings(crop_px=64)
    first, second = itertools.islice(stream(settings, seed=1), 2)
    assert not np.array_equal(first.frame, second.frame)


def test_equation_1():
    spots, background = np.full((4, 4), 12.0), np.full((4, 4), 0.5)
    np.testing.assert_allclose(mix(spots, 10.0, background, 110.0), 2 + 55)


@pytest.mark.parametrize("level", [4.0, 110.0, 5000.0])
@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_equation_2(level, tau):
    """``x0 + tau Poisson(x0/2)``: mean ``x0 (1 + tau/2)``, variance ``tau^2 x0/2``."""
    x0 = np.full((400, 400), level, np.float32)
    x = add_noise(x0, tau, np.random.default_rng(0)).astype(float)
    variance = tau**2 * level / 2
    assert x.mean() == pytest.approx(level * (1 + tau / 2), abs=5 * np.sqrt(variance / x.size))
    error_of_variance = variance * np.sqrt((2 + 2 / level) / x.size)
    assert x.var() == pytest.approx(variance, abs=5 * error_of_variance + 1e-3 * variance)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_tau_gives_the_variance_asked_for(ratio):
    tau = tau_of(ratio)
    assert (tau**2 / 2) / (1 + tau / 2) == pytest.approx(ratio)


def test_frames_scatter_as_they_say(crops):
    """Away from spots and cosmic rays, (frame - expected) / sigma has unit spread."""
    checked = 0
    for crop in crops:
        if crop.frame.dtype != np.uint16 or crop.sigma.min() < 3 or crop.expected.max() > 60000:
            continue
        lit = crop.expected > 5 * crop.sigma  # counts do not go below 0
        deviation = (crop.frame - crop.expected)[lit]
        deviation = (deviation - np.median(deviation)) / crop.sigma[lit]  # maybe an offset
        spread = 1.4826 * np.median(np.abs(deviation))
        assert spread == pytest.approx(1, abs=0.06)
        checked += 1
    assert checked > 10


def test_snr_covers_the_range_of_the_paper(crops):
    snr = np.concatenate([c.spots["snr"] for c in crops])
    assert len(snr) > 500
    assert snr.min() < 0.15
    low, high = np.mean(snr < 1.7), np.mean(snr > 28)
    assert 0.35 < low < 0.6  # half lie below sqrt(0.1 * 28)
    assert 0.03 < high < 0.15  # and a few are far brighter


def test_snr_is_the_mean_inside_the_label_over_the_noise():
    """The project's definition, measured on a large bright spot of the noise-free frame."""
    settings = SynthesisSettings(near_field=1.0, no_median=0.0)
    measured = []
    for k in range(12):
        crop = make_crop(settings, 8, k)
        if crop.median is None or crop.frame.dtype != np.uint16:
            continue
        for number in np.unique(crop.labels[crop.labels > 0]):
            spot = crop.spots[number - 1]
            inside = crop.labels == number
            around = ndimage.binary_dilation(inside, iterations=14)
            alone = len(np.unique(crop.labels[around])) == 2 and inside.sum() == spot["area"]
            if not alone or not 3 < spot["snr"] < 20 or spot["area"] < 20:
                continue
            ring = around & ~ndimage.binary_dilation(inside, iterations=10)
            signal = crop.expected[inside].mean() - np.median(crop.expected[ring])
            measured.append(signal / np.median(crop.sigma[ring]) / spot["snr"])
    assert len(measured) >= 3
    assert np.median(measured) == pytest.approx(1, abs=0.2)


def test_truth_ignores_what_nobody_could_see(crops):
    for crop in crops:
        shown = crop.spots[np.unique(crop.labels[crop.labels > 0]) - 1]
        assert (shown["detectability"] >= 3).all()
        assert not crop.weight[crop.labels < 0].any()
        assert crop.weight.min() >= 0
    assert any((c.labels < 0).any() for c in crops)
    assert any((c.weight == GAP_WEIGHT).any() for c in crops)


def test_small_visible_spots_have_a_label_that_survives(crops):
    """Labels of lone spots are at least 4 px, so that a smallest size of 3 px keeps them."""
    for crop in crops:
        gaps = crop.weight == 3  # labels are cut there
        for number in np.unique(crop.labels[crop.labels > 0]):
            inside = crop.labels == number
            rows, cols = np.nonzero(inside)
            border = min(rows.min(), cols.min()) < 2 or max(rows.max(), cols.max()) > 189
            near_gap = (ndimage.binary_dilation(inside, iterations=2) & gaps).any()
            overlapped = inside.sum() < crop.spots["area"][number - 1]
            if not (border or near_gap or overlapped):
                assert inside.sum() >= 4


def test_some_crops_have_no_median():
    settings = SynthesisSettings(crop_px=32, no_median=0.5)
    missing = [make_crop(settings, 0, k).median is None for k in range(60)]
    assert 15 < sum(missing) < 45


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="Crop size"):
        SynthesisSettings(crop_px=8)


def _two_gaussians():
    """Two Gaussian spots whose feet touch, each pixel owned by the brighter: (21, 31)."""
    rows, cols = np.indices((21, 31))
    alone = [
        p * np.exp(-((rows - 10) ** 2 + (cols - c) ** 2) / w).astype(np.float32)
        for p, c, w in ((100, 11, 12), (60, 18, 8))
    ]
    strongest = np.argmax(alone, axis=0)
    foot = 0.11 * np.array([100, 60])[strongest]
    owner = ((np.max(alone, axis=0) > foot) * (strongest + 1)).astype(np.int32)
    assert ndimage.label(owner, np.ones((3, 3)))[1] == 1
    return owner


def test_close_spots_are_kept_two_pixels_apart():
    """The larger label makes room; the smaller one stays whole."""
    owner = _two_gaussians()
    before, area = owner.copy(), np.bincount(owner.ravel())[1:]
    assert area[0] > area[1]
    gap = keep_apart(owner, area, np.ones(2, bool))
    count = ndimage.label(owner, np.ones((3, 3)))[1]
    assert count == 2
    np.testing.assert_array_equal(owner == 2, before == 2)
    distance = ndimage.distance_transform_cdt(owner != 1, "chessboard")
    assert distance[owner == 2].min() == 3  # two pixels between them
    near = ndimage.distance_transform_cdt(before != 2, "chessboard") <= 2
    np.testing.assert_array_equal((before == 1) & (owner == 0), (before == 1) & near)
    assert (gap[(before == 1) & near]).all()
    assert not (gap & (owner > 0)).any()


def test_what_nobody_could_see_makes_no_gap():
    owner = _two_gaussians()
    before, area = owner.copy(), np.bincount(owner.ravel())[1:]
    gap = keep_apart(owner, area, np.array([True, False]))
    np.testing.assert_array_equal(owner, before)
    assert not gap.any()


def test_the_rest_of_a_covered_spot_must_be_seen_to_count():
    """Of a bright spot's neighbour two pixels are left: no label, and no gap in the bright one."""
    owner = np.zeros((20, 20), np.int32)
    owner[5:12, 5:12] = 1
    owner[5:7, 12] = 2
    signal = np.where(owner == 1, 50, np.where(owner == 2, 20, 0)).astype(np.float32)
    spots = np.zeros(2, SPOT)
    spots["snr"], spots["area"] = (50, 20), (49, 30)
    heights = np.array([50, 20], np.float32)
    labels, weight, _ = truth_of(SynthesisSettings(), Drawn(signal, owner, spots, heights))
    assert (labels[5:12, 5:12] == 1).all()
    assert (labels[5:7, 12] == -1).all()
    assert weight.max() < GAP_WEIGHT
    assert (weight[labels < 0] == 0).all()


def test_the_median_of_a_stack_keeps_what_most_frames_show():
    """Spots in 3 of 4 other frames stay in the median, those of 1 in 4 hardly do."""
    shape = (40, 40)
    others = np.zeros((4, *shape), np.float32)
    others[:3, :20] = 60
    others[0, 20:, :20] = 60
    ground, sigma = np.full(shape, 100, np.float32), np.full(shape, 5, np.float32)
    median = np.full(shape, -1, np.float32)
    frame = np.full(shape, 100, np.float32)
    stack_median(median, frame, ground, sigma, others, 21, 3)
    assert np.median(median[:20]) > 150
    ghost = np.median(median[20:, :20]) - 100
    # 5 of 20 are above: the median is the 15th of 15 plus this frame, near their 69th percentile
    assert 1 < ghost < 5
    assert (median[20:, 20:] == -1).all()
    again = np.full(shape, -1, np.float32)
    stack_median(again, frame, ground, sigma, others, 21, 3)
    np.testing.assert_array_equal(again, median)


def test_a_streak_of_a_deformed_grain_is_one_spot():
    """Long spots of uneven brightness carry one number, however many bright parts they have."""
    long = 0
    for k in range(60):
        crop = make_crop(SynthesisSettings(near_field=1.0, crop_px=128), 8, k)
        for number in np.unique(crop.labels[crop.labels > 0]):
            place = np.argwhere(crop.labels == number)
            long += np.ptp(place, axis=0).max() > 90
        assert crop.labels.max() <= len(crop.spots)
    assert long >= 3


def test_a_crop_in_the_dark_of_a_beam_stop_is_finite():
    """A stop over the whole crop leaves no light to measure the noise by."""
    crop = make_crop(SynthesisSettings(), 11, 7260)
    assert crop.expected.max() < 1 or np.median(crop.expected) < 1
    for image in (crop.expected, crop.weight, crop.sigma):
        assert np.isfinite(image).all()
    assert crop.frame.min() >= 0


def test_gaps_weigh_as_the_settings_say():
    owner = _two_gaussians()
    signal = np.where(owner > 0, 50, 0).astype(np.float32)
    spots = np.zeros(2, SPOT)
    spots["snr"], spots["area"] = 20, np.bincount(owner.ravel())[1:]
    heights = np.array([50, 50], np.float32)
    weights = [
        truth_of(settings, Drawn(signal, owner.copy(), spots.copy(), heights))[1]
        for settings in (SynthesisSettings(), SynthesisSettings(gap_weight=1.5))
    ]
    gap = weights[0] == GAP_WEIGHT
    assert gap.any()
    assert (weights[1][gap] == 1.5).all()
    np.testing.assert_array_equal(weights[1][~gap], weights[0][~gap])
