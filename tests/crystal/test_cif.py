from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_labdct.core.errors import SettingsError
from napari_labdct.crystal import CrystalWarning, material, phase, read_cif

CUBIC = (90, 90, 90)


@pytest.fixture
def cif(tmp_path):
    """Write a CIF of a cell, entries about the group, and rows of atoms."""

    def write(cell, entries, atoms, columns=(), encoding="utf-8"):
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        lines = ["data_x", *(f"_cell_{n} {v}" for n, v in zip(names, cell, strict=True)), entries]
        tags = ("label", "fract_x", "fract_y", "fract_z", *columns)
        lines += ["loop_", *(f"_atom_site_{tag}" for tag in tags), atoms, ""]
        path = tmp_path / "x.cif"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write


def named(symbol):
    return f"_symmetry_space_group_name_H-M '{symbol}'"


# Densities from the atomic masses and the cells: Zn, Co, corundum, forsterite, bismuth.
ZN = (2.6649, 2.6649, 4.9468, 90, 90, 120)
AL2O3 = (4.7589, 4.7589, 12.991, 90, 90, 120)
CORUNDUM = "Al1 0 0 0.35216\nO1 0.30624 0 0.25"


@pytest.mark.parametrize(
    ("cell", "symbol", "atoms", "count", "density"),
    [
        (ZN, "P 63/m m c", "Zn1 0.333 0.667 0.25", 2, 7.139),
        (ZN, "P 63/m m c", "Zn1 .3333 .6667 .75", 2, 7.139),
        (ZN, "P 63/m 2/m 2/c", "Zn1 0.33 0.67 0.25", 2, 7.139),
        (AL2O3, "R -3 2/c", CORUNDUM, 30, 3.987),
        (AL2O3, "R -3 c H", CORUNDUM, 30, 3.987),
        ((3.5238,) * 3 + CUBIC, "F 4/m -3 2/m", "Ni1 0 0 0", 4, 8.91),
        ((5.6402,) * 3 + CUBIC, "F m 3 m", "Na1 0 0 0\nCl1 .5 .5 .5", 8, 2.164),
        ((5.431,) * 3 + CUBIC, "F 41/d -3 2/m :2", "Si1 0.125 0.125 0.125", 8, 2.329),
        ((5.6575,) * 3 + CUBIC, "F d -3 m S", "Ge1 0 0 0", 8, 5.327),
        ((5.6575,) * 3 + CUBIC, "F d -3 m Z", "Ge1 .125 .125 .125", 8, 5.327),
        ((4.7459, 4.7459, 4.7459, 57.23, 57.23, 57.23), "R -3 m", "Bi1 .234 .234 .234", 2, 9.8),
    ],
)  # fmt: skip
def test_notations_that_mean_one_crystal(cif, cell, symbol, atoms, count, density):
    found = read_cif(cif(cell, named(symbol), atoms))
    assert len(found.atoms) == count
    assert found.density_g_cm3 == pytest.approx(density, rel=5e-3)


@pytest.mark.parametrize("place", ["0 0 0", ".125 .125 .125"])
def test_an_origin_left_open_is_decided_by_distances_and_said(cif, place):
    path = cif((3.567,) * 3 + CUBIC, named("F 41/d -3 2/m"), f"C1 {place}")
    with pytest.warns(CrystalWarning, match="origin"):
        found = read_cif(path)
    assert found.density_g_cm3 == pytest.approx(3.515, rel=5e-3)  # diamond


@pytest.mark.parametrize(("number", "a", "atom"), [(229, 3.1652, "W1"), (225, 3.9242, "Pt1")])
@pytest.mark.parametrize("tag", ["_space_group_IT_number", "_symmetry_Int_Tables_number"])
def test_a_number_names_the_group(cif, number, a, atom, tag):
    found = read_cif(cif((a,) * 3 + CUBIC, f"{tag} {number}", f"{atom} 0 0 0"))
    assert len(found.atoms) == {229: 2, 225: 4}[number]


