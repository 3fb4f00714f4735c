"""The test scans: the same every time, and with the truth they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_labdct.evaluation.phantoms import (
    COSMIC,
    FAR,
    NEAR,
    STATIC,
    ScanRecipe,
    arc_recipes,
    cached_scan,
    exposure_recipes,
    judging_recipes,
    make_scan,
    tuning_twin,
    window_recipes,
)
from napari_labdct.simulation.deformed import bend
from napari_labdct.simulation.sample import box_mask, make_sample
from napari_labdct.spots.label_levels import LABEL_LEVEL

SMALL = ScanRecipe(
    "small",
    NEAR,
    {
        "sample": "cylinder", "diameter_um": 80.0, "height_um": 100.0, "mean_grain_um": 25.0,
        "pixel_um": 26.9, "rows": 254, "cols": 254, "psf_px": 0.9, "beam_stop_width_mm": 2.0,
        "beam_stop_height_mm": 2.0,
    },
    seed=5,
    level=400.0,
    frames=7,
    scored=(1, 4),
    windows=(3,),
)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return make_scan(SMALL)


def test_the_same_recipe_gives_the_same_scan_and_another_seed_another(made, tmp_path):
    first = cached_scan(SMALL, tmp_path)
    again = cached_scan(SMALL, tmp_path)
    for scan in (first, again):
        np.testing.assert_array_equal(scan.frames, made.frames)
        np.testing.assert_array_equal(scan.labels, made.labels)
        np.testing.assert_array_equal(scan.nuisance, made.nuisance)
        for window in (7, 3):
            np.testing.assert_array_equal(scan.median(1, window), made.median(1, window))
        for a, b in zip(scan.truth, made.truth, strict=True):
            np.testing.assert_array_equal(a, b)
    other = replace(SMALL, seed=6)
    assert other.key != SMALL.key
    assert (make_scan(other).frames != made.frames).mean() > 0.5


def test_a_made_scan_knows_its_angles_and_geometry(made):
    scan, settings = made.scan(), made.recipe.settings()
    np.testing.assert_array_equal(scan.omega_deg, settings.omega_deg[list(made.recipe.scored)])
    assert scan.geometry().sample_detector_mm == settings.sample_detector_mm
    assert scan.shape == made.frames.shape[1:]


def test_truth_belongs_to_the_frames(made):
    assert made.frames.shape == (2, 254, 254)
    for k in range(2):
        labels, table = made.labels[k], made.truth[k]
        np.testing.assert_array_equal(np.unique(labels), np.arange(len(table) + 1))
        np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], table["area_px"])
        assert not labels[made.beam_stop].any()
        assert (table["peak_snr"] >= table["snr"]).all()
        # bright spots are seen in the frame as bright as the table says
        above = made.frames[k] - made.median(k)
        sigma = np.sqrt(SMALL.noise * (made.median(k) - SMALL.offset) + SMALL.readout**2)
        assert (table["snr"] > 8).sum() > 10
        for number in np.flatnonzero(table["snr"] > 8) + 1:
            seen = (above / sigma)[labels == number].mean()
            assert seen == pytest.approx(table["snr"][number - 1], rel=0.35)


def test_the_noise_is_what_the_recipe_says(made):
    quiet = (made.labels[0] == 0) & (made.nuisance[0] == 0) & ~made.beam_stop
    frame, median = made.frames[0].astype(float), made.median(0)
    still = quiet[:, 1:] & quiet[:, :-1]
    left = frame - median * np.median(frame[quiet]) / np.median(median[quiet])
    steps = np.diff(left, axis=1)[still]
    sigma = 1.4826 * np.median(np.abs(steps)) / np.sqrt(2)
    expected = np.sqrt(SMALL.noise * SMALL.level + SMALL.readout**2)
    # the median of 7 projections, this one among them, adds a little noise of its own
    assert sigma == pytest.approx(expected, rel=0.15)


def test_cosmic_rays_are_new_in_a_frame_and_static_structure_is_not(made):
    both = made.nuisance == STATIC
    np.testing.assert_array_equal(both[0] | (made.nuisance[0] == COSMIC), both[1] | (
        made.nuisance[0] == COSMIC) | (both[0] & (made.nuisance[1] == COSMIC)))  # fmt: skip
    hit = (made.nuisance[0] == COSMIC) & (made.labels[0] == 0)
    assert hit.any()
    assert np.median((made.frames[0] - made.median(0))[hit]) > 20


def test_a_label_ends_at_the_part_of_its_peak_or_in_the_noise():
    bright = replace(SMALL, median_peak_snr=300.0, noise=0.5)
    scan = make_scan(bright)
    above = scan.frames[0] - scan.median(0).astype(float)
    table = scan.truth[0]
    number = int(np.argmax(table["peak_snr"])) + 1
    inside = scan.labels[0] == number
    assert above[inside].min() > 0.5 * LABEL_LEVEL * above[inside].max()


def test_less_exposure_is_less_light_and_more_spots_that_do_not_count(made):
    short = make_scan(replace(SMALL, exposure=1 / 16))
    light = [np.median(s.frames[0][~s.beam_stop]) - SMALL.offset for s in (made, short)]
    assert light[0] / light[1] == pytest.approx(16, rel=0.2)
    counting = [
        sum(int((t["snr"] * np.sqrt(t["area_px"]) >= 4).sum()) for t in s.truth)
        for s in (made, short)
    ]
    assert 0 < counting[1] < counting[0]


def test_short_exposures_can_be_judged_by_the_truth_of_the_long_one(made):
    short = make_scan(replace(SMALL, exposure=1 / 8, truth_exposure=1.0))
    np.testing.assert_array_equal(short.labels, made.labels)
    np.testing.assert_allclose(short.truth[0]["snr"], made.truth[0]["snr"], rtol=1e-4)
    assert np.median(short.frames) < np.median(made.frames)


def test_bent_grains_give_one_streak_each():
    grains = make_sample(box_mask((60, 60, 60), 5.0), 5.0, grains=2, seed=1)
    bent = bend(grains, 6, 1.2, seed=2)
    assert bent.n_grains == 12
    np.testing.assert_array_equal((bent.labels > 0), grains.labels > 0)
    owner = (bent.labels - 1) // 6
    np.testing.assert_array_equal(owner[grains.labels > 0], grains.labels[grains.labels > 0] - 1)
    assert np.ptp(bent.voxels_per_grain[:6]) <= 1
    turn = bent.orientations[0].T @ bent.orientations[5]
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    assert angle == pytest.approx(1.2, abs=1e-6)

    straight = make_scan(SMALL)
    streaks = make_scan(replace(SMALL, bend_deg=3.0))
    largest = [max(t["area_px"].max() for t in s.truth) for s in (straight, streaks)]
    assert largest[1] > 1.5 * largest[0]


def test_no_scan_that_judges_is_tuned_on():
    judging = judging_recipes()
    tuning = [tuning_twin(recipe) for recipe in judging]
    assert {r.group for r in judging} == {NEAR, FAR}
    assert {r.exposure for r in judging} == {1.0, 0.25}
    assert not {r.seed for r in judging} & {r.seed for r in tuning}
    everything = [*judging, *tuning, *window_recipes(), *exposure_recipes((0.5, 0.125))]
    keys = [r.key for r in everything]
    assert len(set(keys)) == len(keys)
    assert all(max(r.scored) < r.frames for r in everything)


def test_arcs_are_the_judging_scans_in_the_steps_of_a_real_one():
    arcs, scans = arc_recipes(3.0, 0.25), judging_recipes((0.25,))
    for arc, scan in zip(arcs, scans, strict=True):
        assert (arc.name, arc.seed, arc.exposure) == (scan.name, scan.seed, 0.25)
        assert arc.scored == tuple(range(31))
        np.testing.assert_allclose(np.diff(arc.settings().omega_deg), 3.0)
        assert arc.settings().omega_deg[0] == scan.settings().omega_deg[0]
    assert len({r.key for r in (*arcs, *scans)}) == 16
