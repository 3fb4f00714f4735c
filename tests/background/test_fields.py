"""Parametric backgrounds: parts within their documented ranges, detectors that behave as said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_labdct.background import fields
from napari_labdct.background.virtual import FieldSettings, sample_background

SHAPE = (120, 170)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_smooth_fields_have_unit_variance_and_no_mean():
    many = np.stack([fields.smooth_field(rng(k), SHAPE) for k in range(200)])
    assert abs(many.mean()) < 0.1
    assert many.std() == pytest.approx(1, abs=0.15)
    steps = np.abs(np.diff(many, axis=2)).max()
    assert steps < 0.25  # smooth: nothing that a spot could be taken for


def test_gradients_rise_as_far_as_they_say():
    for seed in range(40):
        hill = fields.radial_gradient(rng(seed), SHAPE, (60, 80))
        assert hill.argmax() == 60 * 170 + 80
        assert 1.04 < hill.max() <= 3
        slope = fields.one_sided_gradient(rng(seed), SHAPE)
        assert slope.max() - slope.min() <= 0.8 * np.hypot(*SHAPE) / max(SHAPE) + 1e-5
        assert slope.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("is_round", [False, True])
def test_a_stop_is_dark_inside_and_its_penumbra_is_soft(is_round):
    depth = fields.stop_depth(SHAPE, (50, 90), 20, 1.5, is_round)
    assert depth[50, 90] == 20
    through = fields.shadow(depth, 2.0, 0.1)
    assert through[50, 90] == pytest.approx(0.1, abs=0.01)
    assert through[0, 0] == pytest.approx(1, abs=1e-3)
    edge = through[50, 90 + (20 if is_round else 30)]
    assert edge == pytest.approx(0.55, abs=0.01)
    halo = fields.direct_beam_halo(rng(), depth, 170)
    assert halo.max() == pytest.approx(halo[np.abs(depth) < 0.5].max())


def test_streaks_point_at_the_beam():
    along = []
    for seed in range(8):
        image = np.zeros((300, 300), np.float32)
        fields.radial_streaks(rng(seed), image, 1.0, (150, 150))
        labels, count = ndimage.label(image > 0.5)
        for k in range(1, count + 1):
            row, col = np.nonzero(labels == k)
            away = np.array([row.mean() - 150, col.mean() - 150])
            if len(row) < 25 or np.hypot(*away) < 30:
                continue
            value, vector = np.linalg.eigh(np.cov(np.stack([row, col])))
            if value[1] > 4 * value[0]:
                along.append(abs(vector[:, 1] @ away) / np.hypot(*away))
    assert len(along) > 20
    assert np.median(along) > 0.98


def test_rates_and_heights_lie_in_their_ranges():
    shape = (500, 500)
    for seed in range(20):
        place, height = fields.hot_pixels(rng(seed), shape, 10.0)
        assert 0 < len(height) < 1200
        assert height.min() >= 20
        assert height.max() <= 1000
        assert (place < 500).all()
        dead = fields.dead_pixels(rng(seed), shape)
        assert dead.shape[1] < 80
        assert (dead < 500).all()
        lines = fields.line_streaks(rng(seed), shape, 10.0)
        assert 0.5 < lines.max() <= 6 * 80
        assert np.abs(fields.columns(rng(seed), shape, 10.0)).max() < 20 * 5
        assert 0.04 < fields.edge_glow(rng(seed), shape).max() < 100


def test_seams_are_thin_and_tiles_alike():
    for seed in range(20):
        image = fields.tile_seams(rng(seed), SHAPE)
        assert image.min() > 0.2  # two seams cross
        assert image.max() < 1.9
        values, counts = np.unique(image, return_counts=True)
        assert counts.max() > 300
        assert len(values) < 60


@pytest.mark.parametrize("binning", [1, 4])
def test_cosmic_rays_are_sharp_and_smaller_where_pixels_are_binned(binning):
    image = np.zeros((2000, 1000), np.float32)
    fields.cosmic_rays(rng(1), image, np.full(400, 50, np.float32), binning)
    labels, count = ndimage.label(image > 0, np.ones((3, 3)))
    area = np.bincount(labels.ravel())[1:]
    assert 350 < count <= 400
    low, high = (2.5, 7) if binning == 1 else (1, 3.5)
    assert low <= area.mean() <= high
    assert np.mean(area == 1) > 0.3
    assert area.max() < 45


# ------------------------------------------------------------------------- whole detectors


def test_a_seed_decides_everything():
    one, same, other = (sample_background(SHAPE, seed=k) for k in (4, 4, 5))
    np.testing.assert_array_equal(one.still, same.still)
    one.frame(0)
    np.testing.assert_array_equal(one.frame(3), same.frame(3))
    assert not np.array_equal(one.frame(3), one.frame(4))
    assert not np.array_equal(one.still, other.still)
    assert sum(1 for _ in one.frames(3)) == 3


@pytest.mark.parametrize("level", [6.0, 2000.0])
def test_noise_has_the_variance_it_says(level):
    settings = FieldSettings(
        level_min=level, level_max=level, bits="16", drift_percent=0, cosmic_min=0, cosmic_max=0
    )
    background = sample_background((80, 90), settings, seed=2)
    frames = np.stack([background.frame(k) for k in range(300)]).astype(float)
    expected = background.expected(0)
    np.testing.assert_allclose(background.still, expected, rtol=1e-5)
    quiet = (expected > 3 * background.sigma) & (expected < 60000)
    variance = background.variance(expected) + 1 / 12  # of rounding
    quiet &= ndimage.uniform_filter(np.abs(np.gradient(variance)[0]) / variance, 3) < 0.1
    assert quiet.mean() > 0.1
    ratio = (np.var(frames, 0) / variance)[quiet]
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert abs(np.median((frames.mean(0) - expected)[quiet])) < 0.01 * level


def test_ranges_are_kept_over_many_detectors():
    made = [sample_background(SHAPE, seed=k) for k in range(60)]
    ratio = np.array([b.gain for b in made if b.top > 255])
    assert 0.5 <= ratio.min() < 0.8
    assert 1.3 < ratio.max() <= 2
    level = [np.median(b.still) for b in made if b.top > 255]
    assert min(level) < 150
    assert max(level) > 5000
    assert {b.binning for b in made} == {1, 2, 4}
    assert {b.top for b in made} == {255, 65535}
    stopped = sum(b.hidden.any() for b in made)
    assert 10 < stopped < 60
    for b in made:
        assert np.isfinite(b.still).all()
        assert b.still.min() >= 0
        if b.top == 255:
            assert b.frame(0).dtype == np.uint8
            assert 0.2 < b.sigma < 12


def test_drift_cosmic_rays_and_the_stop_follow_the_settings():
    settings = FieldSettings(drift_percent=5, cosmic_min=2000, cosmic_max=2000, stop="none")
    background = sample_background(SHAPE, settings, seed=1)
    drift = [background.drift(k) for k in range(300)]
    assert np.std(drift) == pytest.approx(0.05, abs=0.015)
    assert not background.hidden.any()
    assert background.cosmic_events == pytest.approx(2000 * 120 * 170 / 1e6)
    count = [ndimage.label(background.cosmic_rays(k) > 0, np.ones((3, 3)))[1] for k in range(30)]
    assert np.mean(count) == pytest.approx(background.cosmic_events, rel=0.15)
    for stop in ("square", "round", "double"):
        made = [sample_background(SHAPE, settings.replace(stop=stop), seed=k) for k in range(8)]
        assert any(b.hidden.mean() > 0.005 for b in made)


def test_spots_are_added_before_the_noise():
    settings = FieldSettings(level_min=500, level_max=500, bits="16", stop="none", cosmic_max=30)
    background = sample_background((60, 60), settings, seed=0)
    signal = np.zeros((60, 60), np.float32)
    signal[20:30, 20:30] = 5000
    lit = background.frame(1, signal)[20:30, 20:30].astype(float)
    plain = background.frame(1)[20:30, 20:30]
    assert (lit - plain).mean() == pytest.approx(5000, rel=0.02)
    assert lit.std() > 2 * plain.astype(float).std()
