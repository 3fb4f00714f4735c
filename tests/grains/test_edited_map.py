"""A map is corrected: what each step changes, that it can be taken back, and that it is kept."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.core.errors import OutputError, ScanError, SettingsError
from napari_labdct.crystal import misorientation_deg
from napari_labdct.crystal.orientation import quaternions_to_matrices
from napari_labdct.grains.edited_map import EditedMap, measured_map, write_edited
from napari_labdct.grains.opened_map import open_map
from napari_labdct.grains.results import write_result
from napari_labdct.grains.seeding import Seeded, seed_at


@pytest.fixture(scope="module")
def opened(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "grains.h5"
    write_result(path, small.result)
    return open_map(path)


def test_an_opened_map_has_the_table_of_the_run(opened, small):
    np.testing.assert_array_equal(opened.table, small.result.table)
    np.testing.assert_array_equal(opened.grains.labels, small.result.grains.labels)
    assert opened.material.name == "Fe"
    assert opened.recipe["job"] == "grains"


def test_a_map_of_another_program_tells_what_it_can(opened, tmp_path):
    from napari_labdct.io.grain_map_files import write_grain_map

    path = tmp_path / "grains.dream3d"
    write_grain_map(path, measured_map(EditedMap(opened)))
    other = open_map(path)
    np.testing.assert_allclose(other.table["x_um"], opened.table["x_um"], atol=0.1)
    np.testing.assert_allclose(other.table["diameter_um"], opened.table["diameter_um"], rtol=1e-5)
    assert np.isnan(other.table["probability"]).all()


def test_delete_merge_and_lock_can_be_taken_back(opened):
    edited = EditedMap(opened)
    before = edited.labels.copy()
    voxels = np.bincount(before.ravel())
    edited.delete([2])
    assert not (edited.labels == 2).any()
    assert 2 not in edited.numbers
    assert edited.undo_name == "delete grain 2"
    first, second = 3, 4
    u = edited.orientations.copy()
    u[second - 1] = u[first - 1]
    edited.orientations = u
    edited.merge([first, second])
    kept = first if voxels[first] >= voxels[second] else second
    assert (edited.labels == kept).sum() == voxels[first] + voxels[second]
    assert edited.table["voxels"][kept - 1] == voxels[first] + voxels[second]
    edited.lock([1])
    with pytest.raises(SettingsError, match="is locked"):
        edited.delete([1])
    for _ in range(3):
        edited.undo()
    np.testing.assert_array_equal(edited.labels, before)
    assert not edited.locked.any()
    assert not edited.gone.any()
    assert edited.undo() is None
    edited.redo()
    assert not (edited.labels == 2).any()


def test_grains_that_are_not_one_crystal_stay_two(opened):
    edited = EditedMap(opened)
    apart = [
        float(misorientation_deg(edited.orientations[0], u, opened.material.symmetry))
        for u in edited.orientations
    ]
    far = int(np.argmax(apart)) + 1
    with pytest.raises(SettingsError, match="not one crystal"):
        edited.merge([1, far])
    with pytest.raises(SettingsError, match="two grains"):
        edited.merge([1])
    with pytest.raises(SettingsError, match="all grains"):
        edited.delete(edited.numbers)
    assert edited.undo_name == ""


def test_neighbours_touch(opened):
    edited = EditedMap(opened)
    grown = np.pad(edited.labels, 1)
    own = edited.labels == 1
    beside = set()
    for axis in range(3):
        for side in (-1, 1):
            inner = np.roll(grown, side, axis)[1:-1, 1:-1, 1:-1]
            beside |= set(np.unique(inner[own]).tolist())
    assert edited.neighbours[0] == len(beside - {0, 1})


def test_corrections_are_kept_and_a_cut_line_is_left_out(opened, tmp_path):
    path = tmp_path / "map.grains.jsonl"
    edited = EditedMap(opened, path)
    edited.delete([2])
    edited.lock([1])
    edited.delete([3])
    edited.undo()
    again = EditedMap(opened, path)
    np.testing.assert_array_equal(again.labels, edited.labels)
    assert again.locked[0]
    assert again.redo_name == "delete grain 3"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    cut = EditedMap(opened, path)
    assert "damaged" in cut.note
    assert cut.gone[2]  # the undo was the line that was cut
    assert EditedMap(opened, path).note == ""
    path.write_bytes(whole.replace(opened.key.encode(), b"0" * 16))
    with pytest.raises(OutputError, match="another map"):
        EditedMap(opened, path)
    path.write_bytes(b"something else\n")
    with pytest.raises(OutputError, match="no corrections"):
        EditedMap(opened, path)


def test_two_windows_do_not_write_into_one_journal(opened, tmp_path):
    path = tmp_path / "map.grains.jsonl"
    one, two = EditedMap(opened, path), EditedMap(opened, path)
    one.delete([1])
    with pytest.raises(OutputError, match="another window"):
        two.delete([2])
    assert not two.gone.any()


def test_a_deleted_grain_comes_back_by_seeding_where_it_was(opened, small, tmp_path):
    path = tmp_path / "map.grains.jsonl"
    edited = EditedMap(opened, path)
    number = int(edited.table["diameter_um"].argmax()) + 1
    point, u = edited.center_mm(number), edited.orientations[number - 1]
    voxels = int(edited.table["voxels"][number - 1])
    with pytest.raises(ScanError, match="again"):
        list(seed_at(small.job.images, small.job.planes, small.material, edited, point))
    edited.delete([number])
    *_, seeded = seed_at(small.job.images, small.job.planes, small.material, edited, point)
    assert isinstance(seeded, Seeded)
    assert misorientation_deg(seeded.orientation, u, small.material.symmetry) < 0.1
    edited.add(seeded.row, seeded.orientation, seeded.voxels)
    new = len(edited.table)
    assert (edited.labels == new).sum() == edited.table["voxels"][new - 1]
    assert 0.8 * voxels < edited.table["voxels"][new - 1] < 1.5 * voxels
    again = EditedMap(opened, path)
    np.testing.assert_array_equal(again.labels, edited.labels)
    np.testing.assert_allclose(again.orientations, edited.orientations)
    edited.undo()
    assert edited.gone[new - 1]
    edited.redo()
    assert not edited.gone[new - 1]


def test_a_corrected_map_is_written_and_opened_again(opened, tmp_path):
    edited = EditedMap(opened)
    edited.delete([2])
    path = tmp_path / "corrected.h5"
    assert write_edited(path, edited) == [path, tmp_path / "corrected.csv"]
    again = open_map(path)
    assert again.grains.n_grains == opened.grains.n_grains - 1
    np.testing.assert_array_equal(again.table["grain"], np.delete(opened.table["grain"], 1))
    assert again.recipe["corrections"] == 1
    inside = again.grains.labels > 0
    # near half a turn an equivalent orientation is written, so not the numbers are compared
    turned = (quaternions_to_matrices(m.rotations[inside].astype(float)) for m in (again, opened))
    assert misorientation_deg(*turned, opened.material.symmetry).max() < 0.01


def test_what_is_no_map_is_refused(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ScanError, match="no list of grains"):
        open_map(path)
