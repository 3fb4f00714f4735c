"""The numbers of table 2 and of eq. 4 on maps whose differences are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.crystal import material
from napari_labdct.crystal.grain_map import GrainMap
from napari_labdct.grains import boundary_deviation_um, compare_maps
from napari_labdct.scan.geometry import rotation_z

SYMMETRY = material("Fe").symmetry
TURNS = np.array([rotation_z(a) for a in (0, 10, 20, 30)])


def quarters() -> np.ndarray:
    labels = np.zeros((8, 8, 8), np.int32)
    labels[:, :4, :4], labels[:, :4, 4:], labels[:, 4:, :4], labels[:, 4:, 4:] = 1, 2, 3, 4
    return labels


def test_a_map_agrees_with_itself():
    grains = GrainMap(quarters(), 2.0, TURNS)
    same = compare_maps(grains, grains, SYMMETRY)
    assert len(same.one_to_one) == 4
    assert same.voxels_right == 1
    assert (same.boundary_um == 0).all()
    assert same.misorientation_deg.max() < 1e-5


def test_the_four_classes():
    labels = quarters()
    other = labels.copy()
    other[:4, :4, :4] = 5  # grain 1 in two pieces
    other[labels == 3] = 0  # grain 3 is missed
    other[labels == 4] = 3  # grain 4 has the wrong orientation
    turns = np.array([*TURNS[:2], rotation_z(40), rotation_z(44), rotation_z(0.5)])
    found = compare_maps(GrainMap(labels, 2.0, TURNS), GrainMap(other, 2.0, turns), SYMMETRY)
    assert found.one_to_one.tolist() == [[1, 1]]
    assert found.one_to_several == {0: [0, 4]}
    assert found.false_negative.tolist() == [2, 3]
    assert found.false_positive.tolist() == [2]
    assert found.voxels_right == 0.5


def test_maps_of_other_voxels_are_compared_where_they_lie():
    labels = quarters()
    fine = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    found = compare_maps(GrainMap(labels, 4.0, TURNS), GrainMap(fine, 2.0, TURNS), SYMMETRY)
    assert found.voxels_right == 1


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_moved_plate_has_boundaries_as_far_off(shift):
    first, second = np.zeros((2, 60, 60, 12), bool)
    first[:, :, 3] = True
    second[:, :, 3 + shift] = True
    assert boundary_deviation_um(first, second, 2.5) == pytest.approx(2.5 * shift)
