"""Lists of grains of ImageD11, ``.ubi`` and ``.map``: a UBI matrix and a place for each.

The rows of UBI are the cell vectors a, b, c in the sample's frame (angstrom), so UBI is the inverse
of U B with B of Busing & Levy without 2 pi; x runs along the beam, z along the rotation axis, as
ours do. Places (``#translation:``) are micrometres.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import OutputError, ScanError
from ..core.files import write_atomically
from ..core.reading import check_regular
from ..core.schema import MOST_BYTES
from ..crystal import MATERIALS, Material, Site
from ..crystal import material as find_material
from .grain_phases import FilePhase
from .grainmapper import MapContent, MeasuredMap, say

MOST_LIST_VOXELS = 4_000_000
ALONE_UM = 50.0
"""Size of a grain whose list has no other."""


def read_grain_list(path: Path) -> MapContent:
    """The grains of a list as a map: each voxel goes to the nearest centre.

    A list has no shapes, so a grain is the Voronoi cell of its centre, out to the median distance
    between neighbours; this is said as a `CrystalWarning`.

    Raises
    ------
    ScanError
        The list makes no sense, or does not say where its grains are.
    """
    ubis, places, names = _parse(path)
    if any(place is None for place in places):
        raise ScanError(
            f"{path.name} does not say where its grains are (#translation:); give ImageD11's .map "
            "file of refined grains."
        )
    cells = np.array([_cell(ubi) for ubi in ubis])
    by_grain = {n: _orientation(ubi, cell) for n, ubi, cell in zip(names, ubis, cells, strict=True)}
    ids, voxel_um, center_um = _voronoi(np.array(places, float), np.array(names))
    say(path, "a list has no shapes of grains; the cells nearest to their centres are taken")
    cell = np.nanmedian(cells, axis=0)
    name = _material(cell)
    phases = {1: FilePhase(name, tuple(cell.tolist()), 0)} if name else {}
    return MapContent(
        ids,
        (ids > 0).astype(np.int64),
        None,
        "Quaternion",
        voxel_um,
        center_um * 1e-3,
        (None, None, None),
        None,
        phases,
        None,
        by_grain,
    )


def _parse(path: Path) -> tuple[list[np.ndarray], list[list[float] | None], list[int]]:
    check_regular(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ScanError(f"{path.name} is too large for a list of grains.")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ScanError(f"{path.name} cannot be read ({error.strerror}).") from None
    ubis: list[np.ndarray] = []
    places: list[list[float] | None] = []
    names: list[str] = []
    rows: list[list[float]] = []
    place, name = None, ""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if words[0].startswith("#"):
            if words[0] == "#translation:":
                place = _three(path, number, words[1:])
            elif words[0] == "#name" and len(words) > 1:
                name = words[1]
            continue
        rows.append(_three(path, number, words))
        if len(rows) == 3:
            ubis.append(np.array(rows))
            places.append(place)
            names.append(name)
            rows, place, name = [], None, ""
    if rows or not ubis:
        raise ScanError(f"{path.name}: a grain is three rows of three numbers; one is not whole.")
    for number, ubi in enumerate(ubis, 1):
        if np.linalg.det(np.nan_to_num(ubi)) < 0:
            raise ScanError(f"{path.name}: the cell of grain {number} is left-handed.")
    numbers = [n.partition(":")[0] for n in names]
    if all(n.isdecimal() and 0 < int(n) < 2**31 for n in numbers) and len(set(numbers)) == len(
        numbers
    ):
        return ubis, places, [int(n) for n in numbers]
    # ImageD11 counts names from 0, which is no grain in a volume
    return ubis, places, list(range(1, len(ubis) + 1))


def _three(path: Path, number: int, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != 3:
        raise ScanError(f"{path.name}, line {number}: three numbers must be there.")
    return values


def _cell(ubi: np.ndarray) -> np.ndarray:
    """a, b, c, alpha, beta, gamma (angstrom, degrees)."""
    metric = ubi @ ubi.T
    a, b, c = np.sqrt(np.diag(metric))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = [metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b)]
        return np.array([a, b, c, *np.degrees(np.arccos(cosines))])


def _orientation(ubi: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """U of a grain; strain is taken out. NaN for a cell that cannot exist."""
    if not np.isfinite(cell).all() or np.linalg.det(ubi) < 1e-9:
        return np.full((3, 3), np.nan)
    own = Material("cell", tuple(cell.tolist()), "P 1", (Site("Fe", (0.0, 0.0, 0.0)),))
    left, _, right = np.linalg.svd(ubi.T @ np.linalg.inv(own.lattice))
    return left @ right


def _material(cell: np.ndarray) -> str:
    """The one known material with such a cell; '' if there is none or several."""
    fits = [n for n in MATERIALS if np.allclose(find_material(n).cell, cell, rtol=0.01)]
    return fits[0] if len(fits) == 1 else ""


_FARTHEST_UM = 1e6


def _voronoi(places_um: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Volume of names, edge of a voxel (um), and middle of the volume (um)."""
    from scipy.spatial import cKDTree

    if not (np.abs(places_um) <= _FARTHEST_UM).all():
        raise ScanError(
            "A place in the list of grains is not a number, or more than a metre away; correct "
            "#translation."
        )
    tree = cKDTree(places_um)
    size = ALONE_UM
    if len(places_um) > 1:
        size = float(np.median(tree.query(places_um, 2)[0][:, 1])) or ALONE_UM
    low, high = places_um.min(axis=0) - size, places_um.max(axis=0) + size
    voxel = max(size / 10, float(np.cbrt(np.prod(high - low) / MOST_LIST_VOXELS)))
    count = np.ceil((high - low) / voxel).astype(int)
    middle = (low + high) / 2
    x, y, z = (m + (np.arange(n) - (n - 1) / 2) * voxel for m, n in zip(middle, count, strict=True))
    volume = np.zeros(tuple(count[::-1]), np.int64)
    for k, height in enumerate(z):
        points = np.stack(np.meshgrid(x, y, [height], indexing="ij"), axis=-1)[:, :, 0]
        far, nearest = tree.query(points.swapaxes(0, 1).reshape(-1, 3), distance_upper_bound=size)
        own = np.append(names, 0)[nearest]
        volume[k] = np.where(np.isfinite(far), own, 0).reshape(len(y), len(x))
    return volume, voxel, middle


def write_grain_list(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write the grains of a map as ImageD11's list, with the places of their centres.

    Raises
    ------
    OutputError
        The file cannot be written, or the map has several phases.
    """
    grains = measured.grains
    if len(measured.phases) > 1:
        raise OutputError(
            f"A list such as {path.name} is of one phase, and the map has {len(measured.phases)}; "
            "write .h5, .dream3d or .csv."
        )
    centres = grains.centroids_mm * 1e3
    lattice = measured.material.lattice
    text = []
    for number in np.flatnonzero(grains.voxels_per_grain):
        ubi = (grains.orientations[number] @ lattice).T
        text.append("#translation: {:.6g} {:.6g} {:.6g}".format(*centres[number]))
        text.append(f"#name {grains.grain_ids[number]}")
        text.append("#UBI:")
        text += ["{:.9g} {:.9g} {:.9g}".format(*row) for row in ubi] + [""]
    write_atomically(path, "\n".join(text) + "\n")
    return [path]
