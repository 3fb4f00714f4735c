"""What a grain mapping gives: the map, the table, and the files they are written to."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..core.errors import OutputError, ScanError
from ..core.files import atomic, make_folder, read_json, remove, write_atomically
from ..core.locks import alone
from ..core.outputs import as_before, taken
from ..crystal import Material, ipf_colour, matrix_to_bunge, matrix_to_rodrigues
from ..crystal.grain_map import GrainMap
from ..io.grainmapper_writer import write_grainmapper
from .checks import DOUBTFUL, doubt
from .finishing import FineMap, gather, mean_orientation
from .growth import Grain
from .trust import ChanceLevel, evidence, noise_of, uncertainties

if TYPE_CHECKING:
    from ..scan.geometry import ScanGeometry
    from ..scan.scan import Scan
    from .points import PointSearch
    from .settings import GrainSettings
    from .spot_images import SpotImages

#: Rows of the table that are made between two steps.
_AT_ONCE = 16

__all__ = ["GRAIN_DTYPE", "GrainResult", "write_grain_csv", "write_result", "written"]

GRAIN_DTYPE = np.dtype(
    [
        ("grain", "i4"),
        ("x_um", "f8"), ("y_um", "f8"), ("z_um", "f8"),
        ("voxels", "i4"), ("diameter_um", "f8"),
        ("phi1_deg", "f8"), ("phi_deg", "f8"), ("phi2_deg", "f8"),
        ("r1", "f8"), ("r2", "f8"), ("r3", "f8"),
        ("spread_deg", "f8"), ("parts", "i4"),
        ("completeness", "f8"), ("expected", "i4"), ("hits", "i4"),
        ("exclusive_hits", "i4"), ("exclusive_share", "f8"),
        ("evidence", "f8"), ("probability", "f8"),
        ("orientation_sd_deg", "f8"), ("center_sd_um", "f8"),
        ("ipf_r", "f8"), ("ipf_g", "f8"), ("ipf_b", "f8"),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GrainResult:
    """Grains of a scan.

    Attributes
    ----------
    grains : GrainMap or None
        None for a list of point grains.
    part_labels : ndarray of int32 (nz, ny, nx) or None
        Parts of one orientation each, `i` + 1 for ``part_orientations[i]``: the orientation field.
    part_orientations : ndarray (m, 3, 3)
    completeness : ndarray of float32 (nz, ny, nx) or None
        Conditional completeness of every voxel.
    orientations : ndarray (n, 3, 3)
        Mean orientation of each grain.
    table : ndarray of GRAIN_DTYPE (n,)
    doubtful : int
        Grains left out because their probability was below the confidence asked for.
    material : Material
    recipe : dict
    scan : dict
        Distances (mm), tube voltage and number of projections, for the file.
    """

    grains: GrainMap | None
    part_labels: np.ndarray | None
    part_orientations: np.ndarray
    completeness: np.ndarray | None
    orientations: np.ndarray
    table: np.ndarray
    doubtful: int
    material: Material
    recipe: dict[str, Any]
    scan: dict[str, Any]

    @property
    def doubt(self) -> str:
        """A sentence if even the best grains show few of their reflections; else empty."""
        best = float(np.quantile(self.table["completeness"], 0.9))
        return doubt(best, self.material.name) if best < DOUBTFUL else ""


class Mapped(Protocol):
    """What a result tells of the job that made it; see `mapping.GrainMapping`."""

    scan: Scan
    settings: GrainSettings
    material: Material
    geometry: ScanGeometry
    images: SpotImages

    def recipe(self) -> dict[str, Any]: ...


def assemble(
    job: Mapped, fine: FineMap, seeds: int, chance: ChanceLevel
) -> Iterator[GrainResult | None]:
    """The result of a volume: parts gathered into grains, doubtful grains left out.

    Yields
    ------
    None after every few grains, at last the `GrainResult`

    Raises
    ------
    ScanError
        No grain is left.
    """
    material = job.material
    grain_of = gather(fine, material.symmetry, job.settings.run_together_deg)
    voxels = np.bincount(fine.labels.ravel(), minlength=len(fine.grains) + 1)[1:]
    rows, orientations = [], []
    values = np.array([_evidence(g, chance) for g in fine.grains])
    number = int(grain_of.max(initial=-1)) + 1
    for k in range(number):
        parts = np.flatnonzero(grain_of == k)
        main = fine.grains[parts[np.argmax(voxels[parts])]]
        u, spread = mean_orientation(
            np.array([fine.grains[i].orientation for i in parts]),
            voxels[parts].astype(float),
            material.symmetry,
        )
        orientations.append(u)
        rows.append(_row(job, main, u, spread, len(parts), float(values[parts].max())))
        if k % _AT_ONCE == 0:
            yield None
    table = np.array(rows, GRAIN_DTYPE) if rows else np.zeros(0, GRAIN_DTYPE)
    table["probability"] = chance.probability(table["evidence"], seeds)
    kept = np.flatnonzero(table["probability"] >= job.settings.confidence)
    if len(kept) == 0:
        raise _nothing(job, len(table))
    order = np.full(number + 1, 0, np.int32)
    order[kept + 1] = np.arange(1, len(kept) + 1)
    labels = order[np.concatenate([[0], grain_of + 1])[fine.labels]]
    part_labels = np.where(labels > 0, fine.labels, 0).astype(np.int32)
    means = np.array(orientations)[kept]
    grid = fine.grid
    grains = GrainMap(labels, grid.voxel_mm * 1e3, means, tuple(grid.center_mm.tolist()))
    table = table[kept]
    table["grain"] = np.arange(1, len(kept) + 1)
    table["voxels"], table["diameter_um"] = grains.voxels_per_grain, grains.diameters_um
    for axis, name in enumerate(("x_um", "y_um", "z_um")):
        table[name] = grains.centroids_mm[:, axis] * 1e3
    yield None
    yield GrainResult(
        grains,
        part_labels,
        np.array([g.orientation for g in fine.grains]),
        np.where(labels > 0, fine.share, 0).astype(np.float32),
        means,
        table,
        number - len(kept),
        material,
        job.recipe(),
        _scan_facts(job),
    )


def list_of_points(
    job: Mapped, search: PointSearch, chance: ChanceLevel
) -> Iterator[GrainResult | None]:
    """The result of a list of point grains.

    Yields
    ------
    None after every few grains, at last the `GrainResult`

    Raises
    ------
    ScanError
        No grain is left.
    """
    rows = []
    for grain in search.grains:
        row = _row(job, grain, grain.orientation, 0.0, 1, _evidence(grain, chance))
        rows.append(row)
        if len(rows) % _AT_ONCE == 0:
            yield None
    table = np.array(rows, GRAIN_DTYPE) if rows else np.zeros(0, GRAIN_DTYPE)
    table["probability"] = chance.probability(table["evidence"], search.seeds)
    kept = np.flatnonzero(table["probability"] >= job.settings.confidence)
    if len(kept) == 0:
        raise _nothing(job, len(table))
    table = table[kept]
    table["grain"] = np.arange(1, len(kept) + 1)
    orientations = np.array([search.grains[i].orientation for i in kept])
    yield GrainResult(
        None, None, orientations, None, orientations, table, len(rows) - len(kept), job.material,
        job.recipe(), _scan_facts(job),
    )  # fmt: skip


def _nothing(job: Mapped, doubtful: int) -> ScanError:
    end = f" ({doubtful} were doubtful)" if doubtful else ""
    s = job.settings
    where = f"the sample mask {Path(s.mask).name}" if s.mask else f"the {s.sample}"
    miss = "" if s.sample == "spots" and not s.mask else f"whether {where} holds the sample, "
    return ScanError(
        f"No grain was found{end}; check {miss}the geometry, the angles and the material ('labdct "
        "calibrate' tries directions and materials), or look longer with --effort thorough."
    )


def _evidence(grain: Grain, chance: ChanceLevel) -> float:
    free = round(grain.exclusive_hits / max(grain.exclusive_share, 1e-6))
    return evidence(grain.exclusive_hits, free, chance.coverage)


def _row(
    job: Mapped, grain: Grain, u: np.ndarray, spread: float, parts: int, value: float
) -> tuple[Any, ...]:
    core = grain.core
    some = slice(None, None, max(1, len(core) // 60))
    scale = np.sqrt(len(core.frames[some]) / max(len(core), 1))
    turn_sd, center_sd = uncertainties(
        job.images, core.vectors[some], core.frames[some], grain.core_mm, noise_of(core.values)
    )
    return (
        0, *(grain.core_mm * 1e3), 0, np.nan, *matrix_to_bunge(u), *matrix_to_rodrigues(u), spread,
        parts, grain.completeness, grain.expected, grain.hits, grain.exclusive_hits,
        grain.exclusive_share, value, 1.0, turn_sd * scale, center_sd * scale,
        *ipf_colour(u, job.material.symmetry),
    )  # fmt: skip


def _scan_facts(job: Mapped) -> dict[str, Any]:
    return {
        "source_sample_mm": job.geometry.source_sample_mm,
        "sample_detector_mm": job.geometry.sample_detector_mm,
        "tube_kv": job.scan.description.tube_kv,
        "n_projections": job.scan.n_frames,
    }


def write_grain_csv(path: str | Path, table: np.ndarray) -> Path:
    """Write a grain table; a crash leaves the old file or the new one.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.dtype.names or ())
        writer.writerows([[f"{v:.9g}" for v in row] for row in table.tolist()])
    return path


