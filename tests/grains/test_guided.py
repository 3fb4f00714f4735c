"""With the grains known, weak spots are found, mergers cut, and a wrong geometry does no harm."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_labdct.core.errors import ScanError
from napari_labdct.crystal.orientation import random_orientations
from napari_labdct.grains.guided import ADDED, CUT, GuidedSpots
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import SimulateSettings, Simulation
from napari_labdct.spots.matching import match_spots

_SIGMA = 17.3  # of 300 grey
_SOME = range(1, 24, 4)


@pytest.fixture(scope="module")
def noisy() -> SimpleNamespace:
    """A noisy scan, its true spots, and a mask that has only bright spots, grown together."""
    settings = SimulateSettings(
        material="Fe", diameter_um=90, height_um=110, mean_grain_um=30, source_sample_mm=11,
        sample_detector_mm=18, binning=6, frames=24, start_deg=0, step_deg=15, voxel_um=5,
        truth_min_grey=1, truth_fraction=0.11, seed=5, noise=True, background=300, power_w=0.5,
    )  # fmt: skip
    simulation = Simulation(settings, threads=1)
    frames, truth, masks, spots = [], [], [], []
    for i, omega in enumerate(settings.omega_deg):
        projection = simulation.project(omega, i)
        frames.append(simulation.grey(projection, i))
        labels = np.where(projection.image > 0.7 * _SIGMA, projection.labels, 0)
        bright = np.concatenate([[False], projection.spots["peak"] > 6 * _SIGMA])
        truth.append(labels)
        spots.append(projection.spots)
        masks.append(ndi.binary_dilation(bright[labels], iterations=2))
    scan = Scan(np.stack(frames), settings.omega_deg, simulation.description(), "noisy")
    return SimpleNamespace(
        scan=scan, truth=truth, spots=spots, masks=np.stack(masks), grains=simulation.grains
    )


def surveyed(noisy, **changes) -> GuidedSpots:
    values = {"scan": noisy.scan, "spots": noisy.masks, "grains": noisy.grains}
    job = GuidedSpots(**(values | changes))
    for _ in job.survey():
        pass
    return job


@pytest.fixture(scope="module")
def guided(noisy) -> GuidedSpots:
    return surveyed(noisy)


def test_weak_spots_are_found_and_hardly_a_false_one(noisy, guided):
    weak = found = false = spots = 0
    for i in _SOME:
        labels = guided.frame(i)
        assert labels.dtype == np.uint16
        pairs = match_spots(labels, noisy.truth[i])
        ids = np.unique(noisy.truth[i])[1:]
        peaks = noisy.spots[i]["peak"][ids - 1]
        faint = (peaks > 3 * _SIGMA) & (peaks < 6 * _SIGMA)
        weak += faint.sum()
        found += faint[pairs.pairs[:, 1] - 1].sum()
        false += len(pairs.only_a)
        spots += pairs.n_a
    assert weak > 30
    assert found >= 0.9 * weak
    assert false <= 0.03 * spots


def test_what_grew_together_is_cut_where_the_shapes_meet(noisy, guided):
    before = after = 0
    for i in _SOME:
        before += len(match_spots(noisy.masks[i], noisy.truth[i]).merged)
        after += len(match_spots(guided.frame(i), noisy.truth[i]).merged)
    assert before >= 10
    assert after <= 0.2 * before


def test_every_spot_knows_its_grain_and_plane(noisy, guided):
    right = total = 0
    origins = set()
    for i in _SOME:
        labels, (rows, _) = guided.frame(i), guided.table(i)
        assert np.array_equal(rows["id"], np.unique(labels)[1:])
        origins |= set(rows["origin"].tolist())
        for a, b in match_spots(labels, noisy.truth[i]).pairs:
            true = noisy.spots[i][np.unique(noisy.truth[i])[b] - 1]
            row = rows[a - 1]
            total += 1
            # harmonics of a plane lie on each other; the direction tells the plane
            ours, theirs = (np.array([r[n] for n in "hkl"], float) for r in (row, true))
            same = np.allclose(np.cross(ours, theirs), 0)
            right += row["grain"] == true["grain"] and same
    assert right >= 0.95 * total
    assert {CUT, ADDED} <= origins


@pytest.mark.parametrize("what", ["distance", "centre", "direction"])
def test_a_wrong_geometry_leaves_the_mask_as_it_is(noisy, what):
    d = noisy.scan.description
    row, col = d.detector_center_px
    scan = {
        "distance": noisy.scan.replace(description=d.replace(sample_detector_mm=23.0)),
        "centre": noisy.scan.replace(description=d.replace(detector_center_px=(row + 25, col))),
        "direction": noisy.scan.replace(omega_deg=-noisy.scan.omega_deg),
    }[what]
    job = surveyed(noisy, scan=scan)
    assert "left as it is" in job.note
    assert "calibrate" in job.note
    for i in _SOME:
        assert np.array_equal(job.frame(i) > 0, noisy.masks[i] & ~scan.hidden())


def test_grains_that_are_not_known_lose_no_spot_and_are_listed(noisy):
    grains = noisy.grains
    known = np.zeros(grains.n_grains + 1, bool)
    known[1 : grains.n_grains // 2] = True
    half = replace(grains, labels=np.where(known[grains.labels], grains.labels, 0))
    job = surveyed(noisy, grains=half)
    listed = 0
    for i in _SOME:
        bright = noisy.masks[i] & ~noisy.scan.hidden()
        assert (job.frame(i) > 0)[bright].mean() > 0.98
        listed += len(job.table(i)[1])
    assert listed > 20


def test_a_grain_that_is_not_there_explains_nothing(noisy):
    grains = noisy.grains
    orientations = grains.orientations.copy()
    largest = int(np.argmax(grains.voxels_per_grain))
    orientations[largest] = random_orientations(1, np.random.default_rng(1))[0]
    job = surveyed(noisy, grains=replace(grains, orientations=orientations))
    assert not job.level.real[largest]
    assert job.level.real.sum() >= grains.n_grains - 2
    assert not any((job.table(i)[0]["grain"] == largest + 1).any() for i in _SOME)
    assert "not seen" in job.note


def test_a_mask_of_another_size_is_refused(noisy):
    with pytest.raises(ScanError, match="its own mask"):
        GuidedSpots(noisy.scan, noisy.masks[:3], noisy.grains)


def test_every_significance_has_a_bin():
    """Below the noise, too, and where the noise is nothing."""
    from napari_labdct.grains.guided import _bin_of

    assert _bin_of(np.array([-3.0, 0, 4.5, 11.9, 12, np.inf])).tolist() == [0, 0, 1, 4, 5, 5]
