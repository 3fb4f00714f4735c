"""Crystals: lattice, allowed reflections, structure factors, symmetry, orientations, colours.

Conventions: lengths of the lattice in angstrom, energies in keV. ``B`` (3, 3) contains 2 pi and
turns hkl into a scattering vector in the crystal's Cartesian frame (reciprocal a* along x). An
orientation ``U`` (3, 3) turns crystal vectors into sample vectors; Bunge angles give
``U = Rz(phi1) Rx(Phi) Rz(phi2)``.
"""

from __future__ import annotations

from .grain_map import GrainMap
from .orientation import (
    bunge_to_matrix,
    ipf_colour,
    matrices_to_quaternions,
    matrix_to_bunge,
    matrix_to_rodrigues,
    mean_orientation,
    misorientation_deg,
    multiply_quaternions,
    nearest_equivalents,
    quaternions_to_matrices,
    random_orientations,
    rodrigues_to_matrix,
)
from .phase import (
    HC_KEV_ANGSTROM,
    MATERIALS,
    CrystalWarning,
    Material,
    Reflections,
    Site,
    mass_attenuation,
    material,
    read_cif,
)

__all__ = [
    "HC_KEV_ANGSTROM",
    "MATERIALS",
    "CrystalWarning",
    "GrainMap",
    "Material",
    "Reflections",
    "Site",
    "bunge_to_matrix",
    "ipf_colour",
    "mass_attenuation",
    "material",
    "matrices_to_quaternions",
    "matrix_to_bunge",
    "matrix_to_rodrigues",
    "mean_orientation",
    "misorientation_deg",
    "multiply_quaternions",
    "nearest_equivalents",
    "quaternions_to_matrices",
    "random_orientations",
    "read_cif",
    "rodrigues_to_matrix",
]
