from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_labdct.core.errors import SettingsError
from napari_labdct.crystal import (
    MATERIALS,
    Material,
    Site,
    bunge_to_matrix,
    ipf_colour,
    material,
    matrix_to_bunge,
    matrix_to_rodrigues,
    misorientation_deg,
    random_orientations,
    read_cif,
    rodrigues_to_matrix,
)

# Plane spacings and |F|^2 (static; U = 0.01 with the correct exponent) from the International
# Tables' form factors, computed independently.
GOLDEN = {
    ("Al", (1, 1, 1)): (2.338124, 1283.30, 1193.89),
    ("Al", (2, 0, 0)): (2.024875, 1158.53, 1052.18),
    ("Al", (2, 2, 0)): (1.431803, 856.62, 706.57),
    ("Al", (3, 1, 1)): (1.221046, 709.26, 544.27),
    ("Fe", (1, 1, 0)): (2.026922, 1364.91, 1239.86),
    ("Fe", (2, 0, 0)): (1.433250, 931.66, 768.76),
    ("Fe", (2, 1, 1)): (1.170244, 690.81, 517.80),
    ("Fe", (2, 2, 0)): (1.013461, 542.13, 369.12),
    ("Fe", (3, 1, 0)): (0.906467, 443.97, 274.60),
}


@pytest.mark.parametrize(("key", "expected"), GOLDEN.items())
def test_plane_spacings_and_structure_factors(key, expected):
    name, hkl = key
    crystal = material(name)
    d, static, damped = expected
    assert crystal.d_angstrom(hkl) == pytest.approx(d, abs=2e-6)
    f2 = crystal.with_u_iso(0.0).structure_factor_squared(hkl)
    assert f2[0] == pytest.approx(static, rel=1e-3)
    f2 = crystal.with_u_iso(0.01).structure_factor_squared(hkl)
    assert f2[0] == pytest.approx(damped, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "hkl", "angles"),
    [
        ("Al", (1, 1, 1), [7.6178, 5.0702, 3.8005, 3.0396, 2.5621, 1.8992]),
        ("Al", (2, 0, 0), [8.8049, 5.8571, 4.3895, 3.5103, 2.9588, 2.1931]),
        ("Al", (2, 2, 0), [12.5021, 8.2977, 6.2137, 4.9675, 4.1862, 3.1023]),
        ("Al", (3, 1, 1), [14.7049, 9.7429, 7.2916, 5.8276, 4.9104, 3.6384]),
        ("Fe", (1, 1, 0), [8.7960, 5.8511, 4.3850, 3.5068, 2.9558, 2.1909]),
        ("Fe", (2, 0, 0), [12.4893, 8.2893, 6.2074, 4.9624, 4.1820, 3.0992]),
        ("Fe", (2, 1, 1), [15.3586, 10.1702, 7.6100, 6.0815, 5.1241, 3.7966]),
    ],
)
def test_bragg_angles(name, hkl, angles):
    energy_kev = np.array([20, 30, 40, 50, 59.31, 80])
    found = material(name).bragg_angle_deg(hkl, energy_kev)
    np.testing.assert_allclose(found, angles, atol=1e-3)


def test_no_bragg_angle_beyond_twice_the_plane_spacing():
    assert np.isnan(material("Al").bragg_angle_deg((1, 1, 1), 2.0))


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("Al", {"{111}": 8, "{200}": 6, "{220}": 12, "{311}": 24}),
        ("Fe", {"{110}": 12, "{200}": 6, "{211}": 24, "{220}": 12}),
        ("Si", {"{111}": 8, "{220}": 12, "{311}": 24, "{400}": 6}),
        ("Ti", {"{100}": 6, "{002}": 2, "{101}": 12, "{102}": 12}),
    ],
)
def test_first_families(name, families):
    found = material(name).reflections(4)
    assert dict(zip(found.names, np.bincount(found.family), strict=True)) == families
    assert len(np.unique(found.hkl, axis=0)) == len(found.hkl)
    assert (np.diff(found.d_angstrom) < 1e-9).all()


