"""A grain map as it is looked at: from any file, with a row of `GRAIN_DTYPE` for each grain."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from ..core.errors import ScanError
from ..core.files import read_json
from ..crystal import (
    Material,
    ipf_colour,
    matrix_to_bunge,
    matrix_to_rodrigues,
    rodrigues_to_matrix,
)
from ..crystal import material as find_material
from ..crystal.grain_map import GrainMap
from ..io.grain_map_files import read_grain_map
from .results import GRAIN_DTYPE, stored

__all__ = ["OpenedMap", "open_map", "row_of_grain"]

_MOST_POINTS = 1_000_000


@dataclass(frozen=True, eq=False)
class OpenedMap:
    """A grain map, or a list of point grains.

    Attributes
    ----------
    path : Path
    grains : GrainMap or None
        None for a list of point grains.
    orientations : ndarray (n, 3, 3)
    table : ndarray of GRAIN_DTYPE (n,)
        Row `i` is the grain of label `i` + 1; NaN where the file does not tell.
    material : Material
    completeness : ndarray of float32 (nz, ny, nx) or None
    rotations : ndarray of float32 (nz, ny, nx, 4) or None
        Orientation of every voxel.
    recipe : dict
        Of a map of ours.
    scan : dict
        Distances (mm), tube voltage and number of projections, as the file has them.
    notes : tuple of str
        What was odd about the file.
    phases : tuple of Material
        As in `MeasuredMap`.
    """

    path: Path
    grains: GrainMap | None
    orientations: np.ndarray
    table: np.ndarray
    material: Material
    completeness: np.ndarray | None
    rotations: np.ndarray | None
    recipe: dict[str, Any]
    scan: dict[str, Any]
    notes: tuple[str, ...] = ()
    phases: tuple[Material, ...] = ()

    @property
    def key(self) -> str:
        """Tells this map from every other: a hash of what it holds."""
        digest = hashlib.sha256(np.ascontiguousarray(self.orientations).tobytes())
        if self.grains is not None:
            digest.update(np.ascontiguousarray(self.grains.labels, np.int32).data)
        return digest.hexdigest()[:16]


def open_map(path: str | Path, material: str | None = None) -> OpenedMap:
    """Open a grain map of any known format, or the table (CSV) of a list of point grains.

    Raises
    ------
    ScanError, SettingsError
        It is no grain map, or the material cannot be read.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == ".csv":
        return _open_points(path, material)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        measured = read_grain_map(path, material=material, voxels=True)
    grains = measured.grains
    recipe, table = stored(path)
    ours = table.dtype == GRAIN_DTYPE and len(table) == grains.n_grains
    if not ours or not np.array_equal(table["grain"], grains.grain_ids):
        recipe, table = {}, _table_of(grains, measured.material, measured.completeness)
    facts = {
        "source_sample_mm": measured.source_sample_mm,
        "sample_detector_mm": measured.sample_detector_mm,
        "tube_kv": measured.tube_kv,
        "n_projections": measured.n_projections,
    }
    return OpenedMap(
        path, grains, grains.orientations, table, measured.material, measured.completeness,
        measured.rotations, recipe, facts, tuple(str(w.message) for w in said), measured.phases,
    )  # fmt: skip


def _table_of(grains: GrainMap, crystal: Material, completeness: np.ndarray | None) -> np.ndarray:
    """What a foreign map tells of its grains."""
    table = np.zeros(grains.n_grains, GRAIN_DTYPE)
    shares = np.full(grains.n_grains, np.nan)
    if completeness is not None:
        shares = ndi.mean(completeness, grains.labels, np.arange(1, grains.n_grains + 1))
    for i in range(grains.n_grains):
        table[i] = row_of_grain(
            int(grains.grain_ids[i]), grains.orientations[i], crystal,
            grains.centroids_mm[i], float(grains.spread_deg[i]), float(shares[i]),
        )  # fmt: skip
    table["voxels"], table["diameter_um"] = grains.voxels_per_grain, grains.diameters_um
    return table


def row_of_grain(
    name: int, u: np.ndarray, crystal: Material, center_mm: np.ndarray, spread_deg: float,
    completeness: float,
) -> np.ndarray:  # fmt: skip
    """A row of `GRAIN_DTYPE` of which only orientation, centre and completeness are known."""
    row = np.zeros((), GRAIN_DTYPE)
    row["grain"], row["completeness"], row["spread_deg"] = name, completeness, spread_deg
    row["parts"] = 1
    for column, value in zip(("x_um", "y_um", "z_um"), np.asarray(center_mm) * 1e3, strict=True):
        row[column] = value
    turn(row, u, crystal)
    for column in (
        "exclusive_share", "evidence", "probability", "orientation_sd_deg", "center_sd_um",
    ):  # fmt: skip
        row[column] = np.nan
    return row


def turn(row: np.ndarray, u: np.ndarray, crystal: Material) -> None:
    """Write an orientation into a row."""
    columns = ("phi1_deg", "phi_deg", "phi2_deg", "r1", "r2", "r3", "ipf_r", "ipf_g", "ipf_b")
    values = [
        *matrix_to_bunge(u), *matrix_to_rodrigues(u), *ipf_colour(u, crystal.symmetry)
    ]  # fmt: skip
    for column, value in zip(columns, values, strict=True):
        row[column] = value


def _open_points(path: Path, material: str | None) -> OpenedMap:
    """The list of point grains that `write_result` writes."""
    rows = []
    with contextlib.suppress(OSError, ValueError, csv.Error), open(path, encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames and set(GRAIN_DTYPE.names) <= set(reader.fieldnames):
            for line in reader:
                values = [float(line[name]) for name in GRAIN_DTYPE.names]
                rows.append(tuple(values))
                if len(rows) > _MOST_POINTS:
                    rows = []
                    break
    if not rows:
        raise ScanError(
            f"{path.name} is no list of grains; choose a grain map, or the table (CSV) that "
            "'labdct grains' writes in the far field."
        )
    table = np.array(rows, float)
    made = np.zeros(len(table), GRAIN_DTYPE)
    for k, name in enumerate(GRAIN_DTYPE.names):
        made[name] = table[:, k]
    recipe = read_json(path.with_suffix(".json"))
    named = material
    if named is None:
        known = recipe.get("material", {}) if isinstance(recipe.get("material"), dict) else {}
        named = known.get("name")
    if not named:
        raise ScanError(f"{path.name} does not say of what material its grains are; choose it.")
    vectors = np.stack([made[n] for n in ("r1", "r2", "r3")], axis=1)
    return OpenedMap(
        path, None, rodrigues_to_matrix(vectors), made, find_material(named), None, None, recipe,
        {},
    )  # fmt: skip
