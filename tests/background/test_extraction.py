"""Backgrounds come out as they were put in, whatever the spots are."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.background import Extraction, ExtractionSettings
from napari_labdct.background.steps import (
    add_spread,
    bin_cells,
    fill_holes,
    fill_mask,
    fit_noise,
    normalised,
    spot_mask,
)
from napari_labdct.core.errors import ScanError
from napari_labdct.scan.scan import Scan, angles

ROWS, COLS, COUNT = 150, 171, 25


def true_background() -> np.ndarray:
    """A hill beside the centre, a beam stop with a sharp edge, and a bright streak."""
    row, col = np.mgrid[:ROWS, :COLS]
    level = 300 + 250 * np.exp(-((row - 80) ** 2 + (col - 60) ** 2) / 6000)
    level[60:85, 70:100] = 40
    level[20:50, 30] += 120
    return level


def projections(height: float = 1.0, drift: float = 0.05, seed: int = 3) -> np.ndarray:
    """Projections with moving spots; noise and places do not depend on `height`."""
    random = np.random.default_rng(seed)
    row, col = np.mgrid[:ROWS, :COLS]
    frames = np.empty((COUNT, ROWS, COLS))
    for k in range(COUNT):
        level = true_background() * (1 + drift * np.sin(k))
        noise = random.standard_normal(level.shape) * np.sqrt(level)
        spots = np.zeros(level.shape)
        for _ in range(7):
            r, c = random.uniform(3, ROWS - 4), random.uniform(3, COLS - 4)
            sigma = random.uniform(0.9, 3)
            spots += 400 * np.exp(-((row - r) ** 2 + (col - c) ** 2) / (2 * sigma**2))
        frames[k] = level + noise + height * spots
    return np.clip(np.rint(frames), 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def extracted():
    extraction = Extraction(Scan(projections(), name="iron"), ExtractionSettings(), measure=True)
    return extraction, np.stack([extraction.level(k) for k in range(COUNT)])


# ----------------------------------------------------------------------- whole chain


def test_a_known_background_is_recovered_within_its_noise(extracted):
    _, levels = extracted
    truth = true_background()
    # the median of 25 projections has a quarter of the noise of one
    error = (levels[12] / truth * np.median(truth / levels[12]) - 1) * np.sqrt(truth)
    assert np.abs(np.median(error)) < 0.02
    assert 1.4826 * np.median(np.abs(error)) < 0.2
    assert np.quantile(np.abs(error), 0.999) < 2


def test_nothing_of_a_spot_is_left_where_it_was(extracted):
    _, levels = extracted
    truth = true_background()
    brightest = projections().max(0) > truth + 12 * np.sqrt(truth)
    error = (levels[12] * np.median(truth / levels[12]) - truth) / np.sqrt(truth)
    assert brightest.sum() > 1000
    # One projection of 25 that is brighter moves a median by 1.25 sigma / 25.
    assert abs(error[brightest].mean() - error[~brightest].mean()) < 1.25 / COUNT


def test_edges_of_the_beam_stop_and_the_streak_stay_sharp(extracted):
    _, levels = extracted
    level = levels[5] * np.median(true_background() / levels[5])
    assert level[72, 71:99].max() < 60
    assert level[72, 69] > 300
    streak = level[22:48, 30] - (level[22:48, 27] + level[22:48, 33]) / 2
    assert np.median(streak) == pytest.approx(120, abs=10)


def test_the_result_does_not_depend_on_the_brightness_of_the_spots(extracted):
    _, levels = extracted
    noise = np.sqrt(true_background())
    for height in (0.5, 4, 100):
        other = Extraction(Scan(projections(height)), ExtractionSettings()).level(12)
        other *= np.median(levels[12] / other)  # I_BG knows no absolute scale
        difference = (other - levels[12]) / noise
        assert np.abs(difference).mean() < 0.03
        assert abs(difference.mean()) < 0.01
        assert np.quantile(np.abs(difference), 0.999) < 0.8


def test_drift_is_followed_and_does_not_enter_the_background(extracted):
    extraction, levels = extracted
    drift = np.array([extraction.numbers[k].drift for k in range(COUNT)])
    truth = 1 + 0.05 * np.sin(np.arange(COUNT))
    assert np.std(drift / truth) / np.mean(drift / truth) < 0.003
    assert np.ptp(levels, axis=0).max() < 1e-3  # one window for all of a short stack


def test_steps_show_what_was_done(extracted):
    extraction, _ = extracted
    frame = projections()[7]
    steps = extraction.steps(7)
    np.testing.assert_array_equal(steps.projection, frame)
    dropped = steps.without_spots == 0
    assert 0.005 < dropped.mean() < 0.05
    assert steps.fill_mask[dropped].all()
    np.testing.assert_array_equal(steps.without_spots[~dropped], frame[~dropped])
    truth = true_background() * (1 + 0.05 * np.sin(7))
    assert np.quantile(np.abs(steps.filled - truth) / np.sqrt(truth), 0.99) < 1.5


def test_i_bg_lies_between_0_and_1(extracted):
    extraction, _ = extracted
    image = extraction.frame(3)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() == 1
    plain = normalised(extraction.level(3), 0)
    assert (plain == 1).sum() == 1


def test_run_resumes_and_gives_the_same_as_single_frames(tmp_path, extracted):
    extraction, _ = extracted
    scan = Scan(projections(), name="iron")
    settings = ExtractionSettings()
    store = Extraction(scan, settings).open_store(tmp_path / "ibg.tif")
    job = Extraction(scan, settings).run(store)
    for step in job:
        if step.done == 4:
            break
    job.close()
    assert store.done.sum() == 4
    again = Extraction(scan, settings).open_store(tmp_path / "ibg.tif")
    steps = list(Extraction(scan, settings).run(again))
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (4, COUNT, COUNT)
    assert "cut to the 25 that fit into the 25 projections" in steps[0].message
    assert again.complete
    assert again.dtype == np.float32
    for k in (0, 3, 4, 24):
        np.testing.assert_array_equal(again[k], extraction.frame(k))


def test_a_window_that_fits_goes_through_the_stack():
    scan = Scan(projections())
    extraction = Extraction(scan, ExtractionSettings(window_frames=9))
    assert extraction.note == ""
    assert extraction.window_of(0) == list(range(9))
    assert extraction.window_of(12) == list(range(8, 17))
    assert extraction.window_of(24) == list(range(16, 25))
    whole = Scan(projections(), omega_deg=angles(0, 14.4, COUNT))
    assert Extraction(whole, ExtractionSettings(window_frames=5)).window_of(0) == [0, 1, 2, 23, 24]


# -------------------------------------------------------------------------- refusals


def test_too_few_projections_are_refused_with_what_fits():
    with pytest.raises(ScanError, match="has 4 projections; a background needs at least 5"):
        Extraction(Scan(projections()[:4], name="iron"), ExtractionSettings()).level(0)


@pytest.mark.parametrize(("value", "said"), [(0, "is zero everywhere"), (77, "is 77 everywhere")])
def test_a_constant_projection_is_refused_by_its_number(value, said):
    frames = projections()
    frames[24] = value
    with pytest.raises(ScanError, match=f"Projection 24 of 'iron' {said}"):
        Extraction(Scan(frames, name="iron"), ExtractionSettings()).level(0)


# ------------------------------------------------------------------------- the steps


def test_sobel_gives_the_chosen_rate_of_false_pixels():
    noise = np.random.default_rng(0).normal(0, 7, (600, 600)).astype(np.float32)
    # the Sobel magnitude of white noise is Rayleigh distributed
    assert spot_mask(noise, 49.0, 3.0).mean() == pytest.approx(np.exp(-4.5), rel=0.1)


def test_a_flat_topped_spot_is_found_whole():
    image = np.zeros((120, 120), np.float32)
    image[50:62, 40:55] = 1000
    mask = spot_mask(image, 1.0, 5.0)
    assert mask[50:62, 40:55].all()
    assert mask.sum() < 17 * 20


def test_fill_mask_is_a_gaussian_of_two_pixels_and_a_disk():
    from skimage.morphology import dilation, disk

    random = np.random.default_rng(1)
    spots = random.random((90, 131)) > 0.999
    for radius in (0, 1, 6, 13):
        grown = fill_mask(spots, ExtractionSettings(dilation_radius_px=radius, gaussian_size_px=1))
        np.testing.assert_array_equal(grown, dilation(spots, disk(radius)))
    one = np.zeros((9, 9), bool)
    one[4, 4] = True
    assert fill_mask(one, ExtractionSettings(dilation_radius_px=0)).sum() == 4


def test_holes_are_filled_smoothly_from_their_surroundings():
    row, col = np.mgrid[:130, :90]
    truth = 5 + 0.02 * row - 0.03 * col
    part = np.ones(truth.shape)
    part[np.hypot(row - 60, col - 40) < 25] = 0
    part[:10, :10] = 0
    filled = fill_holes(np.where(part > 0, truth, 1e6), part)
    assert np.abs(filled - truth).max() < 0.35
    np.testing.assert_allclose(filled[part > 0], truth[part > 0], rtol=1e-6)
    assert fill_holes(np.ones((7, 5)), np.zeros((7, 5))).max() == 0


def test_cells_and_back_keep_a_plane():
    row, col = np.mgrid[:64, :50].astype(np.float32)
    plane = 3 + 0.5 * row - col
    for pitch in (1, 2, 8):
        out = np.zeros_like(plane)
        add_spread(out, bin_cells(plane, pitch), pitch)
        inner = (slice(pitch, 64 - pitch), slice(pitch, 48 - pitch))
        np.testing.assert_allclose(out[inner], plane[inner], atol=1e-4)


@pytest.mark.parametrize(("gain", "offset"), [(0.7, 0.0), (1.5, 40.0), (0.0, 9.0)])
def test_noise_is_fitted_by_a_line(gain, offset):
    levels = np.linspace(20, 900, 12)
    assert fit_noise(levels, gain * levels + offset) == pytest.approx((gain, offset), abs=1e-8)
