"""Gaps, dead modules and blank projections, from the routine to tracks: nothing is found there."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.detections import Detections, measure_frame
from napari_labdct.spots.log_routine import RoutineJob, RoutineSettings
from napari_labdct.spots.measurement import FrameMeasurer
from napari_labdct.spots.tracking import Tracker, TrackSettings

SETTINGS = RoutineSettings(median_window=5, background=60, sigma_px=2, percentage=20)
GAP = np.s_[:, :, 60:63]


def projections() -> np.ndarray:
    """A level background; in each projection a spot beside columns 60 to 62, and one far away."""
    row, col = np.mgrid[:96, :128]
    frames = np.full((9, 96, 128), 300.0)
    for k, frame in enumerate(frames):
        for r, c in ((10 + 9 * k, 65), (85 - 9 * k, 20)):
            frame += 900 * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 8)
    return np.random.default_rng(1).poisson(frames)


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint32, 2**32 - 1), (np.float32, np.nan), (np.uint16, 0)]
)
def test_the_routine_finds_the_spots_and_no_gap(dtype, value, tmp_path):
    frames = projections().astype(dtype)
    frames[GAP] = value
    frames[4] = 0
    scan = Scan(frames)
    job = RoutineJob(scan, SETTINGS)
    store = job.open_store(tmp_path / "r.tif")
    said = [step.message for step in job.run(store) if step.message]
    masks = np.asarray(store)
    assert not masks[GAP].any()
    assert not masks[4].any()
    assert "Detector mask" in said[0]
    assert "Projection 4 is blank" in said[1]
    measurer = FrameMeasurer(scan, 5)
    for index in (0, 2, 7):
        table = measurer.measure(index, masks[index])
        assert len(table) == 2
        near = np.abs(table["col"] - 65) < 3
        assert table["touches_beam_stop"].tolist() == near.tolist()
        assert np.isfinite(table["snr"]).all()


def test_one_number_that_is_none_stops_nothing_and_is_no_spot():
    frames = projections().astype(np.float32)
    frames[3, 50, 100] = np.inf
    job = RoutineJob(Scan(frames), SETTINGS)
    plain = RoutineJob(Scan(projections().astype(np.float32)), SETTINGS)
    np.testing.assert_array_equal(job.frame(3), plain.frame(3))
    np.testing.assert_array_equal(job.frame(2), plain.frame(2))


def test_masks_of_others_are_measured_without_the_gap():
    frames = projections().astype(np.uint32)
    frames[GAP] = 2**32 - 1
    masks = np.zeros(frames.shape, np.int32)
    masks[:, 30:34, 61:66] = 1  # partly in the gap
    masks[:, 30:34, 60:62] = 2  # wholly
    masks[:, 50:54, 20:24] = 3
    measurer = FrameMeasurer(Scan(frames), 5)
    detections = Detections(masks)
    for labels in (None, masks[0]):
        table = measure_frame(measurer, detections, 0, labels)
        assert table["id"].tolist() == [1, 3]
        assert table["area_px"].tolist() == [12, 16]
        assert table["touches_beam_stop"].tolist() == [True, False]


def test_tracks_do_not_look_for_spots_in_a_gap():
    frames = projections().astype(np.uint32)
    frames[GAP] = 2**32 - 1
    known = ScanDescription(pixel_um=40.0, source_sample_mm=11.0, sample_detector_mm=11.0)
    scan = Scan(frames, angles(0, 2, len(frames)), known)
    cleaned = np.zeros(frames.shape, np.uint8)
    cleaned[:, 40:44, 58:66] = 250
    tracker = Tracker(scan, cleaned, TrackSettings(partner_threshold=96))
    for _ in tracker.survey():
        pass
    out = tracker.frame(4)
    assert not out[:, 60:63].any()
    assert out[40:44, 58:60].all()
    looked = tracker._follow(4)[0]
    free = Tracker(scan.replace(description=known.replace(mask="none")), cleaned)
    for _ in free.survey():
        pass
    assert len(looked) == 2  # what was one spot is parted by the gap
    assert len(free._follow(4)[0]) == 1
