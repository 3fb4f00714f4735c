"""The binning follows the width of the spots, and nothing else that a scan shows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_labdct.networks.model import Model
from napari_labdct.networks.spot_width import (
    BIN_PX,
    LOOKS,
    scan_binning,
    scan_spot_width,
    spot_width,
    suitable_binning,
)
from napari_labdct.scan.scan import Scan

SHAPE = (512, 512)
LEVEL = 400.0
SIGMA = np.sqrt(LEVEL)


def spots_of(width: float, count: int, rng) -> np.ndarray:
    """Discs of a diameter with soft edges at random places, 1 at the top."""
    rows, cols = np.indices(SHAPE)
    image = np.zeros(SHAPE)
    for r, c in rng.uniform(0.1, 0.9, (count, 2)) * SHAPE:
        image[np.hypot(rows - r, cols - c) < width / 2] = 1
    return ndi.gaussian_filter(image, 0.8)


def frames_of(width: float, n: int = 5, count: int = 14, height: float = 10.0) -> np.ndarray:
    """A scan (n, rows, cols) uint16 whose spots are `width` px wide and `height` sigmas high."""
    rng = np.random.default_rng(4)
    clean = [LEVEL + height * SIGMA * spots_of(width, count, rng) for _ in range(n)]
    return np.stack([rng.poisson(image) for image in clean]).astype(np.uint16)


def cosmic_rays(n: int) -> np.ndarray:
    """Hits and tracks of 1 to 12 px, 5 to 150 sigmas high, others in every projection."""
    rng = np.random.default_rng(8)
    hits = np.zeros((n, *SHAPE))
    for image in hits:
        for length in rng.integers(1, 13, 60):
            along = np.arange(length)
            r, c = rng.integers(0, 500, 2)
            down = rng.uniform(0, 1)
            height = SIGMA * np.exp(rng.uniform(np.log(5), np.log(150)))
            image[(r + down * along).astype(int), (c + (1 - down) * along).astype(int)] += height
    return hits


@pytest.mark.parametrize(("width", "binning"), [(3, 1), (16, 1), (40, 2), (90, 4)])
def test_the_binning_grows_with_the_spots(width, binning):
    measured = spot_width(frames_of(width))
    assert abs(measured - width) <= max(2 * BIN_PX, 0.2 * width)
    assert suitable_binning(measured) == binning


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize(("gain", "offset"), [(0.25, 0), (20, 0), (1, 1000), (3, 50)])
def test_gain_and_offset_make_no_difference(width, gain, offset):
    frames = frames_of(width)
    changed = np.rint(frames * gain + offset).astype(np.uint16)
    assert abs(spot_width(changed) - spot_width(frames)) < BIN_PX
    assert suitable_binning(spot_width(changed)) == suitable_binning(spot_width(frames))


@pytest.mark.parametrize("width", [3, 40])
def test_cosmic_rays_make_no_difference(width):
    frames = frames_of(width)
    hit = np.minimum(frames + cosmic_rays(len(frames)), 65535).astype(np.uint16)
    assert suitable_binning(spot_width(hit)) == suitable_binning(spot_width(frames))


@pytest.mark.parametrize("level", [400, 10_000])
def test_what_stays_is_no_spot_though_the_source_drifts(level):
    rng = np.random.default_rng(1)
    still = level * (1 + 2 * spots_of(80, 6, rng))
    still *= 1 - 0.95 * ndi.gaussian_filter(spots_of(150, 1, rng), 5)  # beam stop and penumbra
    # the one of middling brightness is the median of all
    drift = (1.0, 0.95, 1.03, 1.06, 0.98)
    frames = [rng.poisson(q * (still + 0.3 * level * spots_of(3, 14, rng))) for q in drift]
    assert suitable_binning(spot_width(np.stack(frames).astype(np.uint16))) == 1


def test_an_empty_scan_single_frames_and_crops_say_nothing():
    empty = np.random.default_rng(2).poisson(LEVEL, (5, *SHAPE)).astype(np.uint16)
    wide = frames_of(40)
    for frames in (empty, wide[:2], wide[:, :100, :100], wide[:, :2, :2]):
        assert suitable_binning(spot_width(frames)) == 1


def test_the_steps_of_the_binning():
    assert [suitable_binning(w) for w in (0, 25, 26, 60, 61, 500)] == [1, 1, 2, 2, 4, 4]


def test_a_few_projections_are_read_and_an_unusable_one_is_passed_over():
    frames = frames_of(40, n=12).astype(np.float32)
    frames[2] = np.nan
    read = []

    class Counted:
        shape, dtype = frames.shape, frames.dtype

        def __getitem__(self, index):
            read.append(index)
            return frames[index]

    width = scan_spot_width(Scan(Counted()))
    assert read == [0, 2, 4, 7, 9]
    assert len(read) == LOOKS
    assert width == spot_width(frames[[0, 4, 7, 9]]) > 30


def test_wide_spots_come_out_better_with_the_measured_binning():
    frames = frames_of(60, count=10, height=3.0)
    median = np.median(frames, axis=0)
    truth = spots_of(60, 10, np.random.default_rng(4)) > 0.5
    model = Model.load("compact", "cpu")

    def pixel_iou(binning: int) -> float:
        found = 255 * model(frames[0], median, binning) >= model.threshold
        return (found & truth).sum() / (found | truth).sum()

    measured = suitable_binning(spot_width(frames))
    assert measured > 1
    assert pixel_iou(measured) > pixel_iou(1) + 0.1


def spoiled(frames: np.ndarray, how: str) -> np.ndarray:
    """The frames with a fault of the detector or the exposure, uint16 or uint32."""
    frames, rng = frames.copy(), np.random.default_rng(6)
    if how == "direct beam":
        square = np.s_[:, 180:330, 190:320]
        level = 30_000 * rng.uniform(0.9, 1.1, (len(frames), 1, 1))
        frames[square] = rng.poisson(level, frames[square].shape)
    elif how == "saturated module":
        frames[:, 300:420, 40:200] = 65535
    elif how == "dead module of 32 bits":
        frames = frames.astype(np.uint32)
        frames[:, 100:230, 300:] = 2**32 - 1
        frames[:, :, 254:258] = 2**32 - 1
    elif how == "a stuck module":
        frames[:, 10:200, 10:200] = 3100
    elif how == "a blank frame":
        frames[4] = rng.poisson(3, frames.shape[1:])
    elif how == "a bright frame":
        frames[2] *= 12
    elif how == "a frame of zeros":
        frames[2] = 0
    return frames


FAULTS = ["direct beam", "saturated module", "dead module of 32 bits", "a stuck module",
          "a blank frame", "a bright frame", "a frame of zeros"]  # fmt: skip


@pytest.mark.parametrize("how", FAULTS)
def test_faults_of_the_detector_and_odd_frames_do_not_decide(how):
    for width, binning in ((3, 1), (40, 2)):
        chosen = scan_binning(Scan(spoiled(frames_of(width), how)))
        assert chosen == (binning, ""), (how, width)


def test_projections_that_disagree_are_not_binned_and_it_is_said():
    frames = frames_of(3, n=10)
    frames[:3] = frames_of(90, n=3)
    binning, note = scan_binning(Scan(frames))
    assert binning == 1
    assert "Only 3 of 10 projections" in note


def test_the_shadow_of_the_beam_stop_does_not_count():
    frames = frames_of(3)
    shadow = np.zeros(SHAPE, bool)
    shadow[200:320, 200:320] = True
    for k, image in enumerate(frames):  # light that goes through it in some projections
        image[shadow] += (k % 2) * 300
    assert suitable_binning(spot_width(frames, shadow)) == 1
