"""The materials of a grain map: from a CIF, or from elements that the file's own words fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import ScanError, SettingsError
from ..crystal import MATERIALS, CrystalWarning, Material
from ..crystal import material as find_material

__all__ = ["FilePhase", "choose_phases"]

# Names of exactly one structure of `MATERIALS`; a name never outweighs group and cell.
_WORDS = {
    "aluminum": "Al", "aluminium": "Al", "iron": "Fe", "ferrite": "Fe", "alpha-iron": "Fe",
    "alpha-fe": "Fe", "iron bcc": "Fe", "nickel": "Ni", "copper": "Cu", "titanium": "Ti",
    "alpha-ti": "Ti", "titanium-alpha": "Ti", "silicon": "Si",
}  # fmt: skip


@dataclass(frozen=True)
class FilePhase:
    """What a grain map says of one phase: name, cell (angstrom, degrees), number of its group."""

    name: str
    cell: tuple[float, ...]
    group_number: int


def choose_phases(
    file_name: str,
    described: dict[int, FilePhase],
    numbers: Sequence[int],
    given: str | Material | Sequence[Material] | None,
) -> list[Material]:
    """The material of each phase that has grains.

    Parameters
    ----------
    file_name : str
        For messages.
    described : dict
        What the file says, by the number of the phase.
    numbers : sequence of int
        The phases that have grains.
    given : str, Material or sequence of Material, optional
        Instead of what the file says: one a phase (or one for the only phase); it wins, and a
        contradiction is said as a `CrystalWarning`.

    Raises
    ------
    ScanError
        A phase is not described, or nothing is known of its atoms.
    SettingsError
        The number of materials differs from that of the phases.
    """
    if given is not None:
        return _given(file_name, described, numbers, given)
    missing = [n for n in numbers if n not in described]
    if missing:
        raise ScanError(
            f"{file_name} has grains of phase {missing[0]} but does not describe that phase; give "
            "its material (an element or a CIF file) with --material."
        )
    return [_known(file_name, described[n]) for n in numbers]


def _given(
    file_name: str, described: dict[int, FilePhase], numbers: Sequence[int], given: Any
) -> list[Material]:
    if isinstance(given, str):
        given = [find_material(name) for name in given.split(",")]
    materials = [given] if isinstance(given, Material) else list(given)
    if len(materials) != len(numbers):
        names = ", ".join(described[n].name if n in described else f"phase {n}" for n in numbers)
        raise SettingsError(
            f"{file_name} has grains of {len(numbers)} phases ({names}) but {len(materials)} "
            "materials were given; give one a phase, parted by commas."
        )
    chosen = []
    for number, crystal in zip(numbers, materials, strict=True):
        said = described.get(number)
        differs = "" if said is None else _difference(crystal, said, 0.02)
        if differs:
            warnings.warn(
                f"{file_name} says of phase {number} ('{said.name}') {differs}; "
                f"{crystal.name} is taken all the same.",
                CrystalWarning,
                stacklevel=4,
            )
        elif said is not None and crystal.name in MATERIALS:
            crystal = replace(crystal, cell=said.cell)
        chosen.append(crystal)
    return chosen


def _known(file_name: str, said: FilePhase) -> Material:
    name = said.name
    key = _WORDS.get(name.lower(), name)
    if key not in MATERIALS:
        raise ScanError(
            f"{file_name}: the atoms of the phase '{name}' (space group {said.group_number}, "
            f"{_edges(said.cell)}) are not known; give a CIF file with --material."
        )
    known = find_material(key)
    differs = _difference(known, said, 0.03)
    if differs:
        raise ScanError(
            f"{file_name} says of its phase '{name}' {differs}; give a CIF file of it with "
            "--material."
        )
    return replace(known, cell=said.cell)


def _difference(crystal: Material, said: FilePhase, tolerance: float) -> str:
    """How the file contradicts a material, in words; '' if it does not."""
    import gemmi

    number = gemmi.find_spacegroup_by_name(crystal.space_group).number
    if said.group_number and said.group_number != number:
        symbol = gemmi.find_spacegroup_by_number(said.group_number).hm
        return (
            f"space group {said.group_number} ({symbol}), but {crystal.name} has {number} "
            f"({crystal.space_group})"
        )
    if not np.allclose(crystal.cell, said.cell, rtol=tolerance):
        # A cell in another unit is named as such.
        replace(crystal, name=f"the phase '{said.name}'", cell=said.cell)
        return f"a cell of {_edges(said.cell)}, but {crystal.name} has {_edges(crystal.cell)}"
    return ""


def _edges(cell: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in cell[:3]) + " angstrom"
