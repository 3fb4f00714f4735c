"""From a seed to the voxels of a grain, and who gets a voxel that several grains could hold.

A voxel belongs to a grain if (nearly) all reflections that the grain shows at its core are seen
from that voxel too: its *conditional completeness*. Weak reflections that no one could segment do
not count, so a small grain competes fairly with a large one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .growth_kernels import farthest, flood
from .indexing import Candidate, Listing, Stage, list_at, worths
from .kernels import DISTANCE, Planes, refine_turn
from .spot_images import SpotImages

__all__ = ["Builder", "Grain", "Region", "VoxelGrid"]

#: Fewest reflections on which a grain can grow.
LEAST_REFLECTIONS = 15


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A regular grid of voxels and which of them lie in the sample.

    Attributes
    ----------
    inside : ndarray of bool (nz, ny, nx)
    voxel_mm : float
    center_mm : ndarray (3,)
        (x, y, z) of the middle.
    """

    inside: np.ndarray
    voxel_mm: float
    center_mm: np.ndarray

    @property
    def corner(self) -> np.ndarray:
        """x, y, z of the first voxel and the edge (4,), as the kernels want it."""
        middle = (np.array(self.inside.shape)[::-1] - 1) / 2
        return np.array([*(self.center_mm - middle * self.voxel_mm), self.voxel_mm])

    def points_mm(self, voxels: np.ndarray) -> np.ndarray:
        """Centres (n, 3) of flat voxel indices."""
        index = np.stack(np.unravel_index(voxels, self.inside.shape), axis=-1)[..., ::-1]
        return self.corner[:3] + index * self.voxel_mm

    def voxel_at(self, point_mm: np.ndarray) -> int:
        """Flat index of the voxel that holds a point, or the nearest one at the edge."""
        index = np.round((np.asarray(point_mm) - self.corner[:3]) / self.voxel_mm).astype(int)
        index = np.clip(index[::-1], 0, np.array(self.inside.shape) - 1)
        return int(np.ravel_multi_index(tuple(index), self.inside.shape))

    @property
    def radius_mm(self) -> float:
        """Largest distance of a voxel from the origin, as seen along and across the axis."""
        points = self.points_mm(np.flatnonzero(self.inside))
        return float(np.linalg.norm(points, axis=1).max())


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels (flat) a grain could hold, their conditional completeness and score."""

    voxels: np.ndarray
    shares: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.voxels)


@dataclass(frozen=True, eq=False)
class Grain:
    """One grain while the map is made.

    Attributes
    ----------
    orientation : ndarray (3, 3)
    core_mm : ndarray (3,)
        The point whose reflections it is judged by.
    completeness : float
        Of all reflections expected there.
    expected, hits : int
    exclusive_hits : int
        Reflections that no grain found before explains.
    exclusive_share : float
    core : Listing
        The reflections seen at the core.
    stage : str
    """

    orientation: np.ndarray
    core_mm: np.ndarray
    completeness: float
    expected: int
    hits: int
    exclusive_hits: int
    exclusive_share: float
    core: Listing
    stage: str = ""

    def replace(self, **changes: Any) -> Grain:
        """The same grain with some values changed."""
        return replace(self, **changes)


class Builder:
    """Grows candidates on a grid; one a thread.

    Parameters
    ----------
    images : SpotImages
    planes : Planes
    grid : VoxelGrid
    tie : float
        Weight of how full of spot the pixels are, against the share of reflections seen.
    """

    def __init__(
        self, images: SpotImages, planes: Planes, grid: VoxelGrid, tie: float = 0.3
    ) -> None:
        self.images, self.planes, self.grid = images, planes, grid
        self._tie = tie
        self._stamps = np.zeros(grid.inside.shape, np.int32)
        self._stamp = 0
        size = int(grid.inside.sum()) * 2 + 64
        size = min(size, 4_000_000)
        self._out = np.empty(size, np.int32)
        self._shares = np.empty(size, np.float32)
        self._fulls = np.empty(size, np.float32)
        values = np.arange(256)
        self._fullness = (values >> 5) / 7.0
        self._sharp = worths((2.5, 1.0))

    def flood(
        self, listing: Listing, start: int, least: float, tolerance: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Voxels, shares and fullness of `growth_kernels.flood`."""
        self._stamp += 1
        n = flood(
            self.images.views, listing.vectors, listing.frames, len(listing), tolerance, least,
            self._fullness, self.grid.corner, self.grid.inside, self._stamps, self._stamp, start,
            self._out, self._shares, self._fulls,
        )  # fmt: skip
        return self._out[:n].copy(), self._shares[:n].copy(), self._fulls[:n].copy()

    def center(self, candidate: Candidate) -> tuple[np.ndarray, Listing, np.ndarray]:
        """Move a candidate to where most of its reflections are seen.

        Returns
        -------
        orientation : ndarray (3, 3)
        listing : Listing
            At the new centre.
        point_mm : ndarray (3,)
        """
        u, point = candidate.orientation, candidate.point_mm
        listing = list_at(self.images, self.planes, u, point)
        best = (u, listing, point)
        for _ in range(4):
            c = listing.completeness
            least = c - max(0.06, 0.15 * c)
            voxels, shares, _ = self.flood(listing, self.grid.voxel_at(point), least)
            if len(voxels) == 0:
                break
            weights = (shares - least).astype(float) ** 2 + 1e-9
            points = self.grid.points_mm(voxels)
            middle = weights @ points / weights.sum()
            spread = points[farthest(points, 12)]
            u = self.turn(u, listing.only(listing.hits), np.vstack([middle, spread]))
            listing = list_at(self.images, self.planes, u, middle)
            if listing.completeness < best[1].completeness - 0.02:
                break
            moved = np.linalg.norm(middle - point)
            point = middle
            best = (u, listing, point)
            if moved < 0.3 * self.grid.voxel_mm:
                break
        return best

    def turn(
        self, orientation: np.ndarray, seen: Listing, points: np.ndarray, step_deg: float = 0.05
    ) -> np.ndarray:
        """The orientation that brings the reflections of all `points` (n, 3) onto spots."""
        turn, _ = refine_turn(
            self.images.views, seen.vectors, seen.frames, len(seen),
            np.ascontiguousarray(points), self._sharp, np.radians(step_deg), np.radians(0.003),
        )  # fmt: skip
        return turn @ orientation

    def judge(
        self, orientation: np.ndarray, listing: Listing, point_mm: np.ndarray, stage: Stage | None
    ) -> Grain | None:
        """The grain of a listing, or nothing if it is not good enough for the stage."""
        hits, share = listing.exclusive()
        core = listing.only((listing.values & DISTANCE) <= 1)
        if len(core) < LEAST_REFLECTIONS:
            return None
        if stage is not None and (
            listing.completeness < stage.completeness
            or hits < stage.exclusive_hits
            or share < stage.exclusive_share
        ):
            return None
        return Grain(
            orientation,
            point_mm,
            listing.completeness,
            len(listing),
            int(listing.hits.sum()),
            hits,
            share,
            core,
            stage.name if stage else "",
        )

    def region(self, grain: Grain, least: float, tolerance: int = 0) -> Region:
        """What a grain could hold: its conditional flood from the core."""
        start = self.grid.voxel_at(grain.core_mm)
        voxels, shares, fulls = self.flood(grain.core, start, least, tolerance)
        full = max(float(((grain.core.values >> 5) / 7.0).mean()), 1e-6)
        scores = shares + self._tie * np.minimum(fulls / full, 1.3)
        return Region(voxels, shares, scores.astype(np.float32))

    def build(self, candidate: Candidate, stage: Stage) -> tuple[Grain, Region] | None:
        """Grow a candidate; nothing if the stage refuses it."""
        listing = list_at(self.images, self.planes, candidate.orientation, candidate.point_mm)
        hits, _ = listing.exclusive()
        if hits < stage.exclusive_hits:
            return None
        grain = self.judge(*self.center(candidate), stage)
        if grain is None:
            return None
        region = self.region(grain, 0.8)
        return (grain, region) if len(region) else None
