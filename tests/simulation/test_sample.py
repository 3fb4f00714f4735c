from __future__ import annotations

import h5py
import numpy as np
import pytest

from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.crystal import GrainMap, material, random_orientations
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.simulation import box_mask, cylinder_mask, make_sample, preset_sample


@pytest.mark.parametrize(
    ("name", "grains", "mean_um", "deviation_um"),
    [("D18", 230, 18.3, 7.7), ("D35", 337, 35.8, 8.2), ("D64", 485, 63.6, 14.1)],
)
def test_presets_have_the_statistics_of_table_1(name, grains, mean_um, deviation_um):
    sample = preset_sample(name, voxel_um={"D18": 1.5, "D35": 3.0, "D64": 6.0}[name])
    assert sample.n_grains == grains
    assert sample.diameters_um.mean() == pytest.approx(mean_um, rel=0.04)
    assert sample.diameters_um.std() == pytest.approx(deviation_um, rel=0.25)


def test_d18_grains_grow_along_z():
    sample = preset_sample("D18", voxel_um=2.0)
    z = sample.centroids_mm[:, 2]
    low = sample.diameters_um[z < np.quantile(z, 0.2)].mean()
    high = sample.diameters_um[z > np.quantile(z, 0.9)].mean()
    assert high > 1.8 * low


@pytest.mark.parametrize("spread", [0.1, 0.15, 0.25, 0.4])
def test_mean_and_spread_are_as_asked(spread):
    mask = cylinder_mask(200, 300, 4.0)
    sample = make_sample(mask, 4.0, mean_size_um=30, spread=spread, seed=3)
    sizes = sample.diameters_um
    assert sizes.mean() == pytest.approx(30, rel=0.05)
    assert sizes.std() / sizes.mean() == pytest.approx(spread, rel=0.25)
    assert sample.volumes_um3.sum() == pytest.approx(mask.sum() * 64)
    assert ((sample.labels > 0) == mask).all()


def test_the_seed_decides_everything():
    mask = box_mask((60, 60, 40), 4.0)
    a, b, c = (make_sample(mask, 4.0, mean_size_um=25, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.orientations, b.orientations)
    assert not np.array_equal(a.orientations[0], c.orientations[0])


def test_a_gradient_follows_the_number_of_grains_it_needs():
    sample = make_sample(box_mask((100, 100, 200), 4.0), 4.0, gradient_um=(15, 40), seed=1)
    z = sample.centroids_mm[:, 2]
    assert (z < 0).sum() > 3 * (z > 0).sum()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(mask=np.zeros((3, 3, 3), bool), mean_size_um=5), "sample is empty"),
        (dict(mask=np.ones((3, 3, 3), bool), mean_size_um=500), "smaller than one grain"),
        (dict(mask=np.ones((3, 3, 3), bool), grains=100), "do not fit"),
        (dict(mask=np.ones((3, 3, 3), bool)), "mean grain size"),
        (dict(mask=np.ones((3, 3, 3), bool), grains=2, voxel_um=0), "voxel_um"),
    ],
)
def test_impossible_samples_are_refused(arguments, says):
    with pytest.raises(SettingsError, match=says):
        make_sample(**({"voxel_um": 2.0} | arguments))
    with pytest.raises(SettingsError, match="D18, D35, D64"):
        preset_sample("D99")


# ----------------------------------------------------------------------------- grain maps


@pytest.fixture
def grains() -> GrainMap:
    labels = np.zeros((3, 4, 5), np.int32)
    labels[:, :2], labels[:, 2:, 1:] = 1, 2
    u = random_orientations(2, np.random.default_rng(0))
    return GrainMap(labels, 2.0, u, (0.1, 0.2, 0.3), np.array([7, 9]))


