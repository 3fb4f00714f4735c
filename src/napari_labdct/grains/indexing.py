"""Which crystals hold a point of the sample: votes of spot pixels, then pairs of plane normals.

A spot pixel and a point of the sample fix a plane normal: the bisector of the ray that comes from
the source and the ray that goes to the pixel. A normal of a crystal at that point must be seen
again in other projections; those that are, vote. Two normals and the angle between them name a
pair of lattice planes and so an orientation. No dictionary of orientations is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..crystal import Material, misorientation_deg
from .kernels import (
    DISTANCE,
    EXPLAINED,
    MOST_REFLECTIONS,
    Planes,
    list_reflections,
    refine_turn,
    soft_share,
)
from .spot_images import SpotImages
from .voting_kernels import distinct_normals, orientations_from_pairs, vote

__all__ = ["Candidate", "Listing", "Stage", "PairTable", "Voter", "list_at"]

_MOST_NORMALS = 60000
_CELLS = 256


@dataclass(frozen=True, eq=False)
class Listing:
    """Reflections of one orientation at one point; see `kernels.list_reflections`."""

    vectors: np.ndarray
    frames: np.ndarray
    planes: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def hits(self) -> np.ndarray:
        """Whether a spot is seen (m,), explained or not."""
        return (self.values & DISTANCE) == 0

    @property
    def completeness(self) -> float:
        """Share of the expected reflections that are seen."""
        return float(self.hits.mean()) if len(self) else 0.0

    def near(self, tolerance: int) -> np.ndarray:
        """Whether a spot lies within `tolerance` px (m,)."""
        return (self.values & DISTANCE) <= tolerance

    def exclusive(self, tolerance: int = 0) -> tuple[int, float]:
        """Reflections seen in pixels that no grain explains: how many, and their share of those
        that no grain could have caused."""
        free = (self.values & EXPLAINED) == 0
        hits = int((self.near(tolerance) & free).sum())
        return hits, hits / max(int(free.sum()), 1)

    def only(self, keep: np.ndarray) -> Listing:
        """The reflections chosen by a boolean array."""
        return Listing(self.vectors[keep], self.frames[keep], self.planes[keep], self.values[keep])


def list_at(
    images: SpotImages, planes: Planes, orientation: np.ndarray, point_mm: np.ndarray
) -> Listing:
    """Every reflection that a point of a crystal should give, and what is seen there."""
    vectors = np.empty((MOST_REFLECTIONS, 6))
    frames = np.empty(MOST_REFLECTIONS, np.int32)
    which = np.empty(MOST_REFLECTIONS, np.int32)
    values = np.empty(MOST_REFLECTIONS, np.uint8)
    n = list_reflections(
        images.views, planes, orientation, np.asarray(point_mm, float), vectors, frames, which,
        values,
    )  # fmt: skip
    return Listing(vectors[:n].copy(), frames[:n].copy(), which[:n].copy(), values[:n].copy())


class PairTable:
    """Angles between lattice planes, each pair that symmetry makes different once.

    Parameters
    ----------
    planes : Planes
    symmetry : ndarray (n, 3, 3)
        Proper rotations of the crystal.
    near_deg : float
        How far a normal may be from a plane's to be explained by it.
    """

    def __init__(self, planes: Planes, symmetry: np.ndarray, near_deg: float) -> None:
        normals = planes.normal
        signed = np.concatenate([normals, -normals])
        angles, frames = [], []
        for a in _one_of_each(signed, symmetry):
            keeps_a = symmetry[(symmetry @ a) @ a > 1 - 1e-6]
            others = signed[np.abs(signed @ a) < 1 - 1e-6]
            for b in _one_of_each(others, keeps_a):
                angle = np.arccos(np.clip(a @ b, -1, 1))
                first = (a + b) / np.linalg.norm(a + b)
                second = (a - b) / np.linalg.norm(a - b)
                angles.append(angle)
                frames.append(np.stack([first, second, np.cross(first, second)], axis=1))
        order = np.argsort(angles)
        self.angles = np.array(angles)[order]
        self.frames = np.ascontiguousarray(np.array(frames)[order])
        self.normals = normals
        self.near_cos = float(np.cos(np.radians(near_deg)))
        self.cells = _cells(normals, near_deg)


def _one_of_each(vectors: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """One vector of each set that rotations carry into one another."""
    kept: list[np.ndarray] = []
    for vector in vectors:
        images = rotations @ vector
        if all((images @ other).max() < 1 - 1e-6 for other in kept):
            kept.append(vector)
    return np.array(kept)


def _cells(normals: np.ndarray, near_deg: float) -> np.ndarray:
    """Index of the plane whose normal may be within `near_deg` of each cell of a cube, or -1."""
    line = (np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1
    u, v = np.meshgrid(line, line, indexing="ij")
    one = np.ones_like(u)
    faces = [np.stack(axes, axis=-1) for axes in ((one, u, v), (u, one, v), (u, v, one))]
    directions = np.array(faces).reshape(-1, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosine = np.abs(directions @ normals.T)
    near = np.cos(np.radians(near_deg) + 1.5 / _CELLS)
    nearest = cosine.argmax(axis=1)
    return np.where(cosine.max(axis=1) > near, nearest, -1).astype(np.int16)


@dataclass(frozen=True)
class Stage:
    """How hard one pass over the seeds looks.

    Attributes
    ----------
    name : str
    stride_um : float
        Distance of seeds.
    votes : int
        Projections whose pixels vote, of a full turn.
    detection : float
        Expected share of reflections that are seen, q.
    lost : float
        Evidence that may be lost before a normal is given up.
    normals : int
        How many normals make pairs.
    completeness : float
        Least completeness of a candidate.
    exclusive_hits : int
    exclusive_share : float
        What a candidate needs of reflections that no other grain explains.
    settled : float
        Conditional completeness above which a voxel needs no other grain.
    failures : int
        Seeds in succession without a new grain after which the stage ends; 0: never.
    thin : int
        Every how many-th pixel of a spot votes.
    """

    name: str
    stride_um: float
    votes: int
    detection: float
    lost: float
    normals: int
    completeness: float
    exclusive_hits: int
    exclusive_share: float
    settled: float
    failures: int
    thin: int


@dataclass(frozen=True, eq=False)
class Candidate:
    """An orientation (3, 3) that may hold the seed at `point_mm`, and the share of its reflections
    that are seen there (one pixel nearer than the voter's tolerance)."""

    orientation: np.ndarray
    point_mm: np.ndarray
    completeness: float


def worths(reaches: tuple[float, ...]) -> np.ndarray:
    """Tables (n, 256) that value a byte by max(0, 1 - d / reach)."""
    distance = (np.arange(256) & DISTANCE).astype(float)
    tables = np.array([np.maximum(0, 1 - distance / reach) for reach in reaches])
    tables[:, 255] = 0
    return tables


class Voter:
    """Finds candidates at seeds; one for a stage.

    Parameters
    ----------
    images : SpotImages
    planes : Planes
    table : PairTable
    material : Material
    stage : Stage
    most : int
        Candidates of a seed at most.
    tolerance : int
        How far from a spot, px, a normal still counts as seen: more where the geometry is unsure.
    """

    def __init__(
        self,
        images: SpotImages,
        planes: Planes,
        table: PairTable,
        material: Material,
        stage: Stage,
        most: int = 6,
        tolerance: int = 1,
    ) -> None:
        self.images, self.planes, self.table, self.stage = images, planes, table, stage
        self._symmetry, self._most = material.symmetry, most
        n = len(images.omega_deg)
        count = min(n, max(4, stage.votes))
        self._frames = np.unique(np.linspace(0, n, count, endpoint=False).astype(np.int64))
        self._tolerance = tolerance
        self._tables = worths((8.0, 4.0, 2.5) if tolerance == 1 else (14.0, 8.0, 3.0 * tolerance))
        self.update()

    def update(self) -> None:
        """Take notice of pixels that were explained since."""
        covered = min(max(self.images.coverage(self._tolerance), 1e-3), 0.5)
        q = max(self.stage.detection, covered + 0.05)
        self._gain = float(np.log(q / covered))
        self._loss = float(-np.log((1 - q) / (1 - covered)))
        self._pixels = self.images.spot_pixels(self._frames, self.stage.thin)

    def normals_at(self, point_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plane normals (k, 3) that are confirmed at a point, with their evidence (k,)."""
        found, scores = np.empty((_MOST_NORMALS, 3)), np.empty(_MOST_NORMALS)
        n = vote(
            self.images.views, point_mm, self._frames, *self._pixels, self._gain, self._loss,
            self.stage.lost, self._tolerance, found, scores,
        )  # fmt: skip
        kept, weights = np.empty((self.stage.normals, 3)), np.empty(self.stage.normals)
        order = np.argsort(-scores[:n], kind="stable")
        k = distinct_normals(found, scores, order, float(np.cos(np.radians(0.25))), kept, weights)
        return kept[:k], weights[:k]

    def candidates(self, point_mm: np.ndarray) -> list[Candidate]:
        """Orientations at a seed, refined, best first."""
        point_mm = np.asarray(point_mm, float)
        normals, weights = self.normals_at(point_mm)
        if len(weights) < 3:
            return []
        found, scores = np.empty((64, 3, 3)), np.empty(64)
        table = self.table
        n = orientations_from_pairs(
            normals, weights, table.angles, table.frames, table.cells, _CELLS, table.normals,
            np.radians(0.35), table.near_cos, 3, found, scores,
        )  # fmt: skip
        listings = [list_at(self.images, self.planes, u, point_mm) for u in found[:n]]
        soft = np.array([soft_share(x.values, len(x), 6.0) for x in listings])
        chosen: list[int] = []
        for i in np.argsort(-soft, kind="stable"):
            if soft[i] < 0.7 * self.stage.completeness or len(chosen) == self._most:
                break
            apart = misorientation_deg(found[i], found[chosen], self._symmetry)
            if len(chosen) == 0 or apart.min() > 0.5:
                chosen.append(int(i))
        refined = [self._refine(found[i], point_mm, listings[i]) for i in chosen]
        good = [c for c in refined if c.completeness >= self.stage.completeness]
        good.sort(key=lambda c: -c.completeness)
        kept: list[Candidate] = []
        for c in good:
            known = np.array([k.orientation for k in kept]).reshape(-1, 3, 3)
            apart = misorientation_deg(c.orientation, known, self._symmetry)
            if len(kept) == 0 or apart.min() > 0.4:
                kept.append(c)
        return kept

    def _refine(self, orientation: np.ndarray, point_mm: np.ndarray, seen: Listing) -> Candidate:
        turn, _ = refine_turn(
            self.images.views, seen.vectors, seen.frames, len(seen), point_mm[None],
            self._tables, np.radians(0.15), np.radians(0.01),
        )  # fmt: skip
        orientation = turn @ orientation
        seen = list_at(self.images, self.planes, orientation, point_mm)
        share = float(seen.near(self._tolerance - 1).mean()) if len(seen) else 0.0
        return Candidate(orientation, point_mm, share)