def written(
    path: str | Path, made: dict[str, Any], points: bool, overwrite: bool = False
) -> list[Path]:
    """The files of the very result of a recipe, if it is there; anything else is refused.

    A table that a kill left out is written from the map.

    Parameters
    ----------
    path : path
        As for `write_result`.
    made : dict
        The recipe.
    points : bool
        It is a list of point grains.
    overwrite : bool
        Whatever else is there may be replaced.

    Raises
    ------
    OutputError
        Something else is there.
    """
    path = Path(path).expanduser()
    table, side = path.with_suffix(".csv"), path.with_suffix(".json")
    if points:
        if not path.exists() and as_before(read_json(side), made) is not None:
            return [table, side] if table.exists() else []
    elif path.exists():
        before, rows = stored(path)
        if as_before(before, made) is not None:
            if not table.exists():
                write_grain_csv(table, rows)
            return [path, table]
    there = [p for p in (path, table, *([side] if points else [])) if p.exists()]
    if there and not overwrite:
        raise taken(there[0])
    return []


def stored(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Recipe and table of a map of ours; nothing of another file."""
    import h5py

    with contextlib.suppress(OSError, KeyError, ValueError, TypeError), h5py.File(path) as file:
        own = file["napari_labdct"]
        return json.loads(own["Recipe"][()]), own["Grains"][()]
    return {}, np.zeros(0, GRAIN_DTYPE)


def write_result(path: str | Path, result: GrainResult) -> list[Path]:
    """Write a map (HDF5, GrainMapper3D's layout, version 4) and its table (CSV) beside it.

    A list of point grains has no volume, so only the table is written, and the recipe as JSON.

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise OutputError(f"{path.name} must end in .h5; give such a name.")
    make_folder(path.parent)
    table = path.with_suffix(".csv")
    if result.grains is None:
        with alone(path):
            # The recipe first, so that a table without it is somebody else's.
            side = path.with_suffix(".json")
            remove(path)  # a map that this list replaces
            write_atomically(side, json.dumps(result.recipe, indent=1))
            return [write_grain_csv(table, result.table), side]
    with alone(path):
        write_grainmapper(
            path, result.grains, result.material, **result.scan,
            more=lambda file: _add_fields(file, result),
        )  # fmt: skip
        return [path, write_grain_csv(table, result.table)]


def _add_fields(file: Any, result: GrainResult) -> None:
    """Completeness, orientation field, colours, table and recipe, into an open HDF5 file."""
    parts = result.part_orientations
    vectors = np.concatenate([np.zeros((1, 3)), matrix_to_rodrigues(parts)]).astype(np.float32)
    data = file["LabDCT/Data"]
    fields = {
        "Completeness": result.completeness,
        "Rodrigues": vectors[result.part_labels],
    }
    for name, direction in (
        ("IPF100", (1, 0, 0)), ("IPF010", (0, 1, 0)), ("IPF001", (0, 0, 1)),
    ):  # fmt: skip
        colour = ipf_colour(parts, result.material.symmetry, direction) * 255
        table = np.concatenate([np.zeros((1, 3)), colour]).round().astype(np.uint8)
        fields[name] = table[result.part_labels]
    for name, volume in fields.items():
        if name in data:
            del data[name]
        data.create_dataset(name, data=volume, compression="gzip", compression_opts=1)
    own = file.create_group("napari_labdct")
    own["Grains"] = result.table
    own["Recipe"] = json.dumps(result.recipe)
