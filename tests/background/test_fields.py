"""Parts of parametric backgrounds lie within their documented ranges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_labdct.background import fields

SHAPE = (120, 170)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_smooth_fields_have_unit_variance_and_no_mean():
    many = np.stack([fields.smooth_field(rng(k), SHAPE) for k in range(200)])
    assert abs(many.mean()) < 0.1
    assert many.std() == pytest.approx(1, abs=0.15)
    steps = np.abs(np.diff(many, axis=2)).max()
    assert steps < 0.25  # smooth: nothing that a spot could be taken for


@pytest.mark.parametrize("is_round", [False, True])
def test_a_stop_is_dark_inside_and_its_penumbra_is_soft(is_round):
    depth = fields.stop_depth(SHAPE, (50, 90), 20, 1.5, is_round)
    assert depth[50, 90] == 20
    through = fields.shadow(depth, 2.0, 0.1)
    assert through[50, 90] == pytest.approx(0.1, abs=0.01)
    assert through[0, 0] == pytest.approx(1, abs=1e-3)
    edge = through[50, 90 + (20 if is_round else 30)]
    assert edge == pytest.approx(0.55, abs=0.01)


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
        assert np.abs(fields.columns(rng(seed), shape, 10.0)).max() < 20 * 5
        assert 0.04 < fields.edge_glow(rng(seed), shape).max() < 100


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