def test_all_atoms_listed_beside_their_group_count_once(cif):
    rows = "Cu1 0 0 0\nCu2 .5 .5 0\nCu3 .5 0 .5\nCu4 0 .5 .5"
    found = read_cif(cif((3.6149,) * 3 + CUBIC, named("F m -3 m"), rows))
    assert len(found.atoms) == 4
    rows = "Zn1 .3333 .6667 .25\nZn2 .6667 .3333 .75"
    assert len(read_cif(cif(ZN, named("P 63/m m c"), rows)).atoms) == 2


def test_elements_that_share_a_place_both_count(cif):
    path = cif((3.55,) * 3 + CUBIC, named("F m -3 m"), "Fe1 0 0 0 .5\nNi1 0 0 0 .5", ["occupancy"])
    assert [atom.element for atom in read_cif(path).atoms] == ["Fe"] * 4 + ["Ni"] * 4


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_text_as_editors_save_it(cif, encoding):
    entries = named("F m -3 m") + "\n_publ_author 'Müller'"
    assert len(read_cif(cif((4.05,) * 3 + CUBIC, entries, "Al1 0 0 0", encoding=encoding)).atoms)


@pytest.mark.parametrize(("letter", "size"), [("B", 8 * np.pi**2), ("U", 1.0)])
def test_anisotropic_displacements_on_hexagonal_axes(cif, letter, size):
    # An isotropic tensor has U12 = U11 cos(gamma*) = U11 / 2 on hexagonal axes.
    u = 0.0125 * size
    tags = "\n".join(f"_atom_site_aniso_{letter}_{i}" for i in (11, 22, 33, 12, 13, 23))
    loop = f"loop_\n_atom_site_aniso_label\n{tags}\nZn1 {u} {u} {u} {u / 2} 0 0\n"
    path = cif(ZN, named("P 63/m m c") + "\n" + loop, "Zn1 .3333 .6667 .25")
    assert read_cif(path).sites[0].u_iso == pytest.approx(0.0125, rel=1e-6)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ("_cell_formula_units_Z 2\n_chemical_formula_sum Al", "4 Al atoms a cell"),
        ("_exptl_crystal_density_diffrn 5.4", "5.400"),
    ],
)
def test_a_file_that_contradicts_itself_is_said(cif, entries, says):
    path = cif((4.05,) * 3 + CUBIC, named("F m -3 m") + "\n" + entries, "Al1 0 0 0")
    with pytest.warns(CrystalWarning, match=says):
        read_cif(path)


def test_agreeing_entries_say_nothing(cif):
    entries = "\n_cell_formula_units_Z 8\n_chemical_formula_sum Ge\n_exptl_crystal_density_meas 5.3"
    path = cif((5.6575,) * 3 + CUBIC, named("F d -3 m") + entries, "Ge1 0 0 0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_cif(path).atoms) == 8


@pytest.mark.parametrize(
    ("cell", "unit"),
    [
        ((0.28665,) * 3 + CUBIC, "nanometres"),
        ((0.295, 0.295, 0.4686, 90, 90, 120), "nanometres"),
        ((361.49,) * 3 + CUBIC, "picometres"),
        ((3.6149,) * 3 + (1.5708,) * 3, "radians"),
    ],
)
def test_a_cell_in_another_unit_is_refused_by_its_name(cif, cell, unit):
    with pytest.raises(SettingsError, match=unit):
        read_cif(cif(cell, named("P 1"), "Cu1 0 0 0"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("Al1 0 ? 0 1", "position"),
        ("Al1 0 0 0 0", "no atoms"),
        ("Al1 0 0 0 7", "occupancy"),
        ("Qq1 0 0 0 1", "not known"),
    ],
)
def test_atoms_that_cannot_be(cif, row, says):
    path = cif((4.05,) * 3 + CUBIC, named("F m -3 m"), row, ["occupancy"])
    with pytest.raises(SettingsError, match=says):
        read_cif(path)


def test_a_search_for_reflections_ends(monkeypatch):
    monkeypatch.setattr(phase, "MOST_INDICES", 2000)
    with pytest.raises(SettingsError, match="families"):
        material("Al").reflections(10**6)
