"""The rolling median over gaps, blank projections and scans that are blank throughout."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.scan.scan import Scan


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).poisson(400, (12, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("order", [range(12), [7, 2, 3, 11, 4, 0]])
def test_blank_projections_do_not_count(frames, order):
    frames[[3, 4]] = 0
    median = RollingMedian(Scan(frames), 5)
    for index in order:
        window = [i for i in range(max(index - 2, 0), min(index + 3, 12)) if i not in (3, 4)]
        expected = np.median(frames[window], axis=0)
        np.testing.assert_array_equal(median.at(index), expected.astype(np.float32))


def test_blank_throughout_is_its_own_median():
    frames = np.stack([np.full((4, 5), value, np.uint16) for value in (3, 9, 5)])
    assert np.all(RollingMedian(Scan(frames), 3).at(1) == 5)


def test_gaps_are_bridged(frames):
    whole = RollingMedian(Scan(frames.copy()), 5).at(6)
    wide = frames.astype(np.uint32)
    wide[:, :, 20:23] = 2**32 - 1
    median = RollingMedian(Scan(wide), 5).at(6)
    gap = np.zeros(median.shape, bool)
    gap[:, 20:23] = True
    np.testing.assert_array_equal(median[~gap], whole[~gap])
    assert median[gap].min() > 350
    assert median[gap].max() < 450
    assert abs(median[gap].mean() - 400) < 5