def test_both_signs_of_110_reflect_in_iron():
    hkl = material("Fe").reflections(1).hkl.tolist()
    assert [1, 1, 0] in hkl
    assert [-1, -1, 0] in hkl


@pytest.mark.parametrize(
    ("name", "density"),
    [("Al", 2.70), ("Fe", 7.87), ("Ni", 8.91), ("Cu", 8.94), ("Ti", 4.50), ("Si", 2.329)],
)
def test_densities(name, density):
    assert material(name).density_g_cm3 == pytest.approx(density, rel=2e-3)


def test_debye_waller_factors_are_those_of_each_element():
    u = {name: material(name).sites[0].u_iso for name in MATERIALS}
    assert u["Fe"] == pytest.approx(0.0039, abs=1e-4)
    assert u["Al"] == pytest.approx(0.0094, abs=1e-4)
    assert len(set(u.values())) == len(MATERIALS)


def test_attenuation_of_aluminium():
    # 1.128 cm^2/g at 30 keV (NIST), 2.70 g/cm^3.
    assert material("Al").attenuation_per_mm(30.0) == pytest.approx(0.3046, rel=2e-3)
    assert material("Al").attenuation_per_mm([20.0, 80.0]).shape == (2,)


@pytest.mark.parametrize(("name", "count"), [("Al", 24), ("Fe", 24), ("Si", 24), ("Ti", 12)])
def test_symmetry_is_a_group_of_rotations(name, count):
    symmetry = material(name).symmetry
    assert len(symmetry) == count
    np.testing.assert_allclose(np.linalg.det(symmetry), 1)
    products = np.einsum("aij,bjk->abik", symmetry, symmetry).reshape(-1, 1, 9)
    distance = np.abs(products - symmetry.reshape(1, -1, 9)).max(axis=2).min(axis=1)
    assert distance.max() < 1e-9


def test_hexagonal_lattice_and_reciprocal_lattice():
    crystal = material("Ti")
    np.testing.assert_allclose(
        crystal.b_matrix.T @ crystal.lattice, 2 * np.pi * np.eye(3), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.norm(crystal.lattice, axis=0), crystal.cell[:3])


# ------------------------------------------------------------------------------ orientations

degrees = st.floats(-360, 360)


