"""Spots that go on: true ones gain, chance ones lose, a wrong geometry changes nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.core.rotations import rotation_z
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.simulation import SimulateSettings, Simulation
from napari_labdct.simulation.settings import scan_geometry
from napari_labdct.spots.tracking import SURE, Tracker, TrackSettings, candidates

SHAPE, FRAMES, STEP_DEG = (260, 280), 12, 2.0
WEAK, CHANCE = 61, 120  # no pixel of another spot has these values
DISTANCES = {"pixel_um": 40.0, "source_sample_mm": 11.0, "sample_detector_mm": 11.0}


def described(frames, step_deg: float = STEP_DEG) -> Scan:
    omega = angles(0, step_deg, len(frames))
    return Scan(frames, omega, ScanDescription(**DISTANCES))


def paths(count: int, rng) -> np.ndarray:
    """Row and column (frames, count, 2) of reflections of lattice planes on the axis."""
    geometry = described(np.zeros((FRAMES, *SHAPE), np.uint8)).geometry()
    theta, azimuth = np.radians(rng.uniform(3, 12, count)), rng.uniform(0, 2 * np.pi, count)
    planes = np.stack(
        [-np.sin(theta), np.cos(theta) * np.cos(azimuth), np.cos(theta) * np.sin(azimuth)], 1
    )
    planes = planes @ rotation_z(-STEP_DEG * FRAMES / 2).T  # at their best in the middle
    beam, places = np.array([1.0, 0, 0]), []
    for index in range(FRAMES):
        turned = planes @ rotation_z(STEP_DEG * index).T
        place = geometry.intersect(np.zeros(3), beam - 2 * turned[:, :1] * turned)
        places.append(np.where(turned[:, :1] < 0, place, np.nan))
    return np.array(places)


def draw(frame: np.ndarray, place, peak: int) -> None:
    """A spot of 3 x 3 pixels whose middle is the brightest."""
    if np.isnan(place).any():
        return
    row, col = np.rint(place).astype(int)
    if 1 <= row < SHAPE[0] - 1 and 1 <= col < SHAPE[1] - 1:
        part = frame[row - 1 : row + 2, col - 1 : col + 2]
        spot = np.array([[peak // 2, peak * 3 // 4, peak // 2]] * 3, np.uint8)
        np.maximum(part, spot, out=part)
        frame[row, col] = max(frame[row, col], peak)


@pytest.fixture(scope="module")
def made():
    """A cleaned stack: true spots, one in four of them weak, and 12 specks a frame by chance."""
    rng = np.random.default_rng(5)
    places = paths(90, rng)
    frames = np.zeros((FRAMES, *SHAPE), np.uint8)
    weak = rng.random(places.shape[:2]) < 0.25
    specks = rng.uniform(4, np.array(SHAPE) - 4, (FRAMES, 12, 2))
    for frame, true, faint, false in zip(frames, places, weak, specks):
        for place, is_faint in zip(true, faint):
            draw(frame, place, WEAK if is_faint else 250)
        for place in false:
            if not frame[tuple(np.s_[int(n) - 4 : int(n) + 5] for n in place)].any():
                draw(frame, place, CHANCE)
    return frames


def surveyed(tracker: Tracker) -> Tracker:
    for _ in tracker.survey():
        pass
    return tracker


def peaks(frames, of: int, result) -> np.ndarray:
    """What became of the spots that had a peak of `of`."""
    return np.concatenate([out[frame == of] for frame, out in zip(frames, result)])


def test_weak_spots_on_a_path_gain_and_chance_loses(made):
    tracker = surveyed(Tracker(described(made), made, TrackSettings(partner_threshold=96)))
    result = [tracker.frame(k) for k in range(FRAMES)]
    weak, chance = peaks(made, WEAK, result), peaks(made, CHANCE, result)
    assert len(weak) > 80
    assert len(chance) > 80
    assert (weak >= 96).mean() > 0.8
    assert (chance < 96).mean() > 0.9
    for frame, out in zip(made, result):
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(out[frame == 0], 0)
    assert (peaks(made, 250, result) >= 200).all()


def test_a_raised_spot_gets_a_mask_and_a_sure_one_keeps_its_own(made):
    tracker = surveyed(Tracker(described(made), made, TrackSettings(partner_threshold=96)))
    for frame in range(3, 6):
        out = tracker.frame(frame)
        labels, count = ndi.label(made[frame] >= 96, np.ones((3, 3)))
        for spot in range(1, count + 1):
            if made[frame][labels == spot].max() >= SURE:
                assert (out[labels == spot] >= 96).all()
        raised = (made[frame] == WEAK) & (out >= 96)
        masks, _ = ndi.label(out >= 96, np.ones((3, 3)))
        assert all((masks == masks[at]).sum() >= 3 for at in zip(*np.nonzero(raised)))


def test_the_wrong_direction_is_refused_and_the_right_one_told(made):
    right = surveyed(Tracker(described(made), made))
    share = int(right.note.split("%")[0])
    assert share > 70
    turned = f"With the opposite direction of rotation it would be {share}%: change the sign"
    with pytest.raises(ScanError, match=turned):
        surveyed(Tracker(described(made, -STEP_DEG), made))


def test_a_wrong_distance_changes_next_to_nothing(made):
    known = ScanDescription(**{**DISTANCES, "sample_detector_mm": 40.0})
    scan = described(made).replace(description=known)
    wrong = surveyed(Tracker(scan, made, TrackSettings(partner_threshold=96)))
    before = made >= 96
    after = np.stack([wrong.frame(k) >= 96 for k in range(FRAMES)])
    assert (before != after).sum() < 0.03 * before.sum()


def test_a_scan_whose_spots_do_not_go_on_is_told_and_left():
    rng = np.random.default_rng(8)
    frames = np.zeros((6, *SHAPE), np.uint8)
    for frame in frames:
        for place in rng.uniform(4, np.array(SHAPE) - 4, (80, 2)):
            draw(frame, place, 250)
    tracker = surveyed(Tracker(described(frames), frames))
    assert "tells nothing" in tracker.note
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(tracker.frame(k), frame)


@pytest.mark.parametrize(
    "frames", [np.zeros((3, 20, 30), np.uint8), np.zeros((1, 20, 30), np.uint8)]
)
def test_empty_and_single_frames_stay_as_they_are(frames):
    frames = frames.copy()
    frames[0, 5:8, 5:8] = 100
    tracker = surveyed(Tracker(described(frames), frames))
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(tracker.frame(index), frame)


def test_paths_are_those_of_the_simulator():
    settings = SimulateSettings(
        sample="cylinder", diameter_um=20, height_um=20, mean_grain_um=10, frames=9, step_deg=2.0,
        rows=1016, cols=1016, pixel_um=3.3623, binning=2, source_sample_mm=11,
        sample_detector_mm=11, seed=3,
    )  # fmt: skip
    simulation = Simulation(settings)
    geometry = scan_geometry(settings)
    tables = [simulation.project(omega, k).spots for k, omega in enumerate(settings.omega_deg)]
    errors = []
    for now, then in pairwise(tables):
        after = {(s["grain"], s["h"], s["k"], s["l"]): (s["row"], s["col"]) for s in then}
        for spot in now:
            place = after.get((spot["grain"], spot["h"], spot["k"], spot["l"]))
            if place is not None:
                there = geometry.turn_spots(np.array([spot["row"], spot["col"]]), 2.0)
                errors.append(np.hypot(*(there - place)))
    assert len(errors) > 50
    # grains lie up to 14 um from the centre of the sample; the shadow of that is 4 px
    assert np.median(errors) < 1
    assert np.max(errors) < 3


def test_half_a_run_goes_on_to_the_same_result(made, tmp_path):
    scan = described(made)
    store = Tracker(scan, made).open_store(tmp_path / "t.tif")
    job = Tracker(scan, made).run(store)
    for step in job:
        if step.frame == 4:
            break
    job.close()
    assert store.done.sum() == 5
    again = Tracker(scan, made)
    store = again.open_store(tmp_path / "t.tif")
    steps = list(again.run(store))
    assert steps[-1].done == steps[-1].total == FRAMES
    assert any(again.note == step.message for step in steps)
    for index in range(FRAMES):
        np.testing.assert_array_equal(store[index], again.frame(index))


def test_another_geometry_is_another_result(made, tmp_path):
    scan = described(made)
    Tracker(scan, made).open_store(tmp_path / "t.tif")
    turned = scan.replace(omega_deg=-scan.omega_deg)
    with pytest.raises(OutputError, match="another result"):
        Tracker(turned, made).open_store(tmp_path / "t.tif")


def test_another_cleaned_stack_without_a_recipe_is_another_result(made, tmp_path):
    scan = described(made)
    Tracker(scan, made).open_store(tmp_path / "t.tif")
    other = made.copy()
    other[FRAMES // 2] = 0
    with pytest.raises(OutputError, match="another result"):
        Tracker(scan, other).open_store(tmp_path / "t.tif")


def test_a_coarser_output_is_followed_too(made):
    coarse = made.reshape(FRAMES, SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).max((2, 4))
    fine = surveyed(Tracker(described(made), made))
    tracker = surveyed(Tracker(described(made), coarse))
    assert int(tracker.note.split("%")[0]) > 0.7 * int(fine.note.split("%")[0])
    assert tracker.frame(0).shape == coarse.shape[1:]


def test_a_full_turn_has_no_ends(made):
    scan = described(made)
    whole = scan.replace(omega_deg=angles(-180, 360 / (FRAMES - 1), FRAMES))  # the last repeats
    assert Tracker(scan, made)._neighbours(0) == {1: 1, 2: 2}
    assert Tracker(whole, made)._neighbours(0) == {-1: 10, 1: 1, -2: 9, 2: 2}
    assert Tracker(whole, made)._neighbours(11) == {-1: 10, 1: 1, -2: 9, 2: 2}


def test_what_cannot_be_tracked_is_refused(made):
    scan = described(made)
    for cleaned, words in (
        (made[1:], "choose the network result of this scan"),
        (made.astype(np.float32), "denoise the scan first"),
    ):
        with pytest.raises(ScanError, match=words):
            Tracker(scan, cleaned)
    with pytest.raises(ScanError, match="rotation angles"):
        Tracker(scan.replace(omega_deg=None), made)
    with pytest.raises(ScanError, match="source-sample distance"):
        Tracker(scan.replace(description=ScanDescription(pixel_um=40)), made)
    with pytest.raises(ScanError, match="another scan"):
        Tracker(scan, made, made={"input": {"id": "0" * 16}})
    with pytest.raises(ScanError, match="tracked already"):
        Tracker(scan, made, made={"job": "track"})
    with pytest.raises(SettingsError, match="faintest candidate"):
        Tracker(scan, made, TrackSettings(partner_threshold=20, faintest=20))


def test_an_unfinished_stack_is_refused(made, tmp_path):
    from napari_labdct.core.frame_store import FrameStore
    from napari_labdct.core.recipes import recipe

    scan = described(made)
    store = FrameStore.open_or_create(
        tmp_path / "c.tif", made.shape, np.uint8, recipe("denoise", TrackSettings(), scan)
    )
    store.write(0, made[0])
    with pytest.raises(ScanError, match="denoise the whole stack first"):
        Tracker(scan, store)


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 15), st.integers(1, 255)), max_size=60)
)
def test_every_pixel_that_could_be_a_spot_is_counted_once(pixels):
    frame = np.zeros((12, 16), np.uint8)
    for row, col, value in pixels:
        frame[row, col] = value
    labels, around, table = candidates(frame, 96, 8)
    np.testing.assert_array_equal(labels != 0, frame >= 8)
    assert set(np.unique(labels[labels > 0])) == set(range(1, len(table) + 1))
    for label, row in enumerate(table, 1):
        inside = labels == label
        assert row["peak"] == frame[inside].max()
        assert ndi.label(inside, np.ones((3, 3)))[1] == 1
        centre = np.average(np.argwhere(inside), axis=0, weights=frame[inside])
        np.testing.assert_allclose([row["row"], row["col"]], centre, atol=1e-4)
    for label in range(1, len(around) + 1):  # spots among others hold no faint pixel
        assert frame[labels == label].min() >= 96
