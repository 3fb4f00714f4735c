"""A phase: its lattice, atoms, allowed reflections, structure factors and attenuation.

Form factors are those of the International Tables Vol. C (1992) as kept by gemmi; anomalous terms
are left out (below 4 % of f for these materials above 20 keV).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np

from ..core.errors import LabDCTWarning, SettingsError

HC_KEV_ANGSTROM = 12.39841984
"""Planck's constant times the speed of light, keV angstrom (2019 SI)."""

# Isotropic B (angstrom^2) at 280 K of elemental crystals, table 1 of L.-M. Peng, G. Ren,
# S. L. Dudarev & M. J. Whelan (1996), Acta Cryst. A52, 456-470; U = B / (8 pi^2).
DEBYE_WALLER_B_280K = {
    "Al": 0.7460,
    "Si": 0.4634,
    "Ti": 0.4911,
    "Fe": 0.3106,
    "Ni": 0.3401,
    "Cu": 0.5261,
}

Cell = tuple[float, float, float, float, float, float]

# Cell edges and angles (angstrom, degrees) at room temperature, space group, fractional position.
ELEMENTS: dict[str, tuple[Cell, str, tuple[float, float, float]]] = {
    "Al": ((4.04975, 4.04975, 4.04975, 90, 90, 90), "F m -3 m", (0, 0, 0)),
    "Fe": ((2.8665, 2.8665, 2.8665, 90, 90, 90), "I m -3 m", (0, 0, 0)),
    "Ni": ((3.5238, 3.5238, 3.5238, 90, 90, 90), "F m -3 m", (0, 0, 0)),
    "Cu": ((3.6149, 3.6149, 3.6149, 90, 90, 90), "F m -3 m", (0, 0, 0)),
    "Ti": ((2.9508, 2.9508, 4.6855, 90, 90, 120), "P 63/m m c", (1 / 3, 2 / 3, 1 / 4)),
    "Si": ((5.43102, 5.43102, 5.43102, 90, 90, 90), "F d -3 m:1", (0, 0, 0)),
}

SAME_PLACE_A = 0.2
"""Symmetry images of a site nearer than this are one atom, angstrom."""

MOST_INDICES = 400_000
"""Reflections that are looked at before the search for families is given up."""


class CrystalWarning(LabDCTWarning):
    """A structure contradicts itself, or leaves open what had to be decided."""


MATERIALS = tuple(ELEMENTS)
"""Names of the materials that need no CIF."""


@dataclass(frozen=True)
class Site:
    """One atom of the asymmetric unit: element, fractional position, occupancy, U (angstrom^2)."""

    element: str
    position: tuple[float, float, float]
    occupancy: float = 1.0
    u_iso: float = 0.0