def test_positions_follow_axes_and_centre(grains):
    # Grain 1 fills rows y = 0, 1 of 4: its centre lies one voxel below the middle in y.
    np.testing.assert_allclose(grains.centroids_mm[0], [0.1, 0.2 - 0.002, 0.3])
    np.testing.assert_allclose(grains.centroids_mm[1], [0.1 + 0.001, 0.2 + 0.002, 0.3])
    np.testing.assert_allclose(grains.volumes_um3, [30 * 8, 24 * 8])


def test_dividing_voxels_keeps_volumes_and_centres(grains):
    points, first, volume = grains.cells(0.7)
    assert volume * np.diff(first) == pytest.approx(grains.volumes_um3)
    for i in range(2):
        mean = points[first[i] : first[i + 1]].mean(axis=0)
        np.testing.assert_allclose(mean, grains.centroids_mm[i], atol=1e-6)


def test_grainmapper_files_round_trip(tmp_path, grains):
    path = write_grainmapper(
        tmp_path / "map.h5",
        grains,
        material("Al"),
        source_sample_mm=13.0,
        sample_detector_mm=15.1,
        tube_kv=110.0,
        n_projections=121,
    )
    found = read_grainmapper(path)
    np.testing.assert_array_equal(found.grains.labels, grains.labels)
    np.testing.assert_allclose(found.grains.orientations, grains.orientations, atol=1e-6)
    np.testing.assert_array_equal(found.grains.grain_ids, [7, 9])
    assert found.grains.center_mm == pytest.approx(grains.center_mm)
    assert found.grains.voxel_um == pytest.approx(2.0)
    assert (found.source_sample_mm, found.sample_detector_mm) == (13.0, 15.1)
    assert found.tube_kv == 110.0
    assert found.omega_deg[[0, 1, -1]].tolist() == [-180, -177, 180]
    assert found.material.name == "Al"


def test_a_mirrored_import_keeps_proper_rotations(tmp_path, grains):
    path = write_grainmapper(tmp_path / "map.h5", grains, material("Al"))
    found = read_grainmapper(path, y_flip=True).grains
    np.testing.assert_allclose(np.linalg.det(found.orientations), 1)
    np.testing.assert_allclose(found.centroids_mm, grains.centroids_mm * [1, -1, 1])


def test_phases_are_known_by_their_cell(tmp_path, grains):
    path = write_grainmapper(tmp_path / "map.h5", grains, material("Fe"))
    with h5py.File(path, "r+") as file:
        del file["PhaseInfo/Phase01/Name"]
        file["PhaseInfo/Phase01/Name"] = [b"Ferrite"]
    assert read_grainmapper(path).material.name == "Fe"
    with h5py.File(path, "r+") as file:
        file["PhaseInfo/Phase01/UnitCell"][:3] = 9.0
    with pytest.raises(ScanError, match="Ferrite"):
        read_grainmapper(path)


def test_files_that_are_no_grain_maps_are_refused(tmp_path, grains):
    text = tmp_path / "text.h5"
    text.write_text("no")
    with pytest.raises(ScanError, match="not a GrainMapper3D"):
        read_grainmapper(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["a"] = [1]
    with pytest.raises(ScanError, match="not a GrainMapper3D"):
        read_grainmapper(other)
    path = write_grainmapper(tmp_path / "map.h5", grains, material("Al"))
    with h5py.File(path, "r+") as file:
        file["LabDCT/Data/GrainId"][...] = 0
    with pytest.raises(ScanError, match="no grain"):
        read_grainmapper(path)
    with pytest.raises(OutputError, match="Cannot write"):
        write_grainmapper(tmp_path / "none" / "map.h5", grains, material("Al"))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((2, 2, 2), int), "empty"),
        (np.full((2, 2, 2), 3), "orientations"),
        (np.ones((2, 2), int), "3-D"),
        (np.ones((2, 2, 2)), "whole numbers"),
    ],
)
def test_impossible_grain_maps_are_refused(labels, says):
    with pytest.raises(SettingsError, match=says):
        GrainMap(labels, 1.0, np.eye(3)[None])
