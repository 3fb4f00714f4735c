"""Suggested parameters: found from the data, by the criterion that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.core.errors import SettingsError
from napari_labdct.core.jobs import Progress
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.log_routine import RoutineFrames, RoutineJob, RoutineSettings
from napari_labdct.spots.matching import Score, match_spots
from napari_labdct.spots.tuning import GRID, Suggestion, suggest


@pytest.fixture(scope="module")
def case():
    """Seven projections with 40 spots of 12 sigma each, and where they are."""
    random = np.random.default_rng(8)
    rows, cols = np.ogrid[:160, :150]
    frames, truth = [], []
    for _ in range(7):
        frame = random.normal(200, 6, (160, 150))
        mask = np.zeros((160, 150), bool)
        for r, c in random.integers(6, 144, (40, 2)):
            distance = (rows - r) ** 2 + (cols - c) ** 2
            frame += 75 * np.exp(-distance / (2 * 1.5**2))
            mask |= distance <= 5
        frames.append(frame.astype(np.float32))
        truth.append(mask)
    return Scan(np.array(frames)), np.array(truth)


def last(steps) -> tuple[list[Progress], Suggestion]:
    *progress, suggestion = steps
    return progress, suggestion


def f1(scan, truth, settings) -> float:
    masks = RoutineFrames(scan, settings)
    score = Score()
    for i in range(scan.n_frames):
        score += match_spots(masks[i], truth[i])
    return score.f1


@pytest.mark.parametrize("with_reference", [True, False])
def test_suggestion_beats_the_defaults_far_off_the_windows_too(case, with_reference):
    scan, truth = case
    start = RoutineSettings(median_window=5)
    reference = truth if with_reference else None
    progress, made = last(suggest(scan, start, reference, n_frames=2, window_px=96))
    assert all(isinstance(p, Progress) for p in progress)
    assert progress[-1].done == progress[-1].total
    assert made.score > made.score_before
    assert made.criterion == ("agreement" if with_reference else "stability")
    assert made.settings.median_window == 5
    assert f1(scan, truth, made.settings) > max(0.85, f1(scan, truth, start))


def test_an_empty_reference_is_refused(case):
    scan, truth = case
    with pytest.raises(SettingsError, match="no spots"):
        list(suggest(scan, RoutineSettings(median_window=3), np.zeros_like(truth), n_frames=1))


def test_every_value_tried_is_allowed():
    for name, values in GRID.items():
        for value in values:
            RoutineSettings(**{name: int(value) if name == "min_size_px" else value})


def test_frames_on_demand_are_those_of_a_run(case, tmp_path):
    scan, _ = case
    settings = RoutineSettings(median_window=5, background=20, follow_drift=True)
    store = RoutineJob(scan, settings).open_store(tmp_path / "m.tif")
    for _ in RoutineJob(scan, settings).run(store):
        pass
    made = RoutineFrames(scan, settings)
    for i in (6, 0, 3):
        np.testing.assert_array_equal(made[i], store[i])


def test_a_source_that_drifts_moves_the_spots_only_if_not_followed():
    random = np.random.default_rng(1)
    stack = random.poisson(400, (9, 64, 64)).astype(np.float32)
    stack[4] *= 1.3
    stack[4, 30:35, 30:35] += 300
    scan = Scan(stack)
    plain = RoutineSettings(median_window=5, background=60, sigma_px=1)
    followed = plain.replace(follow_drift=True)
    assert RoutineFrames(scan, plain)[4].mean() > 20
    mask = RoutineFrames(scan, followed)[4] > 0
    assert mask[31:34, 31:34].all()
    assert mask.sum() < 40
    assert RollingMedian(scan, 5).at(4).mean() == pytest.approx(400, rel=0.02)
