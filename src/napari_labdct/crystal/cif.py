"""Crystal structures from CIF files: the notations that are met, and what the file says twice.

A CIF gives a structure more than once: atoms and space group on one side, density, formula and Z on
the other. The atoms and the group make the material; the rest decides where a notation has two
meanings (origin choice), and a contradiction that is left is said as a `CrystalWarning`.
"""

from __future__ import annotations

import re
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import SettingsError, reason
from .phase import DEBYE_WALLER_B_280K, CrystalWarning, Material, Site

LARGEST_FILE_BYTES = 20_000_000
MOST_SITES = 2000

_NAMES = (
    "_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M", "_space_group_name_H-M_full",
    "_symmetry_space_group_name_H-M_full", "_space_group_name_H-M",
)  # fmt: skip
_NUMBERS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_HALL = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_TOKEN = re.compile(r"-[1346]|[1-6][1-5]?/[a-en]|[1-6][1-5]?|[a-en]")
# Origin choices and axes as programs write them: ICSD's S and Z, ":1", "O2", "(origin 2)".
_QUALIFIER = re.compile(r"\s*[:(]?\s*(?:origin(?:\s+choice)?\s*|o)?([12szhr])\s*\)?\s*$", re.I)


def read_cif(path: str | Path) -> Material:
    """A material from a CIF file.

    Parameters
    ----------
    path : path

    Returns
    -------
    Material
        Anisotropic displacements become their isotropic equivalent; without any, an element's own
        B at 280 K stands in.

    Raises
    ------
    SettingsError
        The file cannot be read, or has no unit cell, known space group or atoms.
    """
    path = Path(path)
    block = _block(path)
    cell = _cell(block, path)
    sites = _sites(block, path, cell)
    found = [Material(path.stem, cell, group, sites) for group in _groups(block, path, cell)]
    crystal, doubt = _decide(found, block)
    for remark in [doubt, *_contradictions(crystal, block)]:
        if remark:
            warnings.warn(f"{path.name}: {remark}", CrystalWarning, stacklevel=3)
    return crystal


def _text(path: Path) -> str:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SettingsError(f"{path.name} cannot be read as a CIF file: it is not a file.")
        if info.st_size > LARGEST_FILE_BYTES:
            raise SettingsError(
                f"{path.name} cannot be read as a CIF file: it has {info.st_size / 1e6:.0f} MB."
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path.name} cannot be read as a CIF file: {why}.") from None
    # Windows editors begin a file with a byte order mark.
    kind = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(kind)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _block(path: Path) -> Any:
    import gemmi

    try:
        document = gemmi.cif.read_string(_text(path))
    except (ValueError, RuntimeError) as error:
        raise SettingsError(f"{path.name} cannot be read as a CIF file: {reason(error)}.") from None
    blocks = [b for b in document if b.find_value("_cell_length_a")]
    if not blocks:
        raise SettingsError(f"{path.name} has no unit cell; a CIF with _cell_length_a is needed.")
    return next((b for b in blocks if b.find_values("_atom_site_fract_x")), blocks[0])


def _value(block: Any, *names: str) -> str:
    """The first of several entries that has a value, without quotes; '' if none has."""
    import gemmi

    for name in names:
        raw = block.find_value(name)
        text = gemmi.cif.as_string(raw).strip() if raw else ""
        if text not in ("", "?", "."):
            return text
    return ""


def _number(text: str) -> float:
    """A number with or without its uncertainty in brackets; NaN for anything else."""
    import gemmi

    return float(gemmi.cif.as_number(text)) if text else float("nan")


def _cell(block: Any, path: Path) -> tuple[float, float, float, float, float, float]:
    edges = [_number(_value(block, f"_cell_length_{axis}")) for axis in "abc"]
    # The CIF dictionary's own default for an angle that is not given.
    angles = [
        _number(_value(block, f"_cell_angle_{name}") or "90") for name in ("alpha", "beta", "gamma")
    ]
    if not np.all(np.isfinite(edges + angles)):
        raise SettingsError(
            f"{path.name} has no unit cell; _cell_length_a, b and c must be numbers in angstrom."
        )
    a, b, c = edges
    alpha, beta, gamma = angles
    return a, b, c, alpha, beta, gamma


