"""Crystals that are not cubic are found as well: nothing but their planes and symmetry differs."""

from __future__ import annotations

import numpy as np
import pytest

from napari_labdct.grains import GrainMapping, compare_maps

#: White tin and alpha uranium at room temperature: cell, space group, atoms, proper rotations.
TIN = ((5.831, 5.831, 3.182, 90, 90, 90), "I 41/a m d :1", "Sn1 0 0 0", 8)
URANIUM = ((2.854, 5.869, 4.955, 90, 90, 90), "C m c m", "U1 0 0.1025 0.25", 4)


@pytest.mark.parametrize(
    ("crystal", "seed"), [(TIN, 5), (URANIUM, 6)], ids=["tetragonal", "orthorhombic"]
)
def test_crystals_of_lower_symmetry_are_found(
    simulated, finished, outline, tmp_path, crystal, seed
):
    cell, group, atoms, rotations = crystal
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    tags = ("label", "fract_x", "fract_y", "fract_z")
    lines = ["data_x", *(f"_cell_{n} {v}" for n, v in zip(names, cell, strict=True))]
    lines += [f"_symmetry_space_group_name_H-M '{group}'", "loop_"]
    lines += [*(f"_atom_site_{tag}" for tag in tags), atoms, ""]
    (tmp_path / "x.cif").write_text("\n".join(lines))
    made = simulated(material=str(tmp_path / "x.cif"), seed=seed, families=6)
    assert len(made.material.symmetry) == rotations
    job = finished(GrainMapping(made.scan, made.masks, outline.replace(families=6)))
    found = compare_maps(made.truth, job.result.grains, made.material.symmetry)
    large = made.truth.diameters_um > 25
    assert large.sum() >= 5
    assert large[found.false_negative].sum() == 0
    assert len(found.false_positive) == 0
    assert np.median(found.misorientation_deg) < 0.05
