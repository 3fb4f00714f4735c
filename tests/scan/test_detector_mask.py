"""Pixels without information are found and filled; clean scans stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError, SettingsError
from napari_labdct.core.recipes import recipe
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan

SHAPE = (160, 200)


def projections(dtype=np.uint16, n: int = 9, level: float = 300.0) -> np.ndarray:
    """Noise over a gentle slope, without spots and without a zero."""
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mean = level * (1 + 0.2 * row / SHAPE[0] + 0.2 * col / SHAPE[1])
    return np.random.default_rng(4).poisson(mean, (n, *SHAPE)).astype(dtype)


def module(rows: slice, cols: slice) -> np.ndarray:
    where = np.zeros(SHAPE, bool)
    where[rows, cols] = True
    return where


MODULE = module(slice(20, 60), slice(0, 70))
CROSS = module(slice(80, 83), slice(None)) | module(slice(None), slice(120, 122))


@pytest.mark.parametrize(
    ("where", "dtype", "value"),
    [
        (CROSS, np.uint32, 2**32 - 1),
        (CROSS, np.float32, 2**32 - 1),
        (CROSS, np.int32, -1),
        (CROSS, np.int32, -(2**31)),
        (CROSS, np.float32, np.nan),
        (CROSS, np.float64, -1e30),
        (CROSS, np.uint16, 0),
        (MODULE, np.uint16, 0),
        (MODULE, np.float32, 0),
        (MODULE, np.uint16, 65535),
        (MODULE, np.uint16, 65534),
        (MODULE, np.float32, 65535),
        (MODULE, np.uint16, 4095),
        (module(slice(70, 90), slice(90, 110)), np.uint16, 65535),
    ],
)
def test_what_says_nothing_is_found_and_filled_without_an_edge(where, dtype, value):
    frames = projections(dtype)
    plain = frames.copy()
    frames[:, where] = value
    scan = Scan(frames)
    np.testing.assert_array_equal(scan.detector_mask, where)
    reading = scan.reading(3)
    np.testing.assert_array_equal(reading.left_out, where)
    assert np.isfinite(reading.image).all()
    np.testing.assert_array_equal(reading.image[~where], Scan(plain).frame(3)[~where])
    # as bright and as noisy as what was there
    ours, true = (image[where].astype(float) for image in (reading.image, plain[3]))
    assert abs(ours.mean() - true.mean()) < 4
    assert 0.8 < ours.std() / true.std() < 1.2
    assert not reading.remark
    np.testing.assert_array_equal(scan.frame(3), Scan(frames).frame(3))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_left_out_of_their_projection_and_said(bad):
    frames = projections(np.float32)
    frames[1, 50, 60] = bad
    scan = Scan(frames)
    assert scan.detector_mask is None
    assert scan.left_out(0) is None
    reading = scan.reading(1)
    assert np.argwhere(reading.left_out).tolist() == [[50, 60]]
    assert 300 < reading.image[50, 60] < 500
    assert "Projection 1: values that are no counts are left out" in reading.remark


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_projection_is_blank_and_said(value):
    frames = projections()
    frames[4] = value
    scan = Scan(frames)
    reading = scan.reading(4)
    assert reading.blank
    assert f"Projection 4 is blank ({value} everywhere)" in reading.remark
    assert scan.detector_mask is None
    assert not scan.reading(3).blank


def test_a_projection_without_any_number_is_blank():
    frames = projections(np.float32)
    frames[2] = np.nan
    reading = Scan(frames).reading(2)
    assert reading.blank
    assert not reading.image.any()


def test_a_blank_projection_of_a_detector_with_gaps_is_blank():
    frames = projections(np.uint32)
    frames[4] = 0
    frames[:, CROSS] = 2**32 - 1
    scan = Scan(frames)
    np.testing.assert_array_equal(scan.detector_mask, CROSS)
    assert scan.reading(4).blank


def disc(radius: float) -> np.ndarray:
    row, col = np.indices(SHAPE)
    return np.hypot(row - 60, col - 70) < radius


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: np.maximum(f.astype(int) - 400, 0).astype(np.uint16),  # zeros are usual
        lambda f: f.astype(np.float32) - 350,
        lambda f: np.where(disc(30), 0, f),  # a round shadow
        lambda f: np.where(module(slice(60, 100), slice(80, 130)), 0, f),  # a beam stop
        lambda f: np.where(module(slice(3, 4), slice(3, 5)), 65535, f),  # hot pixels
        lambda f: np.where(module(slice(3, 4), slice(3, 5)), 0, f),  # cold ones
        lambda f: (f > 420).astype(np.uint8) * 255,  # a mask
        lambda f: np.zeros_like(f) + (np.arange(len(f)) == 2)[:, None, None].astype(np.uint16),
    ],
)
def test_clean_scans_stay_bit_for_bit(change):
    frames = change(projections())
    scan = Scan(frames)
    assert scan.detector_mask is None
    assert scan.mask_id == ""
    assert scan.about_mask() == ""
    for index in (0, 5):
        assert scan.left_out(index) is None
        np.testing.assert_array_equal(scan.frame(index), frames[index])
    assert "mask" not in recipe("x", {}, scan)["input"]
    assert "mask" not in scan.description.to_dict()


def test_spots_that_saturate_as_the_sample_turns_stay():
    frames = projections()
    for k, frame in enumerate(frames):
        frame[30:40, 20 * k : 20 * k + 8] = 65535
    assert Scan(frames).detector_mask is None
    assert Scan(frames[:2]).detector_mask is None


def test_a_given_mask_counts_and_is_part_of_the_recipe():
    frames = projections()
    frames[:, CROSS] = 0
    found = Scan(frames)
    assert recipe("x", {}, found)["input"]["mask"] == found.mask_id != ""
    given = Scan(frames, mask=MODULE)
    np.testing.assert_array_equal(given.detector_mask, MODULE)
    assert given.mask_id not in ("", found.mask_id)
    assert given.identity() == found.identity()
    square = ScanDescription(mask=[[100, 10], [100, 50], [140, 50], [140, 10]])
    drawn = Scan(frames, description=square)
    assert drawn.detector_mask[CROSS].all()
    assert drawn.detector_mask[110:130, 20:40].all()
    assert drawn.left_out(0) is not None
    assert drawn.replace(description=ScanDescription(mask="none")).detector_mask is None
    assert found.about_mask() == (
        "Detector mask: 2.9 % of the pixels left out (found in the projections)."
    )
    assert "as drawn" in given.about_mask()


def test_a_beam_stop_that_is_given_is_not_filled():
    frames = projections()
    frames[:, :60, 80:120] = 0
    corners = [(-1, 79), (-1, 121), (61, 121), (61, 79)]
    assert Scan(frames).detector_mask[:60, 80:120].all()
    assert Scan(frames, description=ScanDescription(beam_stop_px=corners)).detector_mask is None


def test_a_mask_of_another_size_or_of_everything_is_refused():
    with pytest.raises(ScanError, match="10 x 20 pixels, but the projections of 'scan' have 160"):
        Scan(projections(), mask=np.zeros((10, 20)))
    with pytest.raises(ScanError, match="leaves out every pixel"):
        Scan(projections(), mask=np.ones(SHAPE))
    for wrong in (3, True, [[1, 2], [3, 4]], {"a": 1}):
        with pytest.raises(SettingsError, match=r"[Dd]etector.mask"):
            ScanDescription(mask=wrong)


def test_a_few_projections_are_read_once_and_only_if_there_is_a_reason():
    frames = projections()
    read = []

    class Counted:
        shape, dtype = frames.shape, frames.dtype

        def __getitem__(self, index):
            read.append(index)
            return frames[index]

    Scan(Counted()).frame(3)
    assert read == [3]
    read.clear()
    frames[:, MODULE] = 0
    scan = Scan(Counted())
    scan.frame(3)
    assert len(read) == 8
    scan.replace(name="other").frame(3)
    assert len(read) == 9
