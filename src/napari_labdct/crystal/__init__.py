"""Crystals: lattice, allowed reflections, structure factors, symmetry, orientations, colours.

Conventions: lengths of the lattice in angstrom, energies in keV. ``B`` (3, 3) contains 2 pi and
turns hkl into a scattering vector in the crystal's Cartesian frame (reciprocal a* along x). An
orientation ``U`` (3, 3) turns crystal vectors into sample vectors; Bunge angles give
``U = Rz(phi1) Rx(Phi) Rz(phi2)``.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "orientation": [
            "bunge_to_matrix",
            "ipf_colour",
            "matrix_to_bunge",
            "matrix_to_rodrigues",
            "misorientation_deg",
            "quaternions_to_matrices",
            "random_orientations",
            "rodrigues_to_matrix",
        ],
        "phase": [
            "HC_KEV_ANGSTROM",
            "MATERIALS",
            "Material",
            "Reflections",
            "Site",
            "mass_attenuation",
            "material",
            "read_cif",
        ],
    },
)
