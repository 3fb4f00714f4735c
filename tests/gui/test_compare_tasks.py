"""What the Compare dock computes, without a window: sources, tuning, sweeps, counting."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import LabDCTError
from napari_labdct.core.jobs import Progress
from napari_labdct.evaluation.comparison import FrameResult, Segmentation
from napari_labdct.gui.compare.captions import captions, first_that_fits
from napari_labdct.gui.compare.engine import Engine
from napari_labdct.gui.compare.request import ROUTINE, FrameView, Request, Source
from napari_labdct.gui.compare.tasks import (
    Sides,
    Tally,
    Thumbnail,
    compare_all,
    find_truth,
    import_masks,
    open_truth,
    reference_of,
    sweep,
)
from napari_labdct.io import write_frames
from napari_labdct.spots.log_routine import RoutineFrames, RoutineSettings
from napari_labdct.spots.matching import match_spots

SETTINGS = RoutineSettings(
    median_window=5, background=60, sigma_px=1.5, percentage=10, min_size_px=3
)


@pytest.fixture
def fixed(scan) -> Source:
    """Masks of the routine with a higher threshold, as a file would give them."""
    stricter = SETTINGS.replace(background=200)
    masks = np.array([RoutineFrames(scan, stricter)[i] for i in range(scan.n_frames)])
    return Source("file", "theirs", Segmentation("theirs", masks))


def test_a_look_gives_the_picture_and_then_its_numbers(scan, fixed):
    engine = Engine(scan)
    request = Request(scan, 4, fixed, ROUTINE, SETTINGS)
    view, numbers = engine.look(request)
    assert isinstance(view, FrameView)
    assert isinstance(numbers, FrameResult)
    a, b = fixed.segmentation.masks[4] > 0, RoutineFrames(scan, SETTINGS)[4] > 0
    expected = match_spots(a, b)
    assert (view.match.n_a, view.match.n_b) == (expected.n_a, expected.n_b)
    assert 0 < a.sum() < b.sum()
    np.testing.assert_array_equal(view.images["b"] > 0, b)
    assert numbers.match.found == view.match.found


def test_a_part_on_the_screen_comes_first_and_is_the_same_there(scan, fixed):
    window = (8, 24, 10, 30)
    first, whole, _ = Engine(scan).look(Request(scan, 4, fixed, ROUTINE, SETTINGS, window))
    assert first.match is None
    part = np.s_[8:24, 10:30]
    for key, image in first.images.items():
        np.testing.assert_allclose(image[part], whole.images[key][part], atol=1e-4)
    assert not first.images["b"][30:].any()


def test_what_was_compared_before_is_not_compared_again(scan, fixed):
    sides = Sides(Engine(scan), (fixed, ROUTINE, None), SETTINGS)
    things = list(compare_all(sides))
    results = [x for x in things if isinstance(x, FrameResult)]
    assert [r.frame for r in results] == list(range(scan.n_frames))
    whole = [x for x in things if isinstance(x, Tally)][-1]
    again = list(compare_all(sides, results[:6]))
    assert [x.frame for x in again if isinstance(x, FrameResult)] == [6, 7, 8]
    last = [x for x in again if isinstance(x, Tally)][-1]
    assert last.numbers == pytest.approx(whole.numbers, nan_ok=True)
    steps = [x.done for x in again if isinstance(x, Progress) and x.total]
    assert steps == [6, 7, 8, 9]


def test_projections_without_a_result_are_left_out(scan, fixed):
    done = np.arange(scan.n_frames) < 3
    half = Source("half", "half", fixed.segmentation, lambda: done)
    assert Sides(Engine(scan), (half, ROUTINE, None), SETTINGS).frames() == [0, 1, 2]


def test_numbers_are_of_the_same_masks_only_while_nothing_changed(scan, fixed):
    engine = Engine(scan)
    key = Sides(engine, (fixed, ROUTINE, None), SETTINGS).key
    assert Sides(engine, (fixed, ROUTINE, None), SETTINGS).key == key
    assert Sides(engine, (ROUTINE, fixed, None), SETTINGS).key != key
    moved = SETTINGS.replace(background=90)
    assert Sides(engine, (fixed, ROUTINE, None), moved).key != key
    assert Sides(engine, (fixed, fixed, None), moved).key == (
        Sides(engine, (fixed, fixed, None), SETTINGS).key
    )


def test_the_routine_is_tuned_against_what_is_fixed_and_whole(scan, fixed):
    masks = fixed.segmentation.masks
    assert reference_of(scan, ROUTINE, fixed) is masks
    assert reference_of(scan, None, ROUTINE) is None
    done = np.ones(scan.n_frames, bool)
    half = Source("half", "half", fixed.segmentation, lambda: done)
    assert reference_of(scan, half, ROUTINE) is masks
    done[4] = False  # would count as empty
    assert reference_of(scan, half, ROUTINE) is None
    smaller = Source("small", "small", Segmentation("small", masks[:, ::2, ::2]))
    assert reference_of(scan, smaller, ROUTINE) is None


def test_a_sweep_shows_each_value_with_its_count(scan):
    window = (0, 48, 0, 48)
    steps = list(sweep(Engine(scan), 4, SETTINGS, "background", [30, 60, 500], window))
    pictures = [x for x in steps if isinstance(x, Thumbnail)]
    assert [p.value for p in pictures] == [30, 60, 500]
    assert [p.settings.background for p in pictures] == [30, 60, 500]
    counts = [p.count for p in pictures]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    assert pictures[0].picture.shape == (48, 48, 3)


def test_the_truth_of_a_simulation_is_found_beside_its_projections(scan, tmp_path):
    here = scan.replace(source=str(tmp_path / "frames.tif"))
    (tmp_path / "frames.tif").touch()
    assert find_truth(scan) is None
    assert find_truth(here) is None
    labels = np.zeros(scan.frames.shape, np.uint8)
    labels[2, 5:8, 5:8] = 3
    write_frames(tmp_path / "labels.tif", list(labels))
    path = find_truth(here)
    assert path.name == "labels.tif"
    ((of, truth),) = open_truth(here, path)
    assert of is here
    assert (truth.kind, truth.name) == ("truth", "simulated truth")
    assert truth.segmentation.mask(2, scan.shape).sum() == 9


def test_masks_of_another_scan_are_refused(scan, tmp_path):
    masks = np.zeros((2, *scan.shape), np.uint8)
    path = write_frames(tmp_path / "short.tif", list(masks))
    with pytest.raises(LabDCTError, match="projections"):
        list(import_masks(scan, path))


def test_captions_say_what_a_residual_is_and_fit_their_cell():
    match = match_spots(np.eye(9, dtype=bool)[::-1], np.zeros((9, 9), bool))
    wide = captions("network mask", "routine (live)", match, 290)
    assert wide["residual_a"] == "Left unmarked by A (residual)"
    assert wide["agreement"] == "Both 0, only A 1, only B 0"
    assert wide["b"] == "B: routine (live), 0"
    narrow = captions("network mask", "routine (live)", match, 140)
    assert narrow["residual_b"] == "Left by B"
    assert narrow["agreement"] == "0 both, 1 A, 0 B"
    assert all(len(text) <= 17 for text in narrow.values())
    assert first_that_fits(["long text", "short"], 2) == "short"
