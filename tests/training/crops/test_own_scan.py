"""Simulated spots over a measured background: eqs 1 and 2, and crops that can be made again."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError, SettingsError
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.training.crops.crop_spots import measure_spots
from napari_labdct.training.crops.own_scan import Backdrop, MixedScan, expose, settings_of_scan
from napari_labdct.training.crops.own_scan_settings import MixSettings
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.settings import SynthesisSettings

CROP = SynthesisSettings(crop_px=64, no_median=0.0)


@pytest.fixture(scope="module")
def mixed(background, small_scan):
    return MixedScan(background, small_scan, MixSettings(snr_min=4, snr_max=12), 0.5, 3, 1)


# ------------------------------------------------------------------------- eqs 1 and 2


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_paper_frames_have_the_mean_and_variance_of_eqs_1_and_2(background, tau):
    backdrop = Backdrop(background, MixSettings(output="8-bit", tau=tau))
    ground = backdrop.ground(np.random.default_rng(0), 3)
    signal = np.zeros(background.shape, np.float32)
    signal[20:24, 30:50] = 40 * ground.gain  # I_simu - C_BG = 40 in counts of x0
    x0 = ground.level / ground.gain + signal / ground.gain
    n = 400
    frames = [expose(np.random.default_rng(k), signal, ground)[0] for k in range(n)]
    mean, variance = np.mean(frames, 0), np.var(frames, 0)
    expected = tau**2 * x0 / 2
    error = (mean - x0 * (1 + tau / 2)) / np.sqrt(np.maximum(expected, 1e-3) / n)
    lit = x0 > 5
    assert abs(error[lit].mean()) < 5 / np.sqrt(lit.sum())
    assert error[lit].std() == pytest.approx(1, abs=0.05)
    assert (variance[lit] / expected[lit]).mean() == pytest.approx(1, abs=0.01)
    _, said, sigma = expose(np.random.default_rng(0), signal, ground)
    np.testing.assert_allclose(said, x0 * (1 + tau / 2), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(sigma**2, expected, rtol=1e-4, atol=1e-3)


def test_r_bg_is_drawn_around_i0_by_its_square_root(background):
    backdrop = Backdrop(background, MixSettings(output="8-bit", i0=100.0))
    tops = [
        backdrop.ground(np.random.default_rng(k), 0).level.max() / 1.5 for k in range(300)
    ]  # the brightest of I_BG is 1
    assert 90 <= min(tops) < 91
    assert 109 < max(tops) <= 110
    assert np.mean(tops) == pytest.approx(100, abs=5 * 5.8 / np.sqrt(300))


def test_physical_frames_have_the_noise_and_drift_that_were_measured(background):
    backdrop = Backdrop(background, MixSettings())
    seen = set()
    for seed in range(40):
        ground = backdrop.ground(np.random.default_rng(seed), 2)
        drift = float(np.median(ground.level / ground.still))
        seen.add(round(drift, 4))
        assert np.abs(background.drift - drift).min() < 1e-5
    assert len(seen) == len(np.unique(background.drift.round(4)))
    none = np.zeros(background.shape, np.float32)
    frames = [expose(np.random.default_rng(k), none, ground)[0] for k in range(400)]
    expected = background.noise_variance(ground.level)
    assert (np.var(frames, 0) / expected).mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(ground.noise**2, expected, rtol=1e-4)


def test_the_snr_of_a_spot_is_what_frames_show(background):
    """Mean above the background in the mask, over the noise there, from 400 noisy frames."""
    ground = Backdrop(background, MixSettings()).ground(np.random.default_rng(0), 1)
    signal, labels = np.zeros((2, *background.shape), np.float32)
    for number, (row, height) in enumerate([(15, 10.0), (40, 100.0), (60, 900.0)], 1):
        signal[row : row + 3, 20:27] = height
        labels[row : row + 3, 20:27] = number
    numbers, spots = measure_spots(labels.astype(int), signal, ground.noise)
    frames = np.stack([expose(np.random.default_rng(k), signal, ground)[0] for k in range(400)])
    empty = np.stack([expose(np.random.default_rng(k), 0 * signal, ground)[0] for k in range(400)])
    for number, spot in zip(numbers, spots):
        inside = labels == number
        height = frames[:, inside].mean() - empty[:, inside].mean()
        assert height / empty[:, inside].std(0).mean() == pytest.approx(spot["snr"], rel=0.1)
        assert spot["area"] == 21
        assert spot["detectability"] == pytest.approx(spot["snr"] * np.sqrt(21))
        assert spot["col"] == pytest.approx(23)


# ------------------------------------------------------------------------------- crops


def test_a_seed_and_a_number_decide_a_crop_whatever_was_drawn_before(mixed, background, small_scan):
    first = mixed.crop(CROP, 4, 7)
    mixed.crop(CROP, 4, 8)
    fresh = MixedScan(background, small_scan, mixed.settings, 0.5, 3, 1).crop(CROP, 4, 7)
    for name in ("frame", "median", "labels", "weight", "spots", "expected", "sigma"):
        np.testing.assert_array_equal(getattr(first, name), getattr(fresh, name))
    assert not np.array_equal(first.frame, mixed.crop(CROP, 5, 7).frame)


def test_truth_lies_where_the_spots_are(mixed):
    """Turned and mirrored together: frames are brighter than their median inside labels."""
    inside, outside, places = [], [], 0
    for k in range(12):
        crop = mixed.crop(CROP, 1, k)
        z = (crop.frame - crop.expected) / crop.sigma
        assert 1.4826 * np.median(np.abs(z)) == pytest.approx(1, abs=0.12)
        excess = (crop.frame.astype(float) - crop.median) / crop.sigma
        inside.append(excess[crop.labels > 0])
        outside.append(excess[crop.labels == 0])
        for number in np.unique(crop.labels[crop.labels > 0]):
            row, col = (np.nonzero(crop.labels == number)[k].mean() for k in (0, 1))
            spot = crop.spots[number - 1]
            places += np.hypot(row - spot["row"], col - spot["col"]) < 2
            assert spot["detectability"] >= CROP.visible_from
    assert places > 20
    assert np.median(np.concatenate(inside)) > np.median(np.concatenate(outside)) + 2


def test_brightness_follows_the_range_of_snr_asked_for(background, small_scan):
    def typical(low, high):
        made = MixedScan(background, small_scan, MixSettings(snr_min=low, snr_max=high), 1, 2, 1)
        return np.median(np.concatenate([made.crop(CROP, 0, k).spots["snr"] for k in range(12)]))

    assert 5 < typical(20, 21) / typical(2, 2.1) < 20


def test_no_spot_shines_through_the_beam_stop(background, small_scan):
    hidden = replace(background, beam_stop_px=(((0, 0), (0, 200), (200, 200), (200, 0)),))
    made = MixedScan(hidden, small_scan, None, 1.0, 2, 1)
    assert all(not len(made.crop(CROP, 0, k).spots) for k in range(5))


def test_a_part_of_a_mixed_stream_is_made_here(mixed):
    kinds = [
        not np.array_equal(mixed.mixed(CROP, 0, k).frame, make_crop(CROP, 0, k).frame)
        for k in range(6)
    ]
    assert kinds == [False, True] * 3
    stream = mixed.stream(CROP, 0, 3)
    np.testing.assert_array_equal(next(stream).frame, mixed.crop(CROP, 0, 3).frame)


def test_a_worker_process_makes_the_same_crops(mixed):
    sent = pickle.loads(pickle.dumps(mixed))
    assert sent.recipe == mixed.recipe
    np.testing.assert_array_equal(sent.crop(CROP, 0, 3).frame, mixed.crop(CROP, 0, 3).frame)


def test_the_recipe_names_everything_that_decides(mixed, background, small_scan):
    assert json.loads(json.dumps(mixed.recipe)) == mixed.recipe
    brighter = replace(background, mean=background.mean + 1)
    other = MixedScan(brighter, small_scan, mixed.settings, 0.5, 3, 1)
    assert other.recipe["backgrounds"] != mixed.recipe["backgrounds"]


# --------------------------------------------------------------------------- refusals


def test_a_background_of_another_pixel_size_is_resampled_with_a_note(background, small_scan):
    smaller = background.resampled((40, 40))
    made = MixedScan(smaller, small_scan, None, 1.0, 1, 1)
    assert made.note == "The background 'iron' was resampled from 40 x 40 to 80 x 80 px."
    assert made.crop(CROP, 0, 0).frame.shape == (64, 64)


def test_another_field_of_view_is_refused_and_so_is_a_dark_background(background, small_scan):
    narrow = replace(background.resampled((80, 80)), mean=background.mean[:, :50])
    with pytest.raises(ScanError, match="simulate frames of the same proportions"):
        MixedScan(narrow, small_scan)
    dark = replace(background, mean=0 * background.mean)
    with pytest.raises(ScanError, match="'iron' is dark everywhere; extract another one"):
        MixedScan(dark, small_scan)


def test_crops_larger_than_the_frames_are_refused(mixed):
    mixed.check_size(80)
    with pytest.raises(SettingsError, match="80 x 80 px, smaller than a crop of 96 px"):
        mixed.check_size(96)


def test_half_a_range_of_snr_is_refused():
    with pytest.raises(SettingsError, match="or neither"):
        MixSettings(snr_min=1.0)
    with pytest.raises(SettingsError, match="swap them"):
        MixSettings(snr_min=3.0, snr_max=2.0)


def test_spots_are_simulated_in_the_geometry_of_the_scan():
    scan = Scan(np.zeros((3, 50, 60), np.uint16), name="mine")
    with pytest.raises(ScanError, match="enter the pixel size"):
        settings_of_scan(scan)
    described = scan.replace(
        description=ScanDescription(
            pixel_um=48,
            source_sample_mm=14,
            sample_detector_mm=99,
            tube_kv=60,
            material="Fe",
            detector_center_px=(20, 30.5),
            detector_tilt_deg=(0.5, 0, 0),
        )
    )
    s = settings_of_scan(described, mean_grain_um=20)
    assert (s.rows, s.cols, s.pixel_um, s.binning) == (50, 60, 48, 1)
    assert (s.source_sample_mm, s.sample_detector_mm, s.tube_kv) == (14, 99, 60)
    assert (s.material, s.center_row_px, s.center_col_px, s.tilt_x_deg) == ("Fe", 20, 30.5, 0.5)
    assert s.mean_grain_um == 20
