"""A grain at a point that somebody chose: the search's own steps, with less asked of the grain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi

from ..core.errors import ScanError
from ..core.jobs import Progress
from ..crystal import Material, misorientation_deg
from .edited_map import EditedMap
from .growth import Builder, VoxelGrid
from .indexing import PairTable, Voter, list_at
from .kernels import Planes, explain
from .opened_map import row_of_grain
from .search import SAME_DEG, stages_for
from .spot_images import SpotImages, spot_length_px

__all__ = ["Seeded", "seed_at"]

#: A person has looked at the place, so fewer reflections of its own are asked of the grain.
_EXCLUSIVE_HITS, _EXCLUSIVE_SHARE, _COMPLETENESS = 8, 0.1, 0.2
#: How far outside the map a grain may grow, voxels.
_BEYOND = 2


@dataclass(frozen=True, eq=False)
class Seeded:
    """A grain found at a point: its row, its orientation (3, 3), and flat voxels."""

    row: np.ndarray
    orientation: np.ndarray
    voxels: np.ndarray


def seed_at(
    images: SpotImages,
    planes: Planes,
    material: Material,
    edited: EditedMap,
    point_mm: np.ndarray,
) -> Iterator[Progress | Seeded]:
    """Look for a grain at a point of the sample that the present grains do not explain.

    Parameters
    ----------
    images : SpotImages
        Loaded; what was explained is forgotten.
    planes : Planes
    material : Material
    edited : EditedMap
    point_mm : ndarray (3,)
        (x, y, z).

    Yields
    ------
    Progress, and at the end the `Seeded`

    Raises
    ------
    ScanError
        No grain is there, or the map is a list of point grains.
    """
    before = edited.opened.grains
    if before is None:
        raise ScanError("A grain is seeded at a point of a volume; this is a list of grains.")
    numbers = edited.numbers
    total = len(numbers) + 2
    grid = VoxelGrid(_inside(edited), before.voxel_um * 1e-3, np.array(before.center_mm, float))
    images.forget()
    for done, number in enumerate(numbers.tolist()):
        _explain(images, planes, edited, grid, number)
        yield Progress(done, total, "setting aside what is known")
    size = spot_length_px(images.images) * images.geometry.pixel_um / images.geometry.magnification
    stage = replace(
        stages_for(size, len(images.omega_deg), "thorough")[-1],
        completeness=_COMPLETENESS, exclusive_hits=_EXCLUSIVE_HITS,
        exclusive_share=_EXCLUSIVE_SHARE, thin=1,
    )  # fmt: skip
    table = PairTable(planes, material.symmetry, 0.36)
    candidates = Voter(images, planes, table, material, stage).candidates(point_mm)
    yield Progress(total - 2, total, "growing the grain")
    builder = Builder(images, planes, grid)
    known = edited.orientations[numbers - 1]
    again: int | None = None
    for candidate in candidates:
        apart = misorientation_deg(candidate.orientation, known, material.symmetry)
        if len(apart) and apart.min() < SAME_DEG:
            again = int(numbers[apart.argmin()])
            continue
        built = builder.build(candidate, stage)
        if built is None:
            continue
        grain, region = built
        taken = _won(edited, region.voxels, region.shares)
        if len(taken):
            row = row_of_grain(
                0, grain.orientation, material, grain.core_mm, 0.0, grain.completeness
            )
            row["expected"], row["hits"] = grain.expected, grain.hits
            row["exclusive_hits"] = grain.exclusive_hits
            row["exclusive_share"] = grain.exclusive_share
            yield Progress(total, total, "a grain was found")
            yield Seeded(row, grain.orientation, taken)
            return
    place = ", ".join(f"{1e3 * v:.0f}" for v in point_mm)
    if again is not None:
        raise ScanError(
            f"At ({place}) um the spots show grain {edited.name(again)} again, and no other."
        )
    raise ScanError(
        f"At ({place}) um no grain stands out of what the known grains explain; try another point."
    )


def _inside(edited: EditedMap) -> np.ndarray:
    """Where a grain may grow: the map as it was opened, its holes, and two voxels more."""
    solid = edited.opened.grains.labels > 0
    grown = ndi.binary_dilation(np.pad(solid, _BEYOND), iterations=_BEYOND)
    inner = (slice(_BEYOND, -_BEYOND),) * 3
    return np.ascontiguousarray(ndi.binary_fill_holes(grown)[inner])


def _explain(
    images: SpotImages, planes: Planes, edited: EditedMap, grid: VoxelGrid, number: int
) -> None:
    """Mark the spots of a grain, of all its voxels, as explained."""
    voxels = np.flatnonzero(edited.labels == number)
    points = grid.points_mm(voxels) if len(voxels) else edited.center_mm(number)[None]
    seen = list_at(images, planes, edited.orientations[number - 1], edited.center_mm(number))
    seen = seen.only(seen.near(1))
    explain(images.views, seen.vectors, seen.frames, len(seen), points, 1)


def _won(edited: EditedMap, voxels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Voxels that are empty, or that the new grain explains better than the one that is there."""
    held = edited.labels.ravel()[voxels] > 0
    share = edited.opened.completeness
    worth = share.ravel()[voxels] if share is not None else np.full(len(voxels), 0.9)
    return voxels[~held | (shares > worth)].astype(np.int64)