@dataclass(frozen=True)
class Reflections:
    """Allowed reflections of a crystal, all members of each family.

    Attributes
    ----------
    hkl : ndarray of int (n, 3)
    family : ndarray of int (n,)
        Index into `names`; families are ordered by falling d.
    d_angstrom, f2 : ndarray (n,)
        Plane spacing, and |F|^2 of the whole cell with its Debye-Waller factor (electrons^2).
    names : tuple of str
        One name per family, for example ``"{111}"``.
    """

    hkl: np.ndarray
    family: np.ndarray
    d_angstrom: np.ndarray
    f2: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Material:
    """A crystalline phase.

    Parameters
    ----------
    name : str
    cell : tuple of float
        a, b, c (angstrom), alpha, beta, gamma (degrees).
    space_group : str
        Hermann-Mauguin symbol as gemmi knows it.
    sites : tuple of Site
        The asymmetric unit.

    Raises
    ------
    SettingsError
        Unknown space group or element, no atoms, or a cell that cannot exist.
    """

    name: str
    cell: tuple[float, float, float, float, float, float]
    space_group: str
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        if not self.sites:
            raise SettingsError(f"The structure of {self.name} lists no atoms.")
        for site in self.sites:
            _element(site.element)
        _space_group(self.space_group)
        _check_cell(self.name, self.cell)
        if not self.volume_a3 > 0:
            raise SettingsError(f"The unit cell of {self.name} cannot exist: {self.cell}.")

    def with_u_iso(self, u_iso: float) -> Material:
        """The same crystal with one isotropic U (angstrom^2) for all atoms."""
        return replace(self, sites=tuple(replace(site, u_iso=u_iso) for site in self.sites))

    @cached_property
    def lattice(self) -> np.ndarray:
        """Matrix (3, 3) whose columns are the cell vectors a, b, c in angstrom."""
        return 2 * np.pi * np.linalg.inv(self.b_matrix).T

    @cached_property
    def b_matrix(self) -> np.ndarray:
        """B (3, 3) with 2 pi, 1/angstrom: G = B hkl (Busing & Levy 1967; a* along x)."""
        a, b, c = self.cell[:3]
        cos_a, cos_b, cos_g = np.cos(np.radians(self.cell[3:]))
        sin_a, sin_b, sin_g = np.sin(np.radians(self.cell[3:]))
        volume = self.volume_a3
        a_star = b * c * sin_a / volume
        b_star = a * c * sin_b / volume
        c_star = a * b * sin_g / volume
        cos_b_star = (cos_a * cos_g - cos_b) / (sin_a * sin_g)
        cos_g_star = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
        sin_b_star = np.sqrt(1 - cos_b_star**2)
        sin_g_star = np.sqrt(1 - cos_g_star**2)
        return (
            2
            * np.pi
            * np.array(
                [
                    [a_star, b_star * cos_g_star, c_star * cos_b_star],
                    [0.0, b_star * sin_g_star, -c_star * sin_b_star * cos_a],
                    [0.0, 0.0, 1 / c],
                ]
            )
        )

    @cached_property
    def volume_a3(self) -> float:
        """Volume of the unit cell, angstrom^3."""
        a, b, c = self.cell[:3]
        cos = np.cos(np.radians(self.cell[3:]))
        root = 1 - (cos**2).sum() + 2 * cos.prod()
        return float(a * b * c * np.sqrt(root)) if root > 0 else 0.0

    @cached_property
    def atoms(self) -> tuple[Site, ...]:
        """Every atom of one unit cell.

        Images nearer than `SAME_PLACE_A` are one atom, in their middle: 0.333 stands for 1/3. Of
        sites of one element at one place (all atoms listed beside their group) the first counts.
        """
        atoms: list[Site] = []
        places: dict[str, np.ndarray] = {}
        for site in self.sites:
            own = self._images(site.position)
            taken = places.get(site.element)
            if taken is not None and self._apart_a(own[0], taken).min() < SAME_PLACE_A:
                continue
            places[site.element] = own if taken is None else np.concatenate([taken, own])
            atoms += [replace(site, position=tuple(image)) for image in own.tolist()]
        return tuple(atoms)

    def _apart_a(self, place: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Distances (n,) in angstrom to the nearest repeats of `others` (n, 3), fractional."""
        apart = others - place
        return np.linalg.norm((apart - np.round(apart)) @ self.lattice.T, axis=-1)

    def _images(self, position: tuple[float, float, float]) -> np.ndarray:
        """Fractional places (n, 3) of one site in the cell, put exactly on its special position."""
        operations = list(_space_group(self.space_group).operations())
        place = np.asarray(position, float)
        images = np.array([op.apply_to_xyz(place.tolist()) for op in operations])
        shift = images - place
        shift -= np.round(shift)
        same = np.linalg.norm(shift @ self.lattice.T, axis=-1) < SAME_PLACE_A
        place = place + shift[same].mean(axis=0)
        kept: list[np.ndarray] = []
        for op in operations:
            image = np.mod(op.apply_to_xyz(place.tolist()), 1.0)
            if not kept or self._apart_a(image, np.array(kept)).min() >= SAME_PLACE_A:
                kept.append(image)
        return np.array(kept)

    @cached_property
    def density_g_cm3(self) -> float:
        """X-ray density of the perfect crystal, g/cm^3."""
        mass = sum(_element(atom.element).weight * atom.occupancy for atom in self.atoms)
        return float(mass / (self.volume_a3 * 0.602214076))

    @cached_property
    def symmetry(self) -> np.ndarray:
        """Proper rotations (n, 3, 3) of the Laue class, in the crystal's Cartesian frame."""
        rotations: list[np.ndarray] = []
        inverse = np.linalg.inv(self.lattice)
        for op in _space_group(self.space_group).operations().sym_ops:
            rotation = self.lattice @ (np.array(op.rot) / op.DEN) @ inverse
            rotation *= np.sign(np.linalg.det(rotation))
            if all(np.abs(rotation - other).max() > 1e-6 for other in rotations):
                rotations.append(rotation)
        return np.array(rotations)

    def d_angstrom(self, hkl: np.ndarray) -> np.ndarray:
        """Plane spacings (...) of reflections `hkl` (..., 3), angstrom."""
        return 2 * np.pi / np.linalg.norm(np.asarray(hkl) @ self.b_matrix.T, axis=-1)

    def structure_factor_squared(self, hkl: np.ndarray) -> np.ndarray:
        """|F|^2 (n,) of reflections `hkl` (n, 3), in electrons^2 per cell.

        F = sum over atoms of occupancy f(s) exp(-8 pi^2 U s^2) exp(2 pi i h.x), s = 1 / (2 d).
        """
        hkl = np.atleast_2d(hkl)
        s2 = (0.5 / self.d_angstrom(hkl)) ** 2
        total = np.zeros(len(hkl), complex)
        for atom in self.atoms:
            table = _element(atom.element).it92
            form = np.array([table.calculate_sf(float(value)) for value in s2])
            damping = np.exp(-8 * np.pi**2 * atom.u_iso * s2)
            total += atom.occupancy * form * damping * np.exp(2j * np.pi * (hkl @ atom.position))
        return np.abs(total) ** 2

    def reflections(self, families: int = 4) -> Reflections:
        """All members of the first `families` allowed families, by falling plane spacing.

        Absences follow from the space group and from the atoms themselves (|F|^2 below 1e-6 of the
        strongest), so that Si has no {222}.
        """
        if families < 1:
            raise SettingsError(
                f"The number of reflection families must be 1 or more, not {families}."
            )
        return _reflections(self, int(families))

    def bragg_angle_deg(self, hkl: np.ndarray, energy_kev: np.ndarray | float) -> np.ndarray:
        """Bragg angle theta in degrees, sin(theta) = lambda / (2 d); NaN where none exists."""
        with np.errstate(invalid="ignore"):
            sine = HC_KEV_ANGSTROM / np.asarray(energy_kev) / (2 * self.d_angstrom(hkl))
            return np.degrees(np.arcsin(sine))

    def attenuation_per_mm(self, energy_kev: np.ndarray) -> np.ndarray:
        """Linear attenuation coefficient in 1/mm at energies in keV (xraydb, coherent included)."""
        masses: dict[str, float] = {}
        for atom in self.atoms:
            mass = _element(atom.element).weight * atom.occupancy
            masses[atom.element] = masses.get(atom.element, 0.0) + mass
        return mass_attenuation(masses, energy_kev) * self.density_g_cm3 / 10


def mass_attenuation(
    masses: dict[str, float], energy_kev: np.ndarray, kinds: Sequence[str] = ("total",)
) -> np.ndarray:
    """Mass attenuation coefficient (cm^2/g) of a mixture.

    Parameters
    ----------
    masses : dict
        Mass (any unit) of each element.
    energy_kev : array_like
        Photon energies.
    kinds : sequence of str
        Processes to sum: ``total``, or any of ``photo``, ``coh``, ``incoh``.
    """
    import xraydb

    energy_ev = np.atleast_1d(np.asarray(energy_kev, float)) * 1e3
    whole = sum(masses.values())
    parts = [
        mass / whole * xraydb.mu_elam(element, energy_ev, kind=kind)
        for element, mass in masses.items()
        for kind in kinds
    ]
    return np.sum(parts, axis=0).reshape(np.shape(energy_kev))


def _check_cell(name: str, cell: Sequence[float]) -> None:
    """Refuse cells that no crystal has, and name the unit that was probably meant."""
    if len(cell) != 6 or not np.all(np.isfinite(cell)) or min(cell) <= 0:
        raise SettingsError(f"The unit cell of {name} cannot exist: {tuple(cell)}.")
    edges, angles = cell[:3], cell[3:]
    if min(edges) < 1.5 or max(edges) > 200:
        odd = min(edges) if min(edges) < 1.5 else max(edges)
        unit = "nanometres" if 0.15 <= min(edges) < 1.5 else "picometres" if odd < 2e4 else ""
        unit = "" if odd < 0.15 else unit
        hint = f" It looks like {unit}." if unit else ""
        raise SettingsError(
            f"The unit cell of {name} has an edge of {odd:g} angstrom; edges must be 1.5 to 200 "
            f"angstrom.{hint}"
        )
    if min(angles) < 10 or max(angles) > 170:
        hint = " They look like radians." if max(angles) < np.pi else ""
        raise SettingsError(
            f"The unit cell of {name} has angles of {', '.join(f'{v:g}' for v in angles)} degrees; "
            f"they must be 10 to 170 degrees.{hint}"
        )


def _element(symbol: str) -> Any:
    import gemmi

    element = gemmi.Element(symbol)
    if element.atomic_number == 0 or element.it92 is None:
        raise SettingsError(f"The element '{symbol}' is not known.")
    return element


def _space_group(symbol: str) -> Any:
    import gemmi

    group = gemmi.find_spacegroup_by_name(symbol)
    if group is None:
        raise SettingsError(f"The space group '{symbol}' is not known.")
    return group


@lru_cache(maxsize=64)
def _reflections(crystal: Material, families: int) -> Reflections:
    group = _space_group(crystal.space_group).operations()
    limit = 1.0
    while True:
        limit *= 1.3
        bound = np.ceil(limit * np.array(crystal.cell[:3]) / max(crystal.cell[:3])).astype(int)
        bound = np.maximum(bound, 1)
        if np.prod(2 * bound + 1.0) > MOST_INDICES:
            raise SettingsError(
                f"{crystal.name} has no {families} reflection families among the first "
                f"{MOST_INDICES} indices; check its unit cell and its atoms."
            )
        hkl = np.array([h for h in product(*(range(-n, n + 1) for n in bound)) if any(h)])
        d = crystal.d_angstrom(hkl)
        # Only a sphere that fits inside the block of indices is searched completely.
        complete = min(np.linalg.norm(crystal.lattice[:, i]) / (n + 1) for i, n in enumerate(bound))
        hkl, d = hkl[d > complete * (1 + 1e-9)], d[d > complete * (1 + 1e-9)]
        kept = [i for i, h in enumerate(hkl) if not group.is_systematically_absent(h.tolist())]
        hkl, d = hkl[kept], d[kept]
        if len(hkl) == 0:
            continue
        f2 = crystal.structure_factor_squared(hkl)
        strong = f2 > 1e-6 * f2.max()
        hkl, d, f2 = hkl[strong], d[strong], f2[strong]
        keys = [_family_key(group, h) for h in hkl.tolist()]
        spacing = {key: round(float(d[i]), 9) for i, key in enumerate(keys)}
        ordered = sorted(spacing, key=lambda key: (-spacing[key], key))
        if len(ordered) >= families:
            break
    index = {key: i for i, key in enumerate(ordered[:families])}
    chosen = sorted((index[k], tuple(-hkl[i]), i) for i, k in enumerate(keys) if k in index)
    order = np.array([i for _, _, i in chosen])
    family = np.array([f for f, _, _ in chosen])
    names = tuple("{" + " ".join(map(str, key)).replace(" ", "") + "}" for key in index)
    result = Reflections(hkl[order], family, d[order], f2[order], names)
    for array in (result.hkl, result.family, result.d_angstrom, result.f2):
        array.setflags(write=False)
    return result


def _family_key(group: Any, hkl: list[int]) -> tuple[int, ...]:
    images = [tuple(op.apply_to_hkl(hkl)) for op in group.sym_ops]
    images += [tuple(-i for i in image) for image in images]
    # A family is named by positive, falling indices if it can be: {311} rather than {1-13}.
    return max(images, key=lambda image: (sum(i >= 0 for i in image), image))