# ---------------------------------------------------------------------------------- space group


def _groups(block: Any, path: Path, cell: tuple[float, ...]) -> list[str]:
    """Extended symbols the file's notation can mean, the most usual first."""
    import gemmi

    by_list = _listed_group(block)
    name = _value(block, *_NAMES)
    hall = _value(block, *_HALL)
    number = _number(_value(block, *_NUMBERS))
    if by_list is not None and (by_list.number > 1 or not name):
        return [by_list.xhm()]
    by_hall = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall)) if _sane(hall) else None
    if by_hall is not None:
        return [by_hall.xhm()]
    settings = _named(name) if name else []
    if not settings and number == number and 1 <= number <= 230:
        usual = gemmi.find_spacegroup_by_number(int(number))
        settings = [g for g in gemmi.spacegroup_table() if g.number == number and g.hm == usual.hm]
    if not settings:
        said = f"the space group '{name[:40]}'" if name else "no space group"
        raise SettingsError(
            f"{path.name} names {said}, which is not known; correct its Hermann-Mauguin symbol "
            "or give _space_group_IT_number."
            if name
            else f"{path.name} names no space group that is known."
        )
    return [g.xhm() for g in _fitting_axes(settings, cell)]


def _sane(hall: str) -> bool:
    import gemmi

    try:
        return bool(hall) and bool(gemmi.symops_from_hall(hall))
    except (ValueError, RuntimeError):
        return False


def _listed_group(block: Any) -> Any:
    import gemmi

    for name in _OPERATIONS:
        rows = [gemmi.cif.as_string(v) for v in block.find_values(name)]
        if rows:
            try:
                return gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(r) for r in rows]))
            except (ValueError, RuntimeError):
                return None
    return None


def _named(name: str) -> list[Any]:
    """Settings in gemmi's table of a short or full Hermann-Mauguin symbol."""
    import gemmi

    plain, wanted = name.replace("_", "").strip(), ""
    group = _look_up(plain)
    if group is None or not group.ext or (":" in plain or plain[-1:] in "SZHR"):
        match = _QUALIFIER.search(plain)
        # "P 2 1 2" ends in a digit that is part of the symbol: it needs a mark before it.
        if (
            match
            and (re.search(r"[:(o]", match.group(), re.I) or match[1].lower() in "szhr")
            and _look_up(plain[: match.start()]) is not None
        ):
            wanted = {"s": "1", "z": "2"}.get(match[1].lower(), match[1].upper())
            group = _look_up(plain[: match.start()])
    if group is None:
        return []
    same = [g for g in gemmi.spacegroup_table() if (g.number, g.hm) == (group.number, group.hm)]
    exact = [g for g in same if wanted and g.ext == wanted]
    return exact or same


def _look_up(symbol: str) -> Any:
    import gemmi

    symbol = symbol.strip()
    if not symbol:
        return None
    lattice, rest = symbol[0].upper(), symbol[1:].lower()
    parts = _TOKEN.findall(rest) if " " not in rest.strip() else rest.split()
    short = [part.split("/")[-1] for part in parts]
    # Full symbols: the axes "4/m", "2/m" of the short one's "m"; old ones leave out the bar of -3.
    for tried in (parts, parts[:1] + short[1:], short):
        for bar in (False, True):
            words = [
                "-3" if bar and i == 1 and word == "3" else word for i, word in enumerate(tried)
            ]
            group = gemmi.find_spacegroup_by_name(" ".join([lattice, *words]))
            if group is not None:
                return group
    return gemmi.find_spacegroup_by_name(symbol)


