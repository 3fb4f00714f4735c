from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest

from napari_labdct.core.errors import LabDCTError, ScanError, SettingsError
from napari_labdct.crystal import (
    CrystalWarning,
    GrainMap,
    Material,
    Site,
    material,
    matrix_to_rodrigues,
    misorientation_deg,
    random_orientations,
)
from napari_labdct.io.grainmapper import read_grainmapper
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.io.scan_yaml import read_scan_yaml, write_scan_yaml
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import Prediction, PredictSettings, settings_of_map

CUBIC = (90, 90, 90)
LABELS = np.zeros((5, 6, 8), np.int32)
LABELS[1:4, 1:5, 1:4], LABELS[1:4, 1:5, 4:7] = 1, 2
U = random_orientations(2, np.random.default_rng(5))


@pytest.fixture
def saved(tmp_path):
    """Write a map of two grains, each of its own phase if two are given; `edit` changes it."""

    def save(phases, edit=None, **known):
        grains = GrainMap(LABELS, 5.0, U, phases=np.arange(2) % len(phases))
        path = write_grainmapper(tmp_path / "map.h5", grains, phases, **known)
        if edit:
            with h5py.File(path, "r+") as file:
                edit(file)
        return path

    return save


def put(name, value):
    def edit(file):
        if name in file:
            del file[name]
        file[name] = value

    return edit


def named(name, cell, group):
    """Only name, cell and group get into the file."""
    return Material(name, cell, group, (Site("Fe", (0.0, 0.0, 0.0)),))


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        (named("Fe", (3.59,) * 3 + CUBIC, "F m -3 m"), "225"),
        (named("Iron", (2.9,) * 3 + CUBIC, "P m -3 m"), "221"),
        (named("Titanium", (3.28,) * 3 + CUBIC, "I m -3 m"), "229"),
        (named("CMSX-4", (3.592,) * 3 + CUBIC, "F m -3 m"), "CIF"),
        (named("Brass", (3.62,) * 3 + CUBIC, "F m -3 m"), "CIF"),
        (named("Al", (4.4,) * 3 + CUBIC, "F m -3 m"), "4.4"),
    ],
)
def test_a_phase_is_not_guessed_from_its_name_or_its_cell(saved, phase, says):
    with pytest.raises(ScanError, match=says):
        read_grainmapper(saved([phase]))


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "nanometres"), (100, "picometres")])
def test_a_phase_in_another_unit(saved, factor, unit):
    path = saved([material("Ni")], lambda f: None)
    with h5py.File(path, "r+") as file:
        file["PhaseInfo/Phase01/UnitCell"][:3] *= factor
    with pytest.raises(SettingsError, match=unit):
        read_grainmapper(path)


def test_phases_are_told_apart(saved):
    found = read_grainmapper(saved([material("Fe"), material("Ni")]))
    assert [phase.name for phase in found.phases] == ["Fe", "Ni"]
    assert found.grains.phases.tolist() == [0, 1]


def test_a_phase_without_grains_need_not_be_known(saved):
    path = saved([material("Fe"), named("Slag", (7.0,) * 3 + CUBIC, "P 1")])
    with h5py.File(path, "r+") as file:
        file["LabDCT/Data/PhaseId"][...] = LABELS > 0
    assert [phase.name for phase in read_grainmapper(path).phases] == ["Fe"]


def test_one_voxel_of_another_phase_does_not_change_a_grain(saved):
    path = saved([material("Fe"), material("Ni")])
    with h5py.File(path, "r+") as file:
        file["LabDCT/Data/PhaseId"][1, 1, 1] = 2
    assert read_grainmapper(path).grains.phases.tolist() == [0, 1]


def test_given_materials_win_and_a_contradiction_is_said(saved):
    path = saved([named("A", (3.6,) * 3 + CUBIC, "F m -3 m"), material("Fe")])
    found = read_grainmapper(path, material="Cu, Fe")
    assert [phase.name for phase in found.phases] == ["Cu", "Fe"]
    with pytest.warns(CrystalWarning, match=r"229.*Al is taken"):
        found = read_grainmapper(path, material="Cu,Al")
    assert found.phases[1].cell == material("Al").cell
    with pytest.raises(SettingsError, match=r"2 phases \(A, Fe\)"):
        read_grainmapper(path, material="Cu")


def test_every_phase_is_predicted_with_its_own_reflections(saved):
    path = saved([material("Fe"), material("Ni")], source_sample_mm=11, sample_detector_mm=11)
    scan = Scan(
        np.zeros((1, 400, 400), np.uint16),
        [0.0],
        ScanDescription(
            pixel_um=100, source_sample_mm=11, sample_detector_mm=11, tube_kv=140, material="Fe"
        ),
    )
    spots = Prediction(scan, PredictSettings(grain_map=str(path))).frame(0)
    parity = np.stack([spots[k] for k in "hkl"], axis=1) % 2
    iron, nickel = spots["grain"] == 1, spots["grain"] == 2
    assert iron.any()
    assert nickel.any()
    assert (parity[iron].sum(axis=1) % 2 == 0).all()  # body-centred: an even sum
    assert (np.ptp(parity[nickel], axis=1) == 0).all()  # face-centred: all odd or all even
    with pytest.raises(SettingsError, match="2 phases"):
        settings_of_map(path)


