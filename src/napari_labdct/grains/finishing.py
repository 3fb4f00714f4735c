"""From the grains of the search to the map: the final pass on fine voxels, and tidying up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..crystal import misorientation_deg
from .growth import Builder, Grain, VoxelGrid
from .growth_kernels import compete, farthest
from .indexing import list_at
from .kernels import Planes
from .spot_images import SpotImages

__all__ = ["FineMap", "final_pass", "gather", "keep_sound", "mean_orientation", "tidy"]


@dataclass
class FineMap:
    """A map on the final grid.

    Attributes
    ----------
    grid : VoxelGrid
    grains : list of Grain
        Parts of one orientation each; part `i` has label `i` + 1.
    labels : ndarray of int32 (nz, ny, nx)
    score, share : ndarray of float32 (nz, ny, nx)
        Of the winner; `share` is the conditional completeness.
    """

    grid: VoxelGrid
    grains: list[Grain]
    labels: np.ndarray
    score: np.ndarray
    share: np.ndarray

    @classmethod
    def empty(cls, grid: VoxelGrid) -> FineMap:
        """A map without grains."""
        shape = grid.inside.shape
        return cls(
            grid,
            [],
            np.zeros(shape, np.int32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
        )


def final_pass(
    images: SpotImages,
    planes: Planes,
    grains: list[Grain],
    labels: np.ndarray,
    from_grid: VoxelGrid,
    grid: VoxelGrid,
    least: float,
    threads: int,
) -> Iterator[FineMap | None]:
    """Refine every orientation on the voxels it won, flood again, and let all compete.

    Parameters
    ----------
    grains, labels, from_grid
        The map so far.
    grid : VoxelGrid
        Of the new map.
    least : float
        Conditional completeness down to which a grain may claim a voxel.
    threads : int

    Yields
    ------
    None after every few grains, at last the `FineMap`.
    """
    builders = [Builder(images, planes, grid) for _ in range(threads)]
    objects = ndi.find_objects(labels, max_label=len(grains))
    new = FineMap.empty(grid)

    def work(builder: Builder, number: int) -> Any:
        where = objects[number]
        if where is None:
            return None
        local = np.argwhere(labels[where] == number + 1) + [s.start for s in where]
        points = from_grid.corner[:3] + local[:, ::-1] * from_grid.voxel_mm
        grain = polish(builder, grains[number], points)
        if grain is None:
            return None
        region = builder.region(grain, least)
        return (grain, region) if len(region) else None

    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(grains), threads):
            some = range(first, min(first + threads, len(grains)))
            for done in pool.map(work, builders, some):
                if done is None:
                    continue
                grain, region = done
                new.grains.append(grain)
                compete(
                    region.voxels, region.scores, region.shares, len(new.grains),
                    new.labels.ravel(), new.score.ravel(), new.share.ravel(),
                )  # fmt: skip
            yield None
    yield new


def polish(builder: Builder, grain: Grain, points: np.ndarray) -> Grain | None:
    """The grain again, its orientation refined so that all its voxels reflect onto spots."""
    middle = points.mean(axis=0)
    seen = list_at(builder.images, builder.planes, grain.orientation, middle)
    sample = points[farthest(points, 24)]
    u = builder.turn(grain.orientation, seen.only(seen.hits), np.vstack([middle, sample]), 0.03)
    listing = list_at(builder.images, builder.planes, u, middle)
    new = builder.judge(u, listing, middle, None)
    if new is None:
        return None
    return new.replace(
        exclusive_hits=grain.exclusive_hits,
        exclusive_share=grain.exclusive_share,
        stage=grain.stage,
    )


def keep_sound(fine: FineMap, sure: float) -> None:
    """Take away what grains claim outside the sample: doubtful voxels that no sure ones enclose.

    A grain's reflections are missed only slowly as one leaves it, so a low threshold fills the gaps
    between grains but also makes them swell into the air.
    """
    certain = (fine.labels > 0) & (fine.share >= sure)
    ball = ndi.generate_binary_structure(3, 1)
    closed = ndi.binary_closing(np.pad(certain, 4), ball, iterations=3)[4:-4, 4:-4, 4:-4]
    fine.labels[~(closed | certain)] = 0


def tidy(fine: FineMap, least_voxels: int) -> None:
    """Give up parts that hang apart and grains of a few voxels; their neighbours take the place."""
    labels = fine.labels
    counts = np.bincount(labels.ravel(), minlength=len(fine.grains) + 1)
    gone = np.zeros(labels.shape, bool)
    for number, where in enumerate(ndi.find_objects(labels, max_label=len(fine.grains)), 1):
        if where is None:
            continue
        own = labels[where] == number
        if counts[number] < least_voxels:
            gone[where] |= own
            continue
        parts, n = ndi.label(own)
        if n > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            gone[where] |= own & (parts != sizes.argmax())
    if gone.any():
        solid = (labels > 0) & ~gone
        if solid.any():
            nearest = ndi.distance_transform_edt(
                ~solid, return_distances=False, return_indices=True
            )
            labels[gone] = labels[tuple(axis[gone] for axis in nearest)]
        else:
            labels[gone] = 0
    _renumber(fine)


def _renumber(fine: FineMap) -> None:
    there = np.flatnonzero(np.bincount(fine.labels.ravel(), minlength=len(fine.grains) + 1)[1:])
    number = np.zeros(len(fine.grains) + 1, np.int32)
    number[there + 1] = np.arange(1, len(there) + 1)
    fine.labels = number[fine.labels]
    fine.grains = [fine.grains[i] for i in there]


def gather(fine: FineMap, symmetry: np.ndarray, within_deg: float) -> np.ndarray:
    """Which parts are one grain: touching ones whose orientations run into one another.

    Returns
    -------
    ndarray of int (n parts,)
        Number of the grain of each part, 0-based, in the order of the parts.
    """
    n = len(fine.grains)
    pairs = touching(fine.labels)
    if len(pairs):
        u = np.array([g.orientation for g in fine.grains])
        apart = misorientation_deg(u[pairs[:, 0]], u[pairs[:, 1]], symmetry)
        pairs = pairs[apart < within_deg]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    found = connected_components(graph, directed=False)[1]
    # numbered as their first parts are
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def touching(labels: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of parts (0-based) that share faces of voxels."""
    found = []
    for axis in range(3):
        a = np.moveaxis(labels, axis, 0)
        first, second = a[:-1].ravel(), a[1:].ravel()
        differ = (first != second) & (first > 0) & (second > 0)
        found.append(np.stack([first[differ], second[differ]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1) - 1
    return np.unique(pairs, axis=0)


def mean_orientation(
    orientations: np.ndarray, weights: np.ndarray, symmetry: np.ndarray
) -> tuple[np.ndarray, float]:
    """Mean (3, 3) of orientations near each other, and their root-mean-square spread in degrees."""
    reference = orientations[int(np.argmax(weights))]
    difference = np.einsum("ji,njk->nik", reference, orientations)
    # U S is the same crystal as U: take the S that brings each nearest to the reference.
    traces = np.einsum("sij,nji->ns", symmetry, difference)
    best = symmetry[traces.argmax(axis=1)]
    near = np.einsum("nij,njk->nik", orientations, best)
    total = np.einsum("n,nij->ij", weights / weights.sum(), near)
    left, _, right = np.linalg.svd(total)
    mean = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    apart = misorientation_deg(mean, orientations, symmetry)
    return mean, float(np.sqrt((weights * apart**2).sum() / weights.sum()))