def _fitting_axes(settings: list[Any], cell: tuple[float, ...]) -> list[Any]:
    """Hexagonal or rhombohedral axes are those of the cell, whatever the symbol leaves open."""
    kinds = {g.ext: g for g in settings}
    number = settings[0].number
    if number in (146, 148, 155, 160, 161, 166, 167):
        import gemmi

        hexagonal = abs(cell[5] - 120) < 0.5 and abs(cell[3] - 90) < 0.5
        axes = "H" if hexagonal else "R"
        table = [g for g in gemmi.spacegroup_table() if g.number == number]
        return [g for g in table if g.ext == axes] or settings
    if "2" in kinds:
        return [kinds[k] for k in ("2", "1") if k in kinds]
    return settings


# ---------------------------------------------------------------------------------------- atoms


def _sites(block: Any, path: Path, cell: tuple[float, ...]) -> tuple[Site, ...]:
    import gemmi

    names = ("fract_x", "fract_y", "fract_z", "?label", "?type_symbol", "?occupancy",
             "?U_iso_or_equiv", "?B_iso_or_equiv", "?calc_flag")  # fmt: skip
    table = block.find("_atom_site_", list(names))
    if len(table) > MOST_SITES:
        raise SettingsError(f"{path.name} lists {len(table)} atoms; up to {MOST_SITES} are read.")
    aniso = _anisotropic(block, cell)
    sites = []
    for row in table:
        cells = [gemmi.cif.as_string(row[i]) if row.has(i) else "" for i in range(len(names))]
        position, (label, symbol, occupancy, u, b, flag) = cells[:3], cells[3:]
        if flag == "dum":
            continue
        share = 1.0 if occupancy in ("", "?", ".") else _number(occupancy)
        if not 0 <= share <= 1.05:
            raise SettingsError(
                f"{path.name}: the occupancy of {_short(label or symbol)} must be 0 to 1, not "
                f"{_short(occupancy)}."
            )
        if share == 0:
            continue
        x, y, z = (_number(value) for value in position)
        where = (x, y, z)
        if not np.all(np.isfinite(where)) or np.abs(where).max() > 100:
            raise SettingsError(
                f"{path.name}: the position of {_short(label or symbol)} must be three fractions "
                f"of the cell edges, not {' '.join(map(_short, position))}."
            )
        element = _element_name(symbol if symbol not in ("", "?", ".") else label)
        size = [_number(u), aniso.get(label, np.nan), _number(b) / (8 * np.pi**2)]
        usual = DEBYE_WALLER_B_280K.get(element, 0.5) / (8 * np.pi**2)
        u_iso = next((v for v in size if 0 < v < 1), usual)
        sites.append(Site(element, where, min(share, 1.0), float(u_iso)))
    return tuple(sites)


def _element_name(symbol: str) -> str:
    """'Fe3+', 'FE1', 'Fe_a' are Fe; 'D' stays D."""
    import gemmi

    letters = re.split(r"[^A-Za-z]", symbol)[0]
    for length in (2, 1):
        name = letters[:length].capitalize()
        if len(name) == length and gemmi.Element(name).atomic_number > 0:
            return name
    return symbol[:20]


def _short(word: str) -> str:
    """A word of the file for a sentence."""
    return word if len(word) <= 20 else f"{word[:17]}..."


def _anisotropic(block: Any, cell: tuple[float, ...]) -> dict[str, float]:
    """Equivalent isotropic U (angstrom^2) of each label: sum of U_ij a*_i a*_j a_i.a_j / 3."""
    import gemmi

    try:
        unit = gemmi.UnitCell(*cell)
    except RuntimeError:  # no cell has such angles, which is said where the crystal is made of it
        return {}
    rows = np.array(unit.orth.mat.tolist()).T
    metric = rows @ rows.T
    star = np.sqrt(np.abs(np.diag(np.linalg.inv(metric)))) if np.linalg.det(metric) else np.zeros(3)
    found: dict[str, float] = {}
    order = ("11", "22", "33", "12", "13", "23")
    for letter, scale in (("U", 1.0), ("B", 1 / (8 * np.pi**2))):
        tags = ["label", *(f"{letter}_{i}" for i in order)]
        for row in block.find("_atom_site_aniso_", tags):
            a, b, c, ab, ac, bc = (_number(row[i + 1]) * scale for i in range(6))
            tensor = np.array([[a, ab, ac], [ab, b, bc], [ac, bc, c]])
            value = float((tensor * np.outer(star, star) * metric).sum() / 3)
            if np.isfinite(value) and value > 0:
                found.setdefault(gemmi.cif.as_string(row[0]), value)
    return found


