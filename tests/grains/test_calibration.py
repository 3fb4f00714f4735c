"""A geometry that is off is found again from the spots, and what they cannot tell is said."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import yaml

from napari_labdct.cli import main
from napari_labdct.core.errors import ScanError
from napari_labdct.crystal.orientation import random_orientations
from napari_labdct.grains import CalibrationSettings, GeometryCalibration, compare_maps
from napari_labdct.grains.geometry_fit import (
    NAMES,
    Observed,
    as_vector,
    fit_geometry,
    places,
    with_vector,
)
from napari_labdct.grains.geometry_search import SETUPS, Setup
from napari_labdct.io import open_scan
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.scan_yaml import write_scan_yaml
from napari_labdct.scan.geometry import ScanGeometry, rotation_z

#: Distances (mm), centre (px of 20 um: a hundredth of the detector), tilts (degrees).
OFF = np.array([0.15, -0.25, 3.0, -3.0, 0.3, -0.3, 0.3])
FEW = CalibrationSettings(threads=1, grains=12)


def described(scan, geometry: ScanGeometry):
    """The scan with another geometry."""
    return scan.replace(
        description=scan.description.replace(
            source_sample_mm=geometry.source_sample_mm,
            sample_detector_mm=geometry.sample_detector_mm,
            detector_center_px=geometry.detector_center_px,
            detector_tilt_deg=geometry.detector_tilt_deg,
        )
    )


@pytest.fixture
def wrong(iron):
    """The scan with a geometry that is off."""
    geometry = iron.scan.geometry()
    return described(iron.scan, with_vector(geometry, as_vector(geometry) + OFF))


def found(job: GeometryCalibration):
    for _ in job.run():
        pass
    return job.result


def test_a_geometry_that_is_off_is_found(iron, wrong):
    result = found(GeometryCalibration(wrong, iron.masks, FEW))
    assert result.before_px > 1.5
    assert result.residual_px <= 0.3
    assert result.completeness > 0.9
    assert result.setup == Setup(False, False)
    off = np.abs(result.found - as_vector(iron.scan.geometry()))
    # What the error of spot centres leaves: 0.1 px, and what absorption moves them.
    assert (off <= 4 * result.sd + [0.02, 0.002, 0.02, 0.02, 0.005, 0.02, 0.02]).all()
    assert (result.sd < [0.2, 0.01, 0.1, 0.05, 0.02, 0.2, 0.25]).all()
    assert all(f"{v:.4f}" in result.report() for v in result.found)


@pytest.mark.parametrize("setup", SETUPS[1:], ids=lambda s: s.words)
def test_a_scan_the_wrong_way_round_is_told(iron, wrong, setup):
    masks = iron.masks[:, :, ::-1] if setup.mirrored else iron.masks
    omega = -iron.scan.omega_deg if setup.reversed else iron.scan.omega_deg
    result = found(GeometryCalibration(wrong.replace(omega_deg=omega), masks, FEW))
    assert result.residual_px <= 0.3
    # Mirrored and reversed together is the mirror image of the scan: spots cannot tell.
    assert result.setup.turns_back == setup.turns_back
    assert ("reversed" in result.report()) == setup.turns_back
    forwards = np.sign(np.diff(result.scan.omega_deg[:2]) * np.diff(iron.scan.omega_deg[:2]))
    assert forwards == (-1 if setup.mirrored else 1)


def test_a_mirrored_detector_is_a_mirrored_sample_that_turns_back():
    """The equality on which `Setup` rests: mirror everything, and reflections stay reflections."""
    rng = np.random.default_rng(3)
    geometry = ScanGeometry(11, 18, 20, (300, 340), (140, 190), (0.5, -0.4, 0.3))
    turns = np.array([rotation_z(a) for a in (10, 50, 200)])
    back = np.array([rotation_z(-a) for a in (10, 50, 200)])
    normals = rng.normal(size=(3, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    point, mirror = np.array([0.02, -0.05, 0.04]), np.array([1, -1, 1])
    plain = places(as_vector(geometry), geometry.pixel_mm, turns, normals, point)
    other = Setup(False, True).geometry(geometry)
    mirrored = places(as_vector(other), other.pixel_mm, back, normals * mirror, point * mirror)
    np.testing.assert_allclose(mirrored[:, 0], plain[:, 0])
    np.testing.assert_allclose(mirrored[:, 1], 339 - plain[:, 1])


def test_another_material_is_doubted_and_the_right_one_found(iron, monkeypatch):
    as_aluminium = GeometryCalibration(
        iron.scan, iron.masks, FEW.replace(direction="given"), "Al"
    )  # fmt: skip
    assert "is it Al?" in found(as_aluminium).report()
    monkeypatch.setattr("napari_labdct.grains.calibration.MATERIALS", ("Al", "Cu", "Fe"))
    settings = FEW.replace(direction="given", try_materials=True)
    result = found(GeometryCalibration(iron.scan, iron.masks, settings, "Al"))
    assert result.material.name == "Fe"
    assert result.scan.description.material == "Fe"
    assert "fits best is Fe." in result.report()


def test_shuffled_projections_fit_nothing(iron):
    order = np.random.default_rng(5).permutation(len(iron.masks))
    job = GeometryCalibration(iron.scan, iron.masks[order], FEW.replace(direction="given"))
    with pytest.raises(ScanError, match=r"stands out from chance.*try-materials"):
        found(job)


def synthetic(geometry: ScanGeometry, grains: int, spread_mm: float) -> list[Observed]:
    """Grains whose spots are where they should be."""
    rng = np.random.default_rng(1)
    vector, out = as_vector(geometry), []
    for u in random_orientations(grains, rng):
        normals = rng.normal(size=(4000, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        turns = np.array([rotation_z(a) for a in rng.uniform(0, 360, 4000)])
        point = rng.uniform(-spread_mm, spread_mm, 3)
        where = places(vector, geometry.pixel_mm, turns, normals, point)
        planes = np.einsum("mij,mj->mi", turns, normals)
        seen = (planes[:, 0] < 0) & (planes[:, 0] > -0.3)
        seen &= ((where > 0) & (where < np.array(geometry.shape) - 1)).all(axis=1)
        kept = np.flatnonzero(seen)[:80]
        where = where[kept] + rng.normal(0, 0.1, (len(kept), 2))
        out.append(Observed(u, point, normals[kept] @ u, turns[kept], kept, where))
    return out


PRIOR = np.array([0.3, 0.3, 10, 10, 0.3, 0.3, 0.3])


def test_the_fit_is_as_good_as_it_says():
    geometry = ScanGeometry(11, 18, 20, (338, 338), (165, 171), (0.3, -0.2, 0.1))
    truth = as_vector(geometry)
    fit = fit_geometry(
        truth + OFF, geometry.pixel_mm, synthetic(geometry, 20, 0.04), truth + OFF, PRIOR
    )
    assert fit.residual_px == pytest.approx(0.1 * 1.18, rel=0.15)
    assert (np.abs(fit.vector - truth) < 4 * fit.sd).all()
    assert fit.untold() == []


def test_what_spots_cannot_tell_is_said():
    """Far away the rays are parallel: where the source stands makes no difference."""
    geometry = ScanGeometry(1000, 100, 50, (338, 338))
    truth = as_vector(geometry)
    off = np.array([0.3, 0.1, 0.5, -0.5, 0.1, 0.1, 0.1])
    fit = fit_geometry(
        truth + off, geometry.pixel_mm, synthetic(geometry, 12, 0.04), truth + off, PRIOR
    )
    assert (NAMES[0],) in fit.untold()
    assert fit.sd[0] == pytest.approx(PRIOR[0], rel=0.05)
    assert abs(fit.vector[0] - (truth + off)[0]) < 0.05
    assert abs(fit.vector[1] - truth[1]) < 0.05


def test_it_stops_when_asked(iron, wrong):
    job = GeometryCalibration(wrong, iron.masks, FEW)
    steps = job.run()
    for step in steps:
        if step.message.startswith("fitting"):
            break
    steps.close()
    assert job.result is None


def test_missing_facts_are_named(iron):
    with pytest.raises(ScanError, match="A calibration needs the rotation angles"):
        GeometryCalibration(iron.scan.replace(omega_deg=None), iron.masks, FEW)


@pytest.fixture
def folder(iron, wrong, tmp_path):
    """The scan on disk, with the wrong geometry."""
    tifffile.imwrite(tmp_path / "frames.tif", iron.masks.astype(np.uint8))
    tifffile.imwrite(tmp_path / "spots.tif", iron.masks.astype(np.uint8) * 255)
    reversed_ = wrong.replace(omega_deg=-iron.scan.omega_deg)
    write_scan_yaml(tmp_path / "scan.yaml", reversed_, ["frames.tif"])
    return tmp_path


def test_the_command_writes_only_when_asked(iron, folder, capsys):
    before = (folder / "scan.yaml").read_bytes()
    words = [
        "calibrate", str(folder), "--spots", str(folder / "spots.tif"), "--grains", "8",
        "--threads", "1",
    ]  # fmt: skip
    assert main(words) == 0
    assert "direction of rotation reversed" in capsys.readouterr().out
    assert (folder / "scan.yaml").read_bytes() == before
    assert main([*words, "--write"]) == 0
    assert "scan.yaml.old" in capsys.readouterr().out
    assert (folder / "scan.yaml.old").read_bytes() == before
    scan = open_scan(folder)
    np.testing.assert_allclose(scan.omega_deg, iron.scan.omega_deg)
    assert scan.description.sample_detector_mm == pytest.approx(18, abs=0.01)
    assert yaml.safe_load(before)["tube_kv"] == scan.description.tube_kv
    # Once more: the geometry is right now, and the first values are kept.
    assert main([*words, "--write"]) == 0
    assert (folder / "scan.yaml.old").read_bytes() == before
    assert (folder / "scan.yaml.old2").exists()


def test_without_a_description_there_is_nothing_to_write_into(folder, capsys):
    (folder / "scan.yaml").unlink()
    words = ["calibrate", str(folder / "frames.tif"), "--spots", str(folder / "spots.tif")]
    assert main([*words, "--write"]) == 1
    assert "no scan.yaml" in capsys.readouterr().err


def test_a_map_begins_with_a_calibration(iron, folder, tmp_path, capsys):
    out = tmp_path / "grains.h5"
    words = [
        "grains", str(folder), "--spots", str(folder / "spots.tif"), "-o", str(out),
        "--sample", "cylinder", "--diameter-um", "70", "--height-um", "90", "--voxel-um", "5",
        "--effort", "quick", "--threads", "1", "--calibrate",
    ]  # fmt: skip
    assert main(words) == 0
    assert "direction of rotation reversed" in capsys.readouterr().out
    made = read_grainmapper(out).grains
    pairs = compare_maps(iron.truth, made, iron.material.symmetry)
    assert (iron.truth.diameters_um[pairs.false_negative] < 20).all()
    assert len(pairs.false_positive) == 0
