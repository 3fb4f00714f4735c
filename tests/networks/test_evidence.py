"""A network's word against the projection: bumps of the noise and crumbs stay below the cut."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.networks.denoising import Denoiser, DenoiseSettings
from napari_labdct.networks.evidence import Evidence, least_significance, smallest_spot, spot_area
from napari_labdct.networks.normalisation import normalise
from napari_labdct.scan.scan import Scan

SHAPE = (160, 160)


def spots(rng, sigma_px: float, count: int = 40, height: float = 400.0) -> np.ndarray:
    r, c = np.indices(SHAPE)
    image = np.zeros(SHAPE)
    for row, col in rng.uniform(10, 150, (count, 2)):
        image += height * np.exp(-0.5 * ((r - row) ** 2 + (c - col) ** 2) / sigma_px**2)
    return image


@pytest.fixture(scope="module")
def frame_and_median():
    rng = np.random.default_rng(0)
    median = np.full(SHAPE, 400, np.float32)
    r, c = np.indices(SHAPE)
    signal = 80 * np.exp(-0.5 * ((r - 50) ** 2 + (c - 50) ** 2) / 1.5**2)
    return rng.poisson(median + signal).astype(np.uint16), median


@pytest.fixture
def output():
    """A network that believes in a true spot, in noise, and in a crumb beside the true one."""
    found = np.zeros(SHAPE, np.uint8)
    found[48:53, 48:53] = 250
    found[100:103, 100:103] = 250
    found[54:56, 50] = 200
    return found


def test_what_does_not_stand_out_of_the_noise_stays_below_the_threshold(frame_and_median, output):
    frame, median = frame_and_median
    weighed = Evidence(4.5, 1, 96).weigh(output, frame, median)
    np.testing.assert_array_equal(weighed[48:53, 48:53], 250)
    assert 0 < weighed[100:103, 100:103].max() < 48  # not erased: tracks may take it up
    assert weighed[54, 50] == 200  # close to the spot it is significant, only small
    crumbs = Evidence(4.5, 4, 96).weigh(output, frame, median)
    assert crumbs[54, 50] < 48
    assert (output[100:103, 100:103] == 250).all()


def test_zero_sigma_and_one_pixel_ask_for_nothing(frame_and_median, output):
    np.testing.assert_array_equal(Evidence(0, 1, 96).weigh(output, *frame_and_median), output)
    frame, _ = frame_and_median
    np.testing.assert_array_equal(Evidence(4.5, 1, 96).weigh(output, frame, None), output)


def test_lasting_structure_is_not_significant(frame_and_median):
    _, median = frame_and_median
    streak = np.zeros(SHAPE, np.uint16)
    streak[120, 20:60] = 300
    output = np.where(streak > 0, np.uint8(255), np.uint8(0))
    noise = np.random.default_rng(4).poisson(400 + streak) - 400 - streak.astype(int)
    seen = (400 + streak + noise).astype(np.uint16)
    weighed = Evidence(6.0, 1, 96).weigh(output, seen, median + streak)
    assert weighed.max() < 96


def test_wide_spots_are_weighed_in_binned_pixels():
    """A spot of 12 px SD is weak in every pixel, and in every filter of a few pixels."""
    rng = np.random.default_rng(7)
    r, c = np.indices((512, 512))
    signal = 8.0 * np.exp(-0.5 * ((r - 250) ** 2 + (c - 260) ** 2) / 12.0**2)
    median = np.full(r.shape, 400, np.float32)
    frame = rng.poisson(median + signal)
    output = np.where(signal > 4, np.uint8(250), np.uint8(0))
    fine, coarse = (Evidence(6.5, 1, 96).weigh(output, frame, median, b).max() for b in (1, 4))
    assert fine < 96
    assert coarse == 250


@pytest.mark.parametrize(("sigma_px", "near", "sigmas"), [(1.0, 20, 4.5), (2.5, 60, 5.0)])
def test_what_is_asked_for_follows_the_spots_of_the_scan(sigma_px, near, sigmas):
    rng = np.random.default_rng(2)
    frames = [rng.poisson(400 + spots(rng, sigma_px)).astype(np.uint16) for _ in range(5)]
    area = spot_area(frames)
    assert 0.5 * near < area < 1.6 * near
    doubled = spot_area([2 * frame + 100 for frame in frames])
    assert doubled == pytest.approx(area, rel=0.1)
    assert smallest_spot(area) == max(3, round(0.17 * area))
    assert least_significance(area) == sigmas


def test_scans_without_sure_spots_keep_everything():
    rng = np.random.default_rng(2)
    assert spot_area([rng.poisson(400, SHAPE) for _ in range(5)]) == 0
    assert spot_area([rng.poisson(400, SHAPE) for _ in range(2)]) == 0
    assert smallest_spot(0) == 1
    assert least_significance(0) == 5.0


class Everything:
    """Believes in every bump."""

    name, sha256, threshold, median_window, block_px = "all", "0" * 64, 96, 5, 32

    def see(self, frame, median, binning):
        self.bumps = frame > median + 25
        return normalise(frame, median, self.block_px)

    def look(self, seen, shape, binning, looks):
        return np.where(self.bumps, 1.0, 0.0).astype(np.float32)


def test_denoising_states_what_it_asked_for_and_the_users_values_win():
    rng = np.random.default_rng(9)
    frames = np.stack([rng.poisson(400 + spots(rng, 2.5)) for _ in range(5)]).astype(np.uint16)
    usual, own, none = (
        Denoiser(Scan(frames), DenoiseSettings(**given), Everything())
        for given in ({}, {"smallest_px": 5}, {"smallest_px": 1, "min_significance": 0})
    )
    made = usual.recipe()["settings"]
    assert made["min_significance"] == 5.0
    lower = Denoiser(Scan(frames), DenoiseSettings(min_significance=3.5), Everything())
    assert lower.recipe()["settings"]["min_significance"] == 3.5
    assert made["smallest_px"] == smallest_spot(spot_area(frames)) > 5
    assert own.recipe()["settings"]["smallest_px"] == 5
    cut = [(d.frame(1) >= 96).sum() for d in (usual, own, none)]
    assert cut[0] < cut[1] < cut[2]
