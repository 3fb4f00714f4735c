"""Maps that lie elsewhere are laid over one another; the report says what is known of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from napari_labdct.cli import main
from napari_labdct.core.errors import LabDCTError, OutputError, SettingsError
from napari_labdct.core.rotations import rotation_x, rotation_z
from napari_labdct.crystal import CrystalWarning, GrainMap, material, misorientation_deg
from napari_labdct.grains import compare_maps
from napari_labdct.grains.map_comparison import boundary_deviation_um
from napari_labdct.grains.map_registration import NOTHING, register_maps
from napari_labdct.grains.map_report import compare_files
from napari_labdct.io.grainmapper_writer import write_grainmapper
from napari_labdct.simulation.sample import box_mask, make_sample

FE, TI = material("Fe"), material("Ti")


@pytest.fixture(scope="module")
def truth():
    """Forty grains in a box of 24 x 20 x 16 voxels."""
    return make_sample(box_mask((120, 100, 80), 5.0), 5.0, grains=40, seed=2)


def moved(grains, **change):
    given = {
        "labels": grains.labels, "voxel_um": grains.voxel_um,
        "orientations": grains.orientations, "center_mm": grains.center_mm,
    } | change  # fmt: skip
    return GrainMap(**given)


def laid_over(truth, other, symmetry=FE.symmetry):
    found = register_maps(truth, other, symmetry)
    return found, compare_maps(truth, other, symmetry, registration=found)


# ---- registration


def test_maps_in_one_frame_stay(truth):
    found, result = laid_over(truth, truth)
    assert np.array_equal(found.matrix, np.eye(3))
    assert not found.convention
    assert result.voxels_right == 1
    assert result.overlap == 1
    assert result.table2()["one_to_one"] == truth.n_grains


def test_a_shift_is_found(truth):
    other = moved(truth, center_mm=(0.031, -0.012, 0.2))
    found, result = laid_over(truth, other)
    assert found.translation_mm == pytest.approx([-0.031, 0.012, -0.2], abs=1e-6)
    assert result.voxels_right > 0.999
    as_it_lies = compare_maps(truth, moved(truth, center_mm=(0.031, 0, 0)), FE.symmetry)
    assert as_it_lies.voxels_right < 0.8


def test_a_quarter_turn_of_the_sample_is_found(truth):
    # z stays, the new x is the old -y: the volume (z, y, x) turned with the crystals
    turn = rotation_z(90)
    other = moved(
        truth,
        labels=np.flip(truth.labels.transpose(0, 2, 1), axis=2),
        orientations=turn @ truth.orientations,
    )
    found, result = laid_over(truth, other)
    assert np.abs(found.matrix - turn.T).max() < 1e-4
    assert result.voxels_right > 0.999
    assert result.misorientation_deg.max() < 1e-3


def test_a_small_turn_is_found(truth):
    turn = rotation_z(7) @ rotation_x(3)
    # each voxel of the turned map asks where it came from
    edge = 30
    line = (np.arange(edge) - (edge - 1) / 2) * 5e-3
    at = np.stack(np.meshgrid(line, line, line, indexing="ij")[::-1], axis=-1) @ turn
    index = np.round(at / 5e-3 + (np.array(truth.labels.shape[::-1]) - 1) / 2).astype(int)
    inside = ((index >= 0) & (index < truth.labels.shape[::-1])).all(axis=-1)
    labels = np.zeros((edge,) * 3, np.int32)
    i, j, k = index[inside].T
    labels[inside] = truth.labels[k, j, i]
    other = GrainMap(labels, 5.0, turn @ truth.orientations)
    found, result = laid_over(truth, other)
    assert np.abs(found.turn - turn.T).max() < 1e-5
    assert np.abs(found.translation_mm).max() < 1e-3
    assert result.voxels_right > 0.8  # looked up twice, half a voxel is lost at boundaries
    assert found.angle_deg == pytest.approx(
        np.degrees(np.arccos((np.trace(turn) - 1) / 2)), abs=1e-3
    )


def test_inverse_orientations_are_found_and_said(truth):
    other = moved(truth, orientations=np.swapaxes(truth.orientations, 1, 2))
    found, result = laid_over(truth, other)
    assert "inverse" in found.convention
    assert "inverse" in " ".join(found.words())
    assert result.voxels_right == 1
    assert result.misorientation_deg.max() < 1e-3


def test_a_mirrored_map_is_found_and_said(truth):
    mirror = np.diag([1.0, -1, 1])
    other = moved(
        truth, labels=truth.labels[:, ::-1], orientations=mirror @ truth.orientations @ mirror
    )
    found, result = laid_over(truth, other)
    assert "mirrored" in found.convention
    assert result.voxels_right == 1


def test_another_order_of_axes_is_found_and_said(truth):
    other = moved(truth, labels=truth.labels.transpose(2, 1, 0))
    found, result = laid_over(truth, other)
    assert "x, y, z are its z, y, x" in " ".join(found.words())
    assert result.voxels_right == 1


def test_the_other_axes_of_hexagonal_crystals_are_found_and_said(truth):
    other = moved(truth, orientations=truth.orientations @ rotation_z(30))
    found, result = laid_over(truth, other, TI.symmetry)
    assert "a instead of a*" in found.convention
    assert result.misorientation_deg.max() < 1e-3


def test_maps_of_different_samples_are_refused(truth):
    other = make_sample(box_mask((120, 100, 80), 5.0), 5.0, grains=40, seed=77)
    with pytest.raises(SettingsError, match="too few grains in common"):
        register_maps(truth, other, FE.symmetry)


def test_orientations_are_turned_into_the_reference(truth):
    found, _ = laid_over(truth, moved(truth, orientations=rotation_x(40) @ truth.orientations))
    turned = found.orientations(rotation_x(40) @ truth.orientations)
    assert misorientation_deg(turned, truth.orientations, FE.symmetry).max() < 1e-3
    assert "positions are not those" in " ".join(found.words())


# ---- classes and eq. 4


def test_sums_of_table_2(truth):
    labels = truth.labels.copy()
    labels[labels == 3] = 0
    half = (labels == 5) & (np.indices(labels.shape)[0] % 2 == 0)
    labels[half] = truth.n_grains + 1
    wrong = truth.orientations.copy()
    wrong[7] = rotation_x(20) @ wrong[7]
    other = GrainMap(labels, 5.0, np.concatenate([wrong, truth.orientations[4:5]]))
    numbers = compare_maps(truth, other, FE.symmetry).table2()
    assert numbers == {
        "grains": truth.n_grains,
        "map_grains": truth.n_grains,
        "one_to_one": truth.n_grains - 3,
        "one_to_several": 1,
        "several_of_map": 2,
        "false_negative": 2,
        "false_positive": 1,
    }
    assert numbers["grains"] == sum(
        numbers[k] for k in ("one_to_one", "one_to_several", "false_negative")
    )
    assert numbers["map_grains"] == sum(
        numbers[k] for k in ("one_to_one", "several_of_map", "false_positive")
    )


def test_eq_4_of_a_shifted_cube():
    """Two faces move onto the faces of the partner by themselves; all is counted by hand."""
    first = np.zeros((14, 14, 14), bool)
    first[3:9, 3:9, 3:9] = True
    second = np.roll(first, 1, axis=2)
    # Of the 6^3 - 4^3 = 152 boundary voxels those of the trailing face (36, at x = 3) are one
    # voxel off, and so are the 16 inner ones of the leading face (x = 8); the others lie on the
    # partner's.
    assert boundary_deviation_um(first, second, 2.0) == pytest.approx(2.0 * (36 + 16) / 152)
    grains = [GrainMap(m.astype(np.int32), 2.0, np.eye(3)[None]) for m in (first, second)]
    result = compare_maps(*grains, FE.symmetry)
    assert result.boundary_um == pytest.approx([2.0 * 52 / 152])
    assert result.boundary_of_volume_um == pytest.approx(2.0 * 52 / 152)
    assert np.isfinite(result.epsilon_um).sum() == 152
    assert (result.epsilon_um > 0).sum() == 52


def test_eq_4_of_a_dilated_sphere():
    at = np.indices((41, 41, 41)) - 20
    r = np.sqrt((at**2).sum(axis=0))
    first, second = r <= 12, r <= 15
    assert boundary_deviation_um(first, second, 5.0) == pytest.approx(15.0, abs=1.5)


# ---- the report


@pytest.fixture
def files(tmp_path, truth):
    def save(name, grains, crystal=FE):
        return str(write_grainmapper(tmp_path / name, grains, crystal))

    labels = truth.labels.copy()
    labels[labels == 1] = 0
    worse = np.roll(labels, 1, axis=2)
    worse[worse == 2] = 0
    return (
        save("ref.h5", truth),
        save("one.h5", moved(truth, labels=labels)),
        save("two.h5", moved(truth, labels=worse)),
        save,
    )


def test_a_report_of_two_maps(tmp_path, files, capsys, truth):
    ask = ["compare-maps", *files[:3], "-o", str(tmp_path / "report"), "--as-they-lie"]
    assert main(ask) == 0
    said = capsys.readouterr().out
    assert f"one.h5: {truth.n_grains - 1} one to one" in said
    folder = tmp_path / "report"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<tr><td>false negative</td><td>1</td><td>2</td></tr>" in page
    assert page.count("<img") == 5
    assert "http" not in page.replace("http-equiv", "")
    assert len(list(folder.glob("*.png"))) == 5
    with open(folder / "grains.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == truth.n_grains
    assert rows[0]["class_1"] == rows[0]["class_2"] == "false negative"
    assert rows[1]["class_1"] == "one to one"
    assert rows[1]["class_2"] == "false negative"
    assert float(rows[1]["boundary_um_1"]) == 0
    assert float(rows[5]["boundary_um_2"]) > 0
    with open(folder / "summary.csv", newline="") as file:
        summary = {row[0]: row[1:] for row in csv.reader(file)}
    assert summary["common_grains"] == [str(truth.n_grains - 2)]
    assert float(summary["distance_median_um"][1]) > 3
    with open(folder / "detection.csv", newline="") as file:
        sizes = list(csv.DictReader(file))
    assert sum(int(row["grains"]) for row in sizes) == truth.n_grains
    assert sum(int(row["found_2"]) for row in sizes) == truth.n_grains - 2
    assert main(ask) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*ask, "--overwrite"]) == 0


def test_ratios_are_those_of_common_grains(tmp_path, files):
    *_, report = compare_files(files[0], [files[2], files[2]], tmp_path / "r", register=False)
    assert report.ratios() == pytest.approx(np.ones(len(report.common())))


def test_phases_that_differ_are_refused(tmp_path, files, truth):
    other = files[3]("ti.h5", truth, TI)
    with pytest.raises(SettingsError, match=r"ref\.h5 is of Fe .* ti\.h5 of Ti"):
        list(compare_files(files[0], [other], tmp_path / "r"))
    nickel = files[3]("ni.h5", truth, material("Ni"))
    with pytest.warns(CrystalWarning, match="Fe.*Ni"):
        list(compare_files(files[0], [nickel], tmp_path / "r"))


def test_maps_without_overlap_are_refused(truth):
    other = moved(truth, center_mm=(5.0, 0, 0))
    with pytest.raises(SettingsError, match="do not overlap"):
        compare_maps(truth, other, FE.symmetry, registration=NOTHING)


def test_a_smaller_map_is_said(tmp_path, files, truth):
    half = files[3]("half.h5", moved(truth, labels=truth.labels[8:], center_mm=(0, 0, 0.02)))
    with pytest.warns(CrystalWarning, match="50% of the voxels"):
        *_, report = compare_files(files[0], [half], tmp_path / "r")
    assert report.results[0].overlap == pytest.approx(0.5)
    assert report.results[0].voxels_right == pytest.approx(0.5)


def test_what_cannot_be_compared(tmp_path, files):
    (tmp_path / "bad.h5").write_bytes(b"no map")
    for maps in ([str(tmp_path / "bad.h5")], [str(tmp_path / "none.h5")]):
        with pytest.raises(LabDCTError):
            list(compare_files(files[0], maps, tmp_path / "r"))
    assert not (tmp_path / "r" / "report.html").exists()
    with pytest.raises(SettingsError, match="within_deg"):
        list(compare_files(files[0], files[1:2], tmp_path / "r", within_deg=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        list(compare_files(files[0], files[1:2], tmp_path / "file"))
    assert main(["compare-maps", *files[:3], files[1], "-o", str(tmp_path / "r")]) == 1