# ---------------------------------------------------------------- what the file says of itself


def _stated_density(block: Any) -> float:
    return _number(_value(block, "_exptl_crystal_density_diffrn", "_exptl_crystal_density_meas"))


def _stated_atoms(block: Any) -> dict[str, float]:
    """Atoms of each element in the cell, from Z and the formula; empty if either is missing."""
    z = _number(_value(block, "_cell_formula_units_Z"))
    formula = _value(block, "_chemical_formula_sum")
    parts = re.findall(r"([A-Z][a-z]?)\s*([0-9.]*)", formula)
    if not (parts and z == z and z > 0):
        return {}
    counts: dict[str, float] = {}
    for element, count in parts:
        each = float(count) if re.fullmatch(r"\d*\.?\d+|\d+\.", count) else 1.0
        counts[element] = counts.get(element, 0.0) + z * each
    return counts


def _counted(crystal: Material) -> dict[str, float]:
    counts: dict[str, float] = {}
    for atom in crystal.atoms:
        counts[atom.element] = counts.get(atom.element, 0.0) + atom.occupancy
    return counts


def _contradictions(crystal: Material, block: Any) -> list[str]:
    said = []
    stated, counted = _stated_atoms(block), _counted(crystal)
    wrong = [e for e, n in stated.items() if abs(counted.get(e, 0.0) - n) > max(0.1 * n, 0.05)]
    # Hydrogen is often in the formula and not among the sites, and diffracts next to nothing.
    wrong = [e for e in wrong if e not in ("H", "D")]
    if wrong:
        e = wrong[0]
        said.append(
            f"its sites and space group {crystal.space_group} give {counted.get(e, 0):g} {e} atoms "
            f"a cell, its Z and formula {stated[e]:g}; check the space group and the positions."
        )
    density = _stated_density(block)
    if density > 0 and abs(crystal.density_g_cm3 / density - 1) > 0.05:
        said.append(
            f"its sites give a density of {crystal.density_g_cm3:.3f} g/cm3, the file says "
            f"{density:.3f}; check the space group and the positions."
        )
    return said


def _decide(found: list[Material], block: Any) -> tuple[Material, str]:
    """Which of several settings is meant, and a doubt that is left, in words."""
    agreeing = [crystal for crystal in found if not _contradictions(crystal, block)]
    if len(found) == 1 or not agreeing:
        return (agreeing or found)[0], ""
    if len({len(crystal.atoms) for crystal in agreeing}) == 1 and len(agreeing) == len(found):
        spaced = agreeing
    else:
        spaced = [c for c in agreeing if _closest_a(c) > 0.5]
    chosen = max(spaced or agreeing, key=lambda c: round(_closest_a(c), 2))
    if len(agreeing) == 1 or _same_strengths(agreeing):
        return chosen, ""
    return chosen, (
        f"it leaves the origin open; {chosen.space_group} is taken, whose atoms lie farther apart. "
        f"Write '{chosen.space_group}' as its space group to confirm."
    )


def _same_strengths(found: list[Material]) -> bool:
    strengths = [crystal.reflections(4) for crystal in found]
    first = strengths[0]
    return all(s.names == first.names and np.allclose(s.f2, first.f2, rtol=1e-3) for s in strengths)


def _closest_a(crystal: Material) -> float:
    """Smallest distance between two atoms, angstrom (atoms that share a place do not count)."""
    places = np.array([atom.position for atom in crystal.atoms][:300])
    apart = places[:, None] - places[None]
    apart -= np.round(apart)
    length = np.linalg.norm(apart @ crystal.lattice.T, axis=-1)
    length = length[length > 0.1]
    return float(min(length.min(initial=np.inf), min(crystal.cell[:3])))
