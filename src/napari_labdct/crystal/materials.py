"""Materials by name: elements that are known here, and CIF files."""

from __future__ import annotations

import numpy as np

from ..core.errors import SettingsError
from .cif import read_cif
from .phase import DEBYE_WALLER_B_280K, ELEMENTS, MATERIALS, Material, Site


def material(name: str) -> Material:
    """A material by the symbol of its element, or from a CIF file by its path.

    Raises
    ------
    SettingsError
        The name is neither one of `MATERIALS` nor a readable CIF.
    """
    key = str(name).strip()
    if key.lower().endswith(".cif"):
        return read_cif(key)
    if key not in ELEMENTS:
        raise SettingsError(
            f"The material '{key}' is not known; use {', '.join(MATERIALS)} "
            "or the path of a CIF file."
        )
    cell, group, position = ELEMENTS[key]
    u_iso = DEBYE_WALLER_B_280K[key] / (8 * np.pi**2)
    return Material(key, cell, group, (Site(key, position, 1.0, u_iso),))
