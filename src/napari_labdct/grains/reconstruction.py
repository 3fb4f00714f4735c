"""The grain map of a scan: seeds, candidates, grains, competition, final pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from ..crystal import Material, misorientation_deg
from .growth import Builder, Grain, Region, VoxelGrid
from .growth_kernels import compete, farthest
from .indexing import PairTable, Stage, Voter, list_at
from .kernels import Planes, explain
from .spot_images import SpotImages

STAGES = (
    Stage("A", 40, 12, 0.8, 4.2, 70, 0.40, 20, 0.35, 0.97, 0, 2),
    Stage("B", 24, 22, 0.7, 5.0, 70, 0.30, 18, 0.30, 0.97, 0, 2),
    Stage("C", 15, 60, 0.5, 7.0, 80, 0.12, 16, 0.12, 0.985, 240, 2),
)

#: Orientations nearer than this are one grain.
SAME_DEG = 0.4


class Search:
    """Finds grains on a grid, until every voxel is settled or nothing more is found."""

    def __init__(
        self,
        images: SpotImages,
        planes: Planes,
        material: Material,
        grid: VoxelGrid,
        threads: int = 2,
    ) -> None:
        self.images, self.planes, self.material, self.grid = images, planes, material, grid
        self.grains: list[Grain] = []
        shape = grid.inside.shape
        self.labels = np.zeros(shape, np.int32)
        self.score = np.zeros(shape, np.float32)
        self.share = np.zeros(shape, np.float32)
        self._tried = np.zeros(shape, bool)
        self._threads = threads
        self._builders = [Builder(images, planes, grid) for _ in range(threads)]
        self._table = PairTable(planes, material.symmetry, 0.36)
        self.times: dict[str, float] = {}

    def run(self, stages: tuple[Stage, ...] = STAGES) -> Iterator[tuple[Stage, int]]:
        """Search stage after stage; yields after every batch of seeds."""
        with ThreadPoolExecutor(self._threads) as pool:
            for stage in stages:
                voter = Voter(self.images, self.planes, self._table, self.material, stage)
                self._tried[:] = False
                failures = 0
                while True:
                    seeds = self._seeds(stage, 16)
                    if len(seeds) == 0 or (stage.failures and failures >= stage.failures):
                        break
                    clock = time.perf_counter()
                    found = self._batch(pool, voter, stage, seeds)
                    failures = 0 if found else failures + len(seeds)
                    spent = time.perf_counter() - clock
                    self.times[stage.name] = self.times.get(stage.name, 0.0) + spent
                    if found:
                        voter.update()
                    yield stage, found

    def _seeds(self, stage: Stage, count: int) -> np.ndarray:
        """Flat indices of the most interior voxels of a lattice that are not settled."""
        step = max(1, round(stage.stride_um * 1e-3 / self.grid.voxel_mm))
        offset = step // 2
        open_ = self.grid.inside & (self.share < stage.settled)
        depth = ndi.distance_transform_edt(np.pad(open_, 1))[1:-1, 1:-1, 1:-1]
        lattice = np.zeros_like(open_)
        lattice[offset::step, offset::step, offset::step] = True
        where = np.flatnonzero(lattice & open_ & ~self._tried)
        order = np.argsort(-depth.ravel()[where], kind="stable")[:count]
        chosen = where[order]
        self._tried.ravel()[chosen] = True
        return chosen

    def _batch(
        self, pool: ThreadPoolExecutor, voter: Voter, stage: Stage, seeds: np.ndarray
    ) -> int:
        points = self.grid.points_mm(seeds)
        candidates = [c for found in pool.map(voter.candidates, points) for c in found]
        candidates.sort(key=lambda c: -c.completeness)
        fresh = []
        for c in candidates:
            if not self._known(c.orientation, c.point_mm) and not any(
                self._same(c.orientation, f.orientation) for f in fresh
            ):
                fresh.append(c)
        shares = [fresh[i :: self._threads] for i in range(self._threads)]
        built = pool.map(
            lambda builder, some: [builder.build(c, stage) for c in some], self._builders, shares
        )
        grown = [b for some in built for b in some if b is not None]
        grown.sort(key=lambda b: -b[0].completeness)
        return sum(self._accept(grain, region, stage) for grain, region in grown)

    def _same(self, first: np.ndarray, second: np.ndarray) -> bool:
        return bool(misorientation_deg(first, second, self.material.symmetry) < SAME_DEG)

    def _known(self, orientation: np.ndarray, point_mm: np.ndarray) -> bool:
        if not self.grains:
            return False
        known = np.array([g.orientation for g in self.grains])
        return bool(
            (misorientation_deg(orientation, known, self.material.symmetry) < SAME_DEG).any()
        )

    def _accept(self, grain: Grain, region: Region, stage: Stage) -> int:
        """Add a grain unless one found since explains it; 1 if it was added."""
        if self._known(grain.orientation, grain.core_mm):
            return 0
        now = list_at(self.images, self.planes, grain.orientation, grain.core_mm)
        hits, share = now.exclusive()
        if hits < stage.exclusive_hits or share < stage.exclusive_share:
            return 0
        self.grains.append(grain.replace(exclusive_hits=hits, exclusive_share=share))
        compete(
            region.voxels, region.scores, region.shares, len(self.grains), self.labels.ravel(),
            self.score.ravel(), self.share.ravel(),
        )  # fmt: skip
        inner = region.voxels[region.shares >= 0.85]
        points = self.grid.points_mm(inner if len(inner) else region.voxels)
        core = grain.core
        explain(self.images.views, core.vectors, core.frames, len(core), points, 1)
        return 1


@dataclass
class FineMap:
    """Labels, score and conditional completeness on the fine grid."""

    grains: list[Grain]
    labels: np.ndarray
    score: np.ndarray
    share: np.ndarray


def final_pass(
    search: Search, grid: VoxelGrid, least: float = 0.7, rounds: int = 2, tie: float = 0.3
) -> FineMap:
    """Refine every orientation on the voxels it won, and let all grains compete again."""
    images, planes = search.images, search.planes
    labels, from_grid, grains = search.labels, search.grid, search.grains
    builders = [Builder(images, planes, grid, tie) for _ in range(search._threads)]
    for turn in range(rounds):
        objects = ndi.find_objects(labels, max_label=len(grains))
        new = FineMap(
            [],
            np.zeros(grid.inside.shape, np.int32),
            np.zeros(grid.inside.shape, np.float32),
            np.zeros(grid.inside.shape, np.float32),
        )

        def work(builder: Builder, numbers: list[int]):
            out = []
            for i in numbers:
                where = objects[i]
                if where is None:
                    continue
                local = np.argwhere(labels[where] == i + 1) + [s.start for s in where]
                points = from_grid.corner[:3] + local[:, ::-1] * from_grid.voxel_mm
                grain = polish(builder, grains[i], points)
                if grain is None:
                    continue
                region = builder.region(grain, least if turn == rounds - 1 else 0.8)
                if len(region):
                    out.append((i, grain, region))
            return out

        with ThreadPoolExecutor(len(builders)) as pool:
            shares = [list(range(len(grains)))[k :: len(builders)] for k in range(len(builders))]
            done = [x for some in pool.map(work, builders, shares) for x in some]
        for _, grain, region in sorted(done, key=lambda x: x[0]):
            new.grains.append(grain)
            compete(
                region.voxels, region.scores, region.shares, len(new.grains), new.labels.ravel(),
                new.score.ravel(), new.share.ravel(),
            )  # fmt: skip
        labels, from_grid, grains = new.labels, grid, new.grains
    return new


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