def test_bunge_golden():
    expected = [
        [0.231901, -0.953928, 0.190379],
        [0.785236, 0.068065, -0.615445],
        [0.574132, 0.292215, 0.764842],
    ]
    found = bunge_to_matrix(*np.degrees([0.3, 0.7, 1.1]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(degrees, st.floats(0, 180), degrees)
def test_bunge_and_rodrigues_round_trips(phi1, phi, phi2):
    u = bunge_to_matrix(phi1, phi, phi2)
    np.testing.assert_allclose(bunge_to_matrix(*matrix_to_bunge(u)), u, atol=1e-6)
    if np.trace(u) > -0.99:
        np.testing.assert_allclose(rodrigues_to_matrix(matrix_to_rodrigues(u)), u, atol=1e-6)


def test_random_orientations_are_uniform():
    u = random_orientations(20000, np.random.default_rng(1))
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=0.02)
    # For uniform rotations the angle w has density (1 - cos w) / pi.
    angle = np.arccos(np.clip((np.trace(u, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.01)


@given(st.integers(0, 23), st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_symmetry_changes_neither_misorientation_nor_colour(index, seed):
    symmetry = material("Al").symmetry
    a, b = random_orientations(2, np.random.default_rng(seed))
    assert misorientation_deg(a, a @ symmetry[index], symmetry) < 1e-4
    expected = misorientation_deg(a, b, symmetry)
    assert misorientation_deg(a @ symmetry[index], b, symmetry) == pytest.approx(expected)
    assert expected <= 62.8
    np.testing.assert_allclose(
        ipf_colour(a @ symmetry[index], symmetry), ipf_colour(a, symmetry), atol=1e-6
    )


def test_misorientation_of_a_twin():
    twin = rodrigues_to_matrix(np.array([1, 1, 1]) / np.sqrt(3) * np.tan(np.radians(30)))
    assert misorientation_deg(np.eye(3), twin, material("Cu").symmetry) == pytest.approx(60)


def test_ipf_colours_of_cubic_crystals():
    u = np.array([bunge_to_matrix(0, 0, 0), bunge_to_matrix(10, 20, 30)])
    found = ipf_colour(u, material("Al").symmetry)
    np.testing.assert_allclose(found, [[1, 0, 0], [1, 0.4658, 0.5948]], atol=3e-3)
    edge = ipf_colour(bunge_to_matrix(45, 54.7356, 0), material("Al").symmetry)
    np.testing.assert_allclose(edge, [0.4491, 1, 0], atol=3e-3)


@pytest.mark.parametrize(
    ("name", "hkl", "colour"),
    [
        ("Al", (0, 0, 1), (1, 0, 0)),
        ("Al", (1, 0, 1), (0, 1, 0)),
        ("Al", (1, 1, 1), (0, 0, 1)),
        ("Ti", (0, 0, 1), (1, 0, 0)),
        ("Ti", (1, 0, 0), (0, 0, 1)),  # plane normal (10-10)
        ("Ti", (1, 1, 0), (0, 1, 0)),  # plane normal (11-20), parallel to a
    ],
)
def test_ipf_corners(name, hkl, colour):
    crystal = material(name)
    normal = crystal.b_matrix @ hkl
    found = ipf_colour(np.eye(3), crystal.symmetry, normal)
    np.testing.assert_allclose(found, colour, atol=1e-3)


# ------------------------------------------------------------------------------ CIF, refusals

CIF = """data_Al
_cell_length_a 4.04975
_cell_length_b 4.04975
_cell_length_c 4.04975
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_U_iso_or_equiv
_atom_site_occupancy
Al1 Al 0 0 0 0.01 1
"""


def test_a_cif_gives_the_same_crystal(tmp_path):
    path = tmp_path / "mine.cif"
    path.write_text(CIF)
    found = material(str(path))
    known = material("Al").with_u_iso(0.01)
    assert found.name == "mine"
    np.testing.assert_allclose(found.reflections().f2, known.reflections().f2)
    assert found.density_g_cm3 == pytest.approx(known.density_g_cm3)


def test_a_cif_without_displacements_gets_the_elements_own(tmp_path):
    path = tmp_path / "mine.cif"
    path.write_text(CIF.replace("_atom_site_U_iso_or_equiv\n", "").replace("0 0.01 1", "0 1"))
    assert read_cif(path).sites[0].u_iso == pytest.approx(material("Al").sites[0].u_iso)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("_cell_length_a 4.04975\n", ""), "no unit cell"),
        (("'F m -3 m'", "'Q m 7'"), "space group"),
        (("Al1 Al 0 0 0", "Xx1 Xx 0 0 0"), "element"),
        (("Al1 Al 0 0 0 0.01 1\n", "Al1 Al 0 0\n"), "cannot be read as a CIF"),
    ],
)
def test_unusable_cif_files_are_refused(tmp_path, change, says):
    path = tmp_path / "bad.cif"
    path.write_text(CIF.replace(*change))
    with pytest.raises(SettingsError, match=says):
        read_cif(path)


def test_unknown_materials_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'Unobtainium' is not known; use Al, Fe"):
        material("Unobtainium")
    with pytest.raises(SettingsError, match="cannot be read"):
        material(str(tmp_path / "none.cif"))
    with pytest.raises(SettingsError, match="lists no atoms"):
        Material("empty", (4, 4, 4, 90, 90, 90), "F m -3 m", ())
    with pytest.raises(SettingsError, match="cannot exist"):
        Material("flat", (4, 4, 4, 90, 30, 150), "P 1", (Site("Al", (0, 0, 0)),))
    with pytest.raises(SettingsError, match="1 or more"):
        material("Al").reflections(0)