@pytest.mark.parametrize("kind", ["Rodrigues", "Quaternion"])
@pytest.mark.parametrize("voxel", [(1, 1, 1), (2, 3, 2), (3, 4, 3)])
def test_wrong_voxels_do_not_turn_a_grain(saved, kind, voxel):
    wrong = {"Rodrigues": [0.0, 0.7, 0.1], "Quaternion": [0.8, 0.0, 0.6, 0.0]}[kind]

    def edit(file):
        data = file["LabDCT/Data"]
        if kind == "Quaternion":
            r = data["Rodrigues"][()]
            del data["Rodrigues"]
            data["Quaternion"] = np.concatenate([np.ones_like(r[..., :1]), r], axis=-1)
        data[kind][voxel] = wrong
        data[kind][1, 2, 2] = np.nan
        data[kind][1, 2, 5] = 0 if kind == "Quaternion" else np.nan

    found = read_grainmapper(saved([material("Al")], edit)).grains
    assert misorientation_deg(found.orientations, U, material("Al").symmetry).max() < 0.01
    assert 0 < found.spread_deg[0] < 5
    assert found.spread_deg[1] == pytest.approx(0, abs=1e-3)


def test_a_grain_without_any_orientation_is_left_out_and_said(saved):
    path = saved([material("Al")])
    with h5py.File(path, "r+") as file:
        volume = file["LabDCT/Data/Rodrigues"][()]
        volume[LABELS == 1] = np.nan
        file["LabDCT/Data/Rodrigues"][...] = volume
    with pytest.warns(CrystalWarning, match="left out"):
        found = read_grainmapper(path).grains
    assert found.grain_ids.tolist() == [2]
    np.testing.assert_array_equal(found.labels > 0, LABELS == 2)


def test_a_grain_of_scattered_voxels_is_said(saved):
    mixed = random_orientations(LABELS.size, np.random.default_rng(2)).reshape(*LABELS.shape, 3, 3)
    edit = put("LabDCT/Data/Rodrigues", matrix_to_rodrigues(mixed))
    with pytest.warns(CrystalWarning, match="off their grain's mean"):
        read_grainmapper(saved([material("Al")], edit))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LabDCT/Spacing", np.zeros(3)),
        ("LabDCT/Spacing", np.full(3, 5.0)),
        ("LabDCT/Spacing", np.full(4, 0.005)),
        ("LabDCT/Center", np.array([0, np.inf, 0])),
        ("LabDCT/Center", np.array([b"x"] * 3)),
        ("LabDCT/Data/GrainId", LABELS[0]),
        ("LabDCT/Data/GrainId", LABELS + 0.5),
        ("LabDCT/Data/PhaseId", LABELS[:2]),
        ("LabDCT/Data/PhaseId", np.full(LABELS.shape, 7)),
        ("LabDCT/Data/Rodrigues", np.zeros((*LABELS.shape, 4))),
        ("LabDCT/Data/Rodrigues", np.full((*LABELS.shape, 3), np.inf)),
        ("LabDCT/Voltage", np.array([-140.0])),
        ("LabDCT/SampleToDetectorDistance", np.array([np.nan])),
        ("LabDCT/NumberOfProjections", np.array([10**9])),
        ("PhaseInfo/Phase01/UnitCell", np.ones((2, 3))),
        ("PhaseInfo/Phase01/UnitCell", np.full(6, np.nan)),
        ("PhaseInfo/Phase01/SpaceGroup", np.array([231])),
        ("PhaseInfo/Phase01/SpaceGroup", np.array([b"Fm-3m"])),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(saved, name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LabDCTError) as caught:
            read_grainmapper(saved([material("Al")], put(name, value)))
    assert "map.h5" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_cif_in_scan_yaml_belongs_to_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "scan"
    (folder / "crystals").mkdir(parents=True)
    (folder / "scan.yaml").write_text("material: crystals/my.cif\npixel_um: 50\n")
    monkeypatch.chdir(tmp_path)
    description = read_scan_yaml("scan/scan.yaml").description
    assert description.material == str(folder / "crystals/my.cif")
    scan = Scan(np.zeros((1, 4, 4)), None, description)
    text = write_scan_yaml(folder / "scan.yaml", scan).read_text()
    assert "material: crystals/my.cif" in text
    other = write_scan_yaml(tmp_path / "other.yaml", scan)
    assert read_scan_yaml(other).description.material == description.material
