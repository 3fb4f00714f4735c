from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.crystal import (
    Material,
    Site,
    material,
    matrices_to_quaternions,
    mean_orientation,
    misorientation_deg,
    multiply_quaternions,
    nearest_equivalents,
    quaternions_to_matrices,
    random_orientations,
    rodrigues_to_matrix,
)


def crystal(cell, group):
    return Material("x", cell, group, (Site("Fe", (0.0, 0.0, 0.0)),))


TETRAGONAL = crystal((3.0, 3.0, 4.0, 90, 90, 90), "I 4/m m m")
ORTHORHOMBIC = crystal((3.0, 4.0, 5.0, 90, 90, 90), "P m m m")


@pytest.mark.parametrize(
    ("phase", "largest"),
    [
        (material("Al"), 62.80),
        (material("Ti"), 93.84),
        (TETRAGONAL, 98.42),
        (ORTHORHOMBIC, 120.0),
    ],
)
def test_largest_disorientation_of_a_laue_class(phase, largest):
    rng = np.random.default_rng(4)
    q = matrices_to_quaternions(random_orientations(200_000, rng))
    # Steps uphill from the largest of many random ones reach the corner of the zone.
    best = q[nearest_equivalents(q, np.array([1.0, 0, 0, 0]), phase.symmetry)[1].argmax()]
    for scale in 0.5 ** np.arange(2, 14):
        near = np.concatenate([best[None], best + scale * 0.3 * rng.normal(size=(500, 4))])
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        angle = nearest_equivalents(near, np.array([1.0, 0, 0, 0]), phase.symmetry)[1]
        best = near[angle.argmax()]
    assert angle.max() == pytest.approx(largest, abs=0.05)


def test_quaternions_and_matrices_agree():
    a, b = random_orientations(400, np.random.default_rng(0)).reshape(2, 200, 3, 3)
    half_turns = np.array([np.diag(d) for d in ([1.0, -1, -1], [-1, 1, -1], [-1, -1, 1])])
    u = np.concatenate([a, half_turns])
    np.testing.assert_allclose(quaternions_to_matrices(matrices_to_quaternions(u)), u, atol=1e-12)
    product = multiply_quaternions(matrices_to_quaternions(a), matrices_to_quaternions(b))
    np.testing.assert_allclose(quaternions_to_matrices(product), a @ b, atol=1e-12)


@pytest.mark.parametrize("phase", [material("Fe"), material("Ti"), ORTHORHOMBIC])
def test_disorientation_is_the_misorientation(phase):
    a, b = random_orientations(400, np.random.default_rng(1)).reshape(2, 200, 3, 3)
    near, angle = nearest_equivalents(
        matrices_to_quaternions(a), matrices_to_quaternions(b), phase.symmetry
    )
    np.testing.assert_allclose(angle, misorientation_deg(a, b, phase.symmetry), atol=1e-5)
    assert misorientation_deg(quaternions_to_matrices(near), a, phase.symmetry).max() < 1e-4


def scattered(centre, phase, count, sigma_deg, rng):
    """Orientations about one, each written as any of its equivalents."""
    turns = rodrigues_to_matrix(np.radians(sigma_deg) / 2 * rng.normal(size=(count, 3)))
    return turns @ centre @ phase.symmetry[rng.integers(len(phase.symmetry), size=count)]


@pytest.mark.parametrize("phase", [material("Cu"), material("Ti"), TETRAGONAL])
def test_mean_of_equivalents_with_wrong_voxels(phase):
    rng = np.random.default_rng(7)
    centre = random_orientations(1, rng)[0]
    voxels = scattered(centre, phase, 400, 0.5, rng)
    voxels[::4] = random_orientations(100, rng)
    voxels[1::40] = np.nan
    mean, spread = mean_orientation(voxels, phase.symmetry)
    # The mean of 300 rotations of 0.5 degrees an axis is known to 0.5 sqrt(3 / 300) degrees.
    assert misorientation_deg(mean, centre, phase.symmetry) < 3 * 0.5 * np.sqrt(3 / 300)
    assert spread > 5


def test_spread_is_the_mean_angle_of_the_scatter():
    rng = np.random.default_rng(8)
    phase = material("Al")
    voxels = scattered(np.eye(3), phase, 4000, 1.0, rng)
    # The length of a vector of three normal components of 1 degree has the mean sqrt(8 / pi).
    spread = mean_orientation(voxels, phase.symmetry)[1]
    assert spread == pytest.approx(np.sqrt(8 / np.pi), rel=0.03)


def test_nothing_valid_has_no_mean():
    mean, spread = mean_orientation(np.full((3, 3, 3), np.nan), material("Al").symmetry)
    assert np.isnan(mean).all()
    assert np.isnan(spread)
