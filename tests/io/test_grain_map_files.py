"""Grain maps of every format: one crystal whose planes are known, round trips, bad files."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest

from napari_labdct.cli import main
from napari_labdct.core.errors import LabDCTError, OutputError, ScanError
from napari_labdct.crystal import (
    CrystalWarning,
    GrainMap,
    bunge_to_matrix,
    material,
    misorientation_deg,
    random_orientations,
)
from napari_labdct.io.grain_map_files import (
    GRAIN_FORMATS,
    GrainFormat,
    convert_grain_map,
    grain_ends,
    is_grain_map,
    read_grain_map,
    write_grain_map,
)
from napari_labdct.io.grainmapper import MeasuredMap

FE = material("Fe")
LABELS = np.zeros((4, 5, 7), np.int32)
LABELS[1:3, 1:4, 1:3], LABELS[1:3, 1:4, 3:6] = 1, 2

# The crystal of these tests: Bunge angles 30, 20, 0 degrees. Its (100) planes then face
# (cos 30, sin 30, 0) and its (001) planes (sin 30 sin 20, -cos 30 sin 20, cos 20) in the sample.
C15, S15, C10, S10 = (f(np.radians(a)) for a in (15, 10) for f in (np.cos, np.sin))
QUATERNION = np.array([C15 * C10, C15 * S10, S15 * S10, S15 * C10])
PLANE_100 = np.array([np.cos(np.radians(30)), 0.5, 0])
PLANE_001 = np.array(
    [
        0.5 * np.sin(np.radians(20)),
        -np.cos(np.radians(30)) * np.sin(np.radians(20)),
        np.cos(np.radians(20)),
    ]
)


def sample(u, ids=(), crystal=FE, **more):
    grains = GrainMap(LABELS, 5.0, np.array(u), (0.01, -0.02, 0.03), grain_ids=np.array(ids, int))
    return MeasuredMap(grains, crystal, 11.0, 18.0, 140.0, 181, (crystal,), **more)


def faces_as_known(measured):
    """Plane normals of the first grain, whichever equivalent of its orientation was read."""
    normals = (
        measured.grains.orientations[0]
        @ FE.b_matrix
        @ np.concatenate([np.eye(3), -np.eye(3)], axis=1)
    )
    normals /= np.linalg.norm(normals, axis=0)
    return [np.abs(normals.T - plane).max(axis=1).min() for plane in (PLANE_100, PLANE_001)]


def edit_h5(path, values, gone=()):
    with h5py.File(path, "r+") as file:
        for name in [*gone, *values]:
            if name in file:
                del file[name]
        for name, value in values.items():
            file[name] = value
    return path


def everywhere(values):
    return np.broadcast_to(np.asarray(values, np.float32), (*LABELS.shape, len(values)))


def tesr(path, words="rodrigues:passive", values="0 0 0\n0 0 0", version=2.2, **change):
    parts = {
        "general": "3\n 7 5 4\n 0.005 0.005 0.005",
        "cell": "2",
        "data": "ascii\n" + " ".join(map(str, LABELS.ravel())),
    } | change
    path.write_text(
        f"***tesr\n **format\n  {version}\n **general\n  {parts['general']}\n **cell\n  "
        f"{parts['cell']}\n  *ori\n  {words}\n{values}\n  *crysym\n  cubic\n **data\n  "
        f"{parts['data']}\n***end\n"
    )
    return path


# ---- one oriented crystal, written in each format's own words


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Rodrigues", QUATERNION[1:] / QUATERNION[0]),
        ("Quaternion", QUATERNION),
        ("EulerZXZ", np.radians([30, 20, 0])),
        ("EulerZYZ", np.radians([30 - 90, 20, 90])),  # R about x is R about y, turned by 90 about z
    ],
)
def test_the_convention_of_grainmapper(tmp_path, name, values):
    path = tmp_path / "map.h5"
    write_grain_map(path, sample([np.eye(3)] * 2))
    edit_h5(path, {f"LabDCT/Data/{name}": everywhere(values)}, ["LabDCT/Data/Rodrigues"])
    assert np.allclose(faces_as_known(read_grain_map(path)), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("EulerAngles", np.radians([30, 20, 0])),
        ("Quats", [-QUATERNION[1], -QUATERNION[2], -QUATERNION[3], QUATERNION[0]]),
    ],
)
def test_the_convention_of_dream3d(tmp_path, name, values):
    path = tmp_path / "map.dream3d"
    write_grain_map(path, sample([np.eye(3)] * 2))
    cells = "DataContainers/ImageDataContainer/CellData/"
    edit_h5(path, {cells + name: everywhere(values)}, [cells + "EulerAngles", cells + "Quats"])
    assert np.allclose(faces_as_known(read_grain_map(path)), 0, atol=1e-6)


def test_quaternions_of_dream3d_are_the_inverse_of_grainmappers(tmp_path):
    u = bunge_to_matrix(30, 20, 0)
    for end in ("h5", "dream3d"):
        write_grain_map(tmp_path / f"map.{end}", sample([u, u]))
    with h5py.File(tmp_path / "map.h5") as file:
        ours = file["LabDCT/Data/Rodrigues"][1, 1, 1]
    with h5py.File(tmp_path / "map.dream3d") as file:
        cells = file["DataContainers/ImageDataContainer/CellData"]
        x, y, z, w = cells["Quats"][1, 1, 1]
        angles = cells["EulerAngles"][1, 1, 1]
    assert np.allclose(np.array([x, y, z]) / w, -ours, atol=1e-6)
    assert np.allclose(ours, QUATERNION[1:] / QUATERNION[0], atol=1e-6)
    assert np.allclose(angles, np.radians([30, 20, 0]), atol=1e-6)


@pytest.mark.parametrize("name", ["EulerAngles", "Quats"])
def test_the_x_axis_of_hexagonal_crystals_in_dream3d_is_a(tmp_path, name):
    titanium = material("Ti")
    path = tmp_path / "map.dream3d"
    write_grain_map(path, sample([np.eye(3)] * 2, crystal=titanium))
    cells = "DataContainers/ImageDataContainer/CellData/"
    values = {"EulerAngles": [0, 0, 0], "Quats": [0, 0, 0, 1]}[name]
    edit_h5(path, {cells + name: everywhere(values)}, [cells + "EulerAngles", cells + "Quats"])
    u = read_grain_map(path).grains.orientations[0]
    along = [u @ op @ titanium.lattice[:, 0] for op in titanium.symmetry]
    assert max(a[0] / np.linalg.norm(a) for a in along) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("version", "words", "values"),
    [
        (2.2, "rodrigues:passive", QUATERNION[1:] / QUATERNION[0]),
        (2.2, "rodrigues:active", -QUATERNION[1:] / QUATERNION[0]),
        (2.1, "rodrigues:active", QUATERNION[1:] / QUATERNION[0]),
        (2.0, "rodrigues:passive", -QUATERNION[1:] / QUATERNION[0]),
        (2.0, "rodrigues", QUATERNION[1:] / QUATERNION[0]),
        (2.2, "quaternion:passive", QUATERNION),
        (2.2, "euler-bunge:passive", np.array([30, 20, 0])),
    ],
)
def test_the_convention_of_neper(tmp_path, version, words, values):
    row = " ".join(map(str, values))
    path = tesr(tmp_path / "map.tesr", words, f"{row}\n{row}", version)
    assert np.allclose(faces_as_known(read_grain_map(path, material="Fe")), 0, atol=1e-6)


def test_the_convention_of_imaged11(tmp_path):
    a, b = 2.8665 * PLANE_100, 2.8665 * np.cross(PLANE_001, PLANE_100)
    rows = [" ".join(map(str, row)) for row in (a, b, 2.8665 * PLANE_001)]
    path = tmp_path / "grains.map"
    path.write_text("#translation: 10 20 30\n#name 0:0\n#UBI:\n" + "\n".join(rows) + "\n\n")
    with pytest.warns(CrystalWarning, match="no shapes"):
        found = read_grain_map(path)
    assert found.material.name == "Fe"
    assert np.allclose(faces_as_known(found), 0, atol=1e-9)
    assert np.allclose(found.grains.centroids_mm, [[0.01, 0.02, 0.03]], atol=2e-3)


def test_the_convention_of_the_table(tmp_path):
    path = tmp_path / "grains.csv"
    write_grain_map(path, sample([bunge_to_matrix(30, 20, 0), np.eye(3)], [70_001, 3]))
    with open(path, newline="") as file:
        row = next(csv.DictReader(file))
    assert row["grain"] == "70001"
    assert row["phase"] == "Fe"
    given = {k: float(v) for k, v in row.items() if k not in ("grain", "phase")}
    assert [given[k] for k in ("phi1_deg", "phi_deg", "phi2_deg")] == pytest.approx([30, 20, 0])
    assert [given[f"q{k}"] for k in range(4)] == pytest.approx(QUATERNION, abs=1e-7)
    rodrigues = QUATERNION[1:] / QUATERNION[0]
    assert [given[f"r{k}"] for k in (1, 2, 3)] == pytest.approx(rodrigues, abs=1e-7)
    assert [given[f"{k}_um"] for k in "xyz"] == pytest.approx([2.5, -20, 30])
    assert given["voxels"] == 12
    assert given["diameter_um"] == pytest.approx((6 / np.pi * 12 * 125) ** (1 / 3))


# ---- round trips


@pytest.mark.parametrize("end", ["h5", "dream3d", "tesr"])
def test_round_trip(tmp_path, end):
    u = random_orientations(2, np.random.default_rng(3))
    share = np.where(LABELS > 0, 0.75, 0).astype(np.float32)
    given = sample(u, [70_001, 12], completeness=share)
    path = tmp_path / f"map.{end}"
    assert write_grain_map(path, given) == [path]
    found = read_grain_map(path, material="Fe" if end == "tesr" else None)
    names = np.concatenate([[0], found.grains.grain_ids])[found.grains.labels]
    assert np.array_equal(names, np.array([0, 70_001, 12])[LABELS])
    order = np.argsort(found.grains.grain_ids)[::-1]
    assert misorientation_deg(found.grains.orientations[order], u, FE.symmetry).max() < 1e-4
    assert found.grains.voxel_um == pytest.approx(5)
    assert found.grains.center_mm == pytest.approx((0.01, -0.02, 0.03), abs=1e-8)
    if end != "tesr":
        assert np.array_equal(found.completeness, share)
        assert found.material.name == "Fe"


def test_orientations_of_voxels_are_kept(tmp_path):
    u = random_orientations(2, np.random.default_rng(4))
    write_grain_map(tmp_path / "a.h5", sample(u))
    field = read_grain_map(tmp_path / "a.h5", voxels=True).rotations.copy()
    field[1, 1, 1] = QUATERNION
    write_grain_map(tmp_path / "a.h5", sample(u, rotations=field))
    convert_grain_map(tmp_path / "a.h5", tmp_path / "b.dream3d")
    convert_grain_map(tmp_path / "b.dream3d", tmp_path / "c.h5")
    found = read_grain_map(tmp_path / "c.h5", voxels=True).rotations
    inside = LABELS > 0
    assert np.abs(np.abs((found * field).sum(axis=-1))[inside] - 1).max() < 1e-5
    assert np.isnan(found[~inside]).all()


def test_half_a_turn_has_a_finite_rodrigues_vector(tmp_path):
    u = [np.diag([-1.0, 1, -1]), bunge_to_matrix(179.9999, 0.001, 0)]
    write_grain_map(tmp_path / "map.h5", sample(u))
    with h5py.File(tmp_path / "map.h5") as file:
        assert np.isfinite(file["LabDCT/Data/Rodrigues"][()]).all()
    found = read_grain_map(tmp_path / "map.h5").grains.orientations
    assert misorientation_deg(found, np.array(u), FE.symmetry).max() < 1e-4


def test_a_list_of_grains_and_back(tmp_path):
    u = random_orientations(2, np.random.default_rng(5))
    write_grain_map(tmp_path / "grains.ubi", sample(u, [7, 9]))
    with pytest.warns(CrystalWarning, match="nearest"):
        found = read_grain_map(tmp_path / "grains.ubi")
    assert found.grains.grain_ids.tolist() == [7, 9]
    assert misorientation_deg(found.grains.orientations, u, FE.symmetry).max() < 1e-5
    # the two cells meet half way between the centres, x = 2.5 and 15 um
    x = found.grains.center_mm[0] * 1e3
    x += (np.arange(found.grains.labels.shape[2]) - (found.grains.labels.shape[2] - 1) / 2) * (
        found.grains.voxel_um
    )
    assert x[(found.grains.labels == 1).any(axis=(0, 1))].max() < 8.75
    assert x[(found.grains.labels == 2).any(axis=(0, 1))].min() > 8.75


def test_the_file_opens_in_gm3dh5(tmp_path):
    from gm3dh5.file import GM3DResultFileReader

    u = random_orientations(2, np.random.default_rng(6))
    write_grain_map(tmp_path / "map.h5", sample(u, [5, 70_000]))
    with GM3DResultFileReader(str(tmp_path / "map.h5")) as file:
        assert file.version == 4
        assert file.spacing == pytest.approx([0.005] * 3)
        assert np.array_equal(file.grainids, np.array([0, 5, 70_000])[LABELS])
        assert [(p.name, p.space_group) for p in file.phases] == [("Fe", 229)]
        q = file.rotations[5]
        theirs = np.array([q.a, q.b, q.c, q.d], float)
        # their exporter's Neper raster says the same as ours
        file.export(str(tmp_path / "theirs.tesr"))
    from napari_labdct.crystal import quaternions_to_matrices

    assert misorientation_deg(quaternions_to_matrices(theirs), u[0], FE.symmetry) < 1e-4
    found = read_grain_map(tmp_path / "theirs.tesr", material="Fe").grains
    assert misorientation_deg(found.orientations, u, FE.symmetry).max() < 1e-4
    assert np.array_equal(found.labels, LABELS)


def test_paraview_gets_places_of_the_volumes(tmp_path):
    written = write_grain_map(tmp_path / "map.xdmf", sample([np.eye(3)] * 2))
    assert [p.name for p in written] == ["map.xdmf", "map.h5"]
    root = ElementTree.parse(tmp_path / "map.xdmf").getroot()
    assert root.find(".//Topology").get("Dimensions") == "5 6 8"
    origin, spacing = (item.text.split() for item in root.findall(".//Geometry/DataItem"))
    assert [float(v) for v in spacing] == pytest.approx([5, 5, 5])
    assert [float(v) for v in origin] == pytest.approx([30 - 10, -20 - 12.5, 10 - 17.5])
    with h5py.File(tmp_path / "map.h5") as file:
        for item in root.findall(".//Attribute/DataItem"):
            name, where = item.text.split(":")
            assert name == "map.h5"
            volume = file[where]
            assert item.get("Dimensions") == " ".join(map(str, volume.shape))
            assert int(item.get("Precision")) == volume.dtype.itemsize
    # one for a file that is there already leaves it as it is
    before = (tmp_path / "map.h5").read_bytes()
    convert_grain_map(tmp_path / "map.h5", tmp_path / "map.xdmf", overwrite=True)
    assert (tmp_path / "map.h5").read_bytes() == before


def test_dream3d_nx(tmp_path):
    u = random_orientations(2, np.random.default_rng(8))
    write_grain_map(tmp_path / "old.dream3d", sample(u))
    with h5py.File(tmp_path / "old.dream3d") as old, h5py.File(tmp_path / "n.dream3d", "w") as new:
        new.attrs["FileVersion"] = "8.0"
        image = new.create_group("DataStructure/Image")
        image.attrs["_DIMENSIONS"] = np.array([7, 5, 4], np.uint64)
        image.attrs["_ORIGIN"] = np.array([-7.5, -32.5, 20], np.float32)
        image.attrs["_SPACING"] = np.array([5, 5, 5], np.float32)
        container = old["DataContainers/ImageDataContainer"]
        old.copy(container["CellData"], image, "Cell Data")
        old.copy(container["CellEnsembleData"], image, "Ensemble")
    found = read_grain_map(tmp_path / "n.dream3d")
    assert np.array_equal(found.grains.labels, LABELS)
    assert found.grains.center_mm == pytest.approx((0.01, -0.02, 0.03), abs=1e-8)
    assert misorientation_deg(found.grains.orientations, u, FE.symmetry).max() < 1e-4


@pytest.mark.parametrize("kind", ["binary8", "binary16", "binary16_big", "binary32_big"])
def test_binary_voxels_of_neper(tmp_path, kind):
    dtype = {"binary8": "u1", "binary16": "<u2", "binary16_big": ">u2", "binary32_big": ">i4"}[kind]
    path = tesr(tmp_path / "map.tesr", data=f"{kind}\nHERE")
    path.write_bytes(path.read_bytes().replace(b"HERE", LABELS.astype(dtype).tobytes()))
    assert np.array_equal(read_grain_map(path, material="Fe").grains.labels, LABELS)


def test_orientations_of_voxels_of_neper(tmp_path):
    rows = "\n".join(["0 0 0.1"] * LABELS.size)
    data = "ascii\n" + " ".join(map(str, LABELS.ravel()))
    path = tesr(
        tmp_path / "map.tesr", data=f"{data}\n **oridata\n  rodrigues:passive\n  ascii\n{rows}"
    )
    found = read_grain_map(path, material="Fe").grains.orientations
    assert np.degrees(np.arctan2(found[:, 1, 0], found[:, 0, 0])) == pytest.approx(
        2 * np.degrees(np.arctan(0.1)), abs=1e-4
    )


@pytest.mark.parametrize("version", [1, 2, 3, 5])
def test_versions_of_grainmapper(tmp_path, version):
    path = tmp_path / "map.h5"
    write_grain_map(path, sample([np.eye(3)] * 2))
    more = {"Version": np.array([version], np.int32)}
    if version == 5:
        more |= {
            "AbsorptionCT/Mask": np.ones(LABELS.shape, np.uint8),
            "LabDCT/Labels/Names": [b"sample"],
            "LabDCT/Data/HKL001": np.zeros((*LABELS.shape, 3), np.int16),
            "LabDCT/Data/IPF001": np.zeros((*LABELS.shape, 3), np.uint8),
        }
    assert np.array_equal(read_grain_map(edit_h5(path, more)).grains.labels, LABELS)


# ---- files that are not as they should be


def test_newer_versions_are_said_and_read(tmp_path):
    path = tmp_path / "map.h5"
    write_grain_map(path, sample([np.eye(3)] * 2))
    edit_h5(path, {"Version": np.array([9], np.int32)})
    with pytest.warns(CrystalWarning, match="version 9"):
        read_grain_map(path)
    with pytest.warns(CrystalWarning, match=r"format 3.0 is newer"):
        read_grain_map(tesr(tmp_path / "map.tesr", version="3.0"), material="Fe")
    path = tmp_path / "map.dream3d"
    write_grain_map(path, sample([np.eye(3)] * 2))
    with h5py.File(path, "r+") as file:
        file.attrs["FileVersion"] = np.bytes_("9.1")
    with pytest.warns(CrystalWarning, match=r"9.1 is newer"):
        read_grain_map(path)


CELLS = "DataContainers/ImageDataContainer/CellData/"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({CELLS + "FeatureIds": LABELS.T[..., None]}, "transpose"),
        ({CELLS + "FeatureIds": LABELS[:3, ..., None]}, "must have the shape"),
        ({CELLS + "FeatureIds": np.zeros((*LABELS.shape, 1), np.int32)}, "no grain"),
        ({CELLS + "EulerAngles": everywhere([30, 20, 0])}, "degrees"),
        ({CELLS + "EulerAngles": everywhere([np.nan, 0, 0])}, "no valid orientation"),
        ({"DataContainers/ImageDataContainer/_SIMPL_GEOMETRY/SPACING": [5, 5, 4]}, "cubic"),
        ({"DataContainers/ImageDataContainer/_SIMPL_GEOMETRY/SPACING": [5, 5, -4]}, "larger than"),
    ],
)
def test_bad_dream3d(tmp_path, values, says):
    path = tmp_path / "map.dream3d"
    write_grain_map(path, sample([np.eye(3)] * 2))
    with pytest.raises(ScanError, match=says):
        read_grain_map(edit_h5(path, values))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "ascii\n1 2 1"}, "must be 140 numbers, not 3"),
        ({"data": "binary32\n123"}, "cut off"),
        ({"data": "binary64\n123"}, "not known"),
        ({"general": "2\n 7 5\n 0.005 0.005"}, "3 dimensions"),
        ({"general": "3\n 7 5 4\n 0.005 0.005 0.004"}, "cubic"),
        ({"general": "3\n 70000 50000 4\n 1 1 1"}, "too large"),
        ({"general": "3\n 7 5\n 0.005"}, "must give 3 sizes"),
        ({"cell": "3"}, "must be 9 numbers, not 6"),
        ({"words": "rotmat:active"}, "rotmat"),
        ({"values": "nan 0 0\nnan 0 0"}, "no valid orientation"),
    ],
)
def test_bad_tesr(tmp_path, change, says):
    with pytest.raises(ScanError, match=says):
        read_grain_map(tesr(tmp_path / "map.tesr", **change), material="Fe")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#UBI:\n3 0 0\n0 3 0\n0 0 3\n", "does not say where"),
        ("#translation: 1 2 3\n3 0 0\n0 3 0\n", "not whole"),
        ("#translation: 1 2 3\n3 0 0\n0 3 0\n0 0 -3\n", "left-handed"),
        ("#translation: 1 2\n3 0 0\n0 3 0\n0 0 3\n", "line 1"),
        ("#translation: 1 2 x\n3 0 0\n0 3 0\n0 0 3\n", "line 1"),
        ("#translation: 1 2 nan\n3 0 0\n0 3 0\n0 0 3\n", "not a number"),
        ("", "not whole"),
    ],
)
def test_bad_lists(tmp_path, text, says):
    path = tmp_path / "grains.ubi"
    path.write_text(text)
    with pytest.raises(ScanError, match=says):
        read_grain_map(path, material="Fe")


def test_a_grain_without_an_orientation_is_left_out_and_said(tmp_path):
    path = tesr(tmp_path / "map.tesr", values="0 0 0\nnan 0 0")
    with pytest.warns(CrystalWarning, match="1 grains have no valid orientation"):
        found = read_grain_map(path, material="Fe")
    assert found.grains.n_grains == 1
    assert (found.grains.labels == (LABELS == 1)).all()


@pytest.mark.parametrize("end", ["h5", "dream3d", "tesr", "ubi"])
def test_files_of_another_kind_are_refused_in_one_sentence(tmp_path, end):
    path = tmp_path / f"map.{end}"
    for content in (
        b"",
        b"nonsense\n" * 30,
        b"***tesr\n **general\n",
        b"\x89HDF\r\n\x1a\n" + b"x" * 90,
    ):
        path.write_bytes(content)
        with pytest.raises(LabDCTError) as caught:
            read_grain_map(path, material="Fe")
        assert "\n" not in str(caught.value)


def test_a_phase_without_a_description_needs_a_material(tmp_path):
    with pytest.raises(ScanError, match="--material"):
        read_grain_map(tesr(tmp_path / "map.tesr"))


def test_convert_on_the_command_line(tmp_path, capsys):
    u = random_orientations(2, np.random.default_rng(9))
    write_grain_map(tmp_path / "a.h5", sample(u))
    assert main(["convert", str(tmp_path / "a.h5"), str(tmp_path / "b.tesr")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "b.tesr")
    ask = ["convert", str(tmp_path / "b.tesr"), str(tmp_path / "c.dream3d"), "--material", "Fe"]
    assert main(ask) == 0
    there = (tmp_path / "c.dream3d").read_bytes()
    assert main(ask) == 0  # its own result, found by its content
    assert (tmp_path / "c.dream3d").read_bytes() == there
    (tmp_path / "c.dream3d").write_bytes(b"mine")
    assert main(ask) == 1
    assert "overwrite" in capsys.readouterr().err
    assert (tmp_path / "c.dream3d").read_bytes() == b"mine"
    assert main([*ask, "--overwrite"]) == 0
    found = read_grain_map(tmp_path / "c.dream3d")
    assert misorientation_deg(found.grains.orientations, u, FE.symmetry).max() < 1e-4


def test_what_cannot_be_converted(tmp_path):
    write_grain_map(tmp_path / "a.h5", sample([np.eye(3)] * 2))
    with pytest.raises(OutputError, match=r"\.tesr.*a\.doc does not"):
        convert_grain_map(tmp_path / "a.h5", tmp_path / "a.doc")
    with pytest.raises(OutputError, match="is the file that is read"):
        convert_grain_map(tmp_path / "a.h5", tmp_path / "a.h5", overwrite=True)
    with pytest.raises(ScanError, match="read from"):
        convert_grain_map(tmp_path / "a.csv", tmp_path / "b.h5")
    for end in ("h5", "dream3d", "tesr", "map"):
        with pytest.raises(ScanError, match="No such file"):
            convert_grain_map(tmp_path / f"none.{end}", tmp_path / "b.h5")
        assert not (tmp_path / "b.h5").exists()


def test_a_format_of_another_package(tmp_path):
    mine = GrainFormat("mine", (".mine",), writes=lambda path, measured: [path])
    GRAIN_FORMATS.register("mine", mine)
    try:
        assert write_grain_map(tmp_path / "a.mine", sample([np.eye(3)] * 2)) == [
            tmp_path / "a.mine"
        ]
    finally:
        GRAIN_FORMATS.forget("mine")


def test_what_is_a_grain_map(tmp_path):
    write_grain_map(tmp_path / "a.h5", sample([np.eye(3)] * 2))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["entry"] = 1
    assert is_grain_map(tmp_path / "a.h5")
    assert not is_grain_map(tmp_path / "other.h5")
    assert not is_grain_map(tmp_path / "a.tif")
    assert grain_ends() == [
        ".h5", ".hdf5", ".hdf", ".dream3d", ".tesr", ".ubi", ".map", ".xdmf", ".csv",
    ]  # fmt: skip


def test_the_truth_of_a_simulation_from_a_dream3d(tmp_path):
    from napari_labdct.simulation import Simulation, settings_for

    u = random_orientations(2, np.random.default_rng(10))
    write_grain_map(tmp_path / "a.dream3d", sample(u))
    settings = settings_for(
        {"sample": "grain map", "grain_map": str(tmp_path / "a.dream3d"), "frames": 3}
    )
    made = Simulation(settings)
    assert np.array_equal(made.grains.labels, LABELS)
    assert made.material.name == "Fe"
