"""A simulated scan gives back the grains it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import ScanError, SettingsError
from napari_labdct.crystal import misorientation_deg
from napari_labdct.grains import GrainMapping, GrainSettings, compare_maps
from napari_labdct.grains.kernels import HIDDEN
from napari_labdct.grains.search import Search


def test_the_map_is_the_sample(small):
    found = compare_maps(small.truth, small.result.grains, small.material.symmetry)
    large = small.truth.diameters_um > 20
    assert large.sum() >= 8
    assert large[found.false_negative].sum() == 0
    assert len(found.false_positive) == 0
    assert len(found.one_to_one) >= large.sum()
    assert np.median(found.misorientation_deg) < 0.03
    assert found.boundary_um.mean() < 5  # one voxel
    assert found.voxels_right > 0.8


def test_every_grain_tells_how_sure_it_is(small):
    table = small.result.table
    assert (table["probability"] >= 0.99).all()
    assert (table["completeness"] > 0.8).all()
    pairs = compare_maps(small.truth, small.result.grains, small.material.symmetry)
    off = pairs.misorientation_deg / table["orientation_sd_deg"][pairs.one_to_one[:, 1]]
    assert np.median(off) < 15
    assert (table["orientation_sd_deg"] < 0.1).all()
    assert (table["center_sd_um"] < 5).all()


def test_hexagonal_crystals_are_found(simulated, finished, outline):
    made = simulated(material="Ti", seed=4)
    job = finished(GrainMapping(made.scan, made.masks, outline))
    found = compare_maps(made.truth, job.result.grains, made.material.symmetry)
    large = made.truth.diameters_um > 25
    assert large.sum() >= 5
    assert large[found.false_negative].sum() == 0
    assert len(found.false_positive) == 0
    assert np.median(found.misorientation_deg) < 0.05


def test_shuffled_projections_hold_no_grain(small, finished, outline):
    order = np.random.default_rng(5).permutation(len(small.masks))
    job = GrainMapping(small.scan.replace(frames=small.masks[order]), small.masks[order], outline)
    with pytest.raises(ScanError, match="No grain was found"):
        finished(job)


def test_the_sample_is_found_from_its_spots(small, finished, outline):
    settings = GrainSettings(voxel_um=5, threads=1, effort="quick")
    job = finished(GrainMapping(small.scan, small.masks, settings))
    found = compare_maps(small.truth, job.result.grains, small.material.symmetry)
    assert (small.truth.diameters_um[found.false_negative] < 30).all()
    assert len(found.false_positive) == 0
    # Its surface is off by less than one and a half pixels on the sample (7.6 um each).
    grown = (70 + 2 * 11.4) ** 2 * (90 + 2 * 11.4) / (70**2 * 90)
    share = job.result.grains.volumes_um3.sum() / small.truth.volumes_um3.sum()
    assert 0.8 < share < grown


def test_far_field_gives_a_list_of_grains(simulated, finished):
    made = simulated(
        source_sample_mm=100, sample_detector_mm=100, pixel_um=17, diameter_um=240, height_um=240,
        mean_grain_um=110, voxel_um=20, beam_stop_width_mm=8, beam_stop_height_mm=8,
        truth_min_grey=0.1,
    )  # fmt: skip
    job = GrainMapping(made.scan, made.masks, GrainSettings(threads=1, diameter_um=240))
    found = finished(job).result
    assert found.grains is None
    apart = np.array(
        [
            misorientation_deg(u, made.truth.orientations, made.material.symmetry)
            for u in found.orientations
        ]
    )
    assert made.truth.n_grains > 5
    assert (apart.min(axis=1) < 0.2).all()
    assert (apart.min(axis=0) < 0.2).mean() >= 0.9
    centers = np.stack([found.table[n] for n in ("x_um", "y_um", "z_um")], axis=1)
    off = np.linalg.norm(centers - made.truth.centroids_mm[apart.argmin(axis=1)] * 1e3, axis=1)
    assert np.median(off) < 51  # one pixel on the sample


def test_a_killed_run_goes_on_with_the_grains_it_had(
    small, finished, outline, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_labdct.grains.mapping._SAVE_S", 0.0)
    state = tmp_path / "state.json"
    job = GrainMapping(small.scan, small.masks, outline)
    steps = job.run(state)
    for _ in steps:
        if job.search and len(job.search.grains) >= 4 and state.exists():
            break
    steps.close()
    kept = len(job.search.grains)
    seeds = []
    monkeypatch.setattr(
        Search, "_next_seeds", lambda self, *a: seeds.append(len(self.grains)) or np.zeros(0, int)
    )
    again = finished(GrainMapping(small.scan, small.masks, outline), state)
    assert seeds[0] >= kept - 1 > 0
    assert len(again.result.table) >= kept - 1
    assert not state.exists()


def test_missing_facts_are_named(small, finished, outline):
    scan = small.scan.replace(description=small.scan.description.replace(pixel_um=None))
    with pytest.raises(ScanError, match="pixel size"):
        GrainMapping(scan, small.masks, outline)
    with pytest.raises(SettingsError, match="diameter_um"):
        GrainMapping(small.scan, small.masks, GrainSettings(sample="box"))
    with pytest.raises(ScanError, match="spots have shape"):
        GrainMapping(small.scan, small.masks[:-1], outline)


def test_empty_masks_are_refused(small, finished, outline):
    job = GrainMapping(small.scan, np.zeros_like(small.masks), outline)
    with pytest.raises(ScanError, match="no spot"):
        finished(job)


def test_spots_in_the_detector_mask_do_not_count(small, outline):
    mask = np.zeros(small.scan.shape, bool)
    mask[:, 10:14] = True
    images = GrainMapping(small.scan.replace(mask=mask), small.masks, outline).images
    for _ in images.load():
        pass
    plain = small.job.images.images
    assert (images.images[:, mask] == HIDDEN).all()
    far = np.zeros(mask.shape, bool)
    far[:, 60:] = True
    np.testing.assert_array_equal(images.images[:, far] == HIDDEN, plain[:, far] == HIDDEN)
