"""The search for grains: seeds, candidates, growth, and the competition for voxels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from ..crystal import Material, misorientation_deg
from .growth import Builder, Grain, Region, VoxelGrid
from .growth_kernels import compete
from .indexing import Candidate, PairTable, Stage, Voter, list_at
from .kernels import Planes, explain
from .spot_images import SpotImages

__all__ = ["SAME_DEG", "Search", "stages_for"]

#: Orientations nearer than this are one grain.
SAME_DEG = 0.4

_STAGES = (
    Stage("A", 1.1, 12, 0.8, 4.2, 70, 0.40, 20, 0.35, 0.97, 0, 2),
    Stage("B", 0.65, 22, 0.7, 5.0, 70, 0.30, 18, 0.30, 0.97, 0, 2),
    Stage("C", 0.4, 60, 0.5, 7.0, 80, 0.12, 16, 0.12, 0.985, 240, 2),
    # Neighbours' reflections can all be seen from the place of a small grain; only its own spots,
    # which nobody explains, tell that it is there. So the last pass asks everywhere again.
    Stage("D", 0.4, 60, 0.6, 5.5, 80, 0.20, 16, 0.20, 2.0, 160, 2),
)
_FAILURES = {"quick": 40, "normal": 240, "thorough": 1500}

#: Seconds a batch of seeds may take, so that a cancel is heard.
_BATCH_S = 0.4


def stages_for(grain_um: float, n_frames: int, effort: str) -> tuple[Stage, ...]:
    """The passes over the sample for grains of a size; strides of `_STAGES` are in grains.

    Parameters
    ----------
    grain_um : float
    n_frames : int
        Projections of the scan.
    effort : str
        ``quick`` leaves out the slow stage, ``thorough`` gives the last ones more seeds.
    """
    from dataclasses import replace

    kept = [stage for stage in _STAGES if effort != "quick" or stage.name != "C"]
    return tuple(
        replace(
            stage,
            stride_um=stage.stride_um * grain_um,
            votes=min(stage.votes, n_frames),
            failures=min(_FAILURES[effort], 4 * stage.failures) if stage.failures else 0,
        )
        for stage in kept
    )


class Search:
    """Finds grains on a grid, until every voxel is settled or nothing more is found.

    Parameters
    ----------
    images : SpotImages
    planes : Planes
    material : Material
    grid : VoxelGrid
        Coarse: two pixels over the magnification.
    stages : tuple of Stage
    threads : int

    Attributes
    ----------
    grains : list of Grain
        Grain `i` has label `i` + 1.
    labels, score, share : ndarray (nz, ny, nx)
        Who holds each voxel, how well, and the highest conditional completeness of any grain.
    seeds : int
        Seeds tried.
    """

    def __init__(
        self,
        images: SpotImages,
        planes: Planes,
        material: Material,
        grid: VoxelGrid,
        stages: tuple[Stage, ...],
        threads: int = 2,
    ) -> None:
        self.images, self.planes, self.material, self.grid = images, planes, material, grid
        self.stages, self.threads = stages, threads
        self.grains: list[Grain] = []
        shape = grid.inside.shape
        self.labels = np.zeros(shape, np.int32)
        self.score = np.zeros(shape, np.float32)
        self.share = np.zeros(shape, np.float32)
        self.seeds = 0
        self.table = PairTable(planes, material.symmetry, 0.36)
        self._known_deg = np.zeros((0, 3, 3))
        self._tried = np.zeros(shape, bool)
        self._at, self._failures = 0, 0
        self._builders = [Builder(images, planes, grid) for _ in range(threads)]

    @property
    def filled(self) -> float:
        """Share of the sample's voxels that a grain holds."""
        return float((self.labels > 0).sum() / max(self.grid.inside.sum(), 1))

    @property
    def progress(self) -> float:
        """How far the search is, 0 to 1: voxels filled, then seeds that found nothing."""
        end = self._failures / self.stage.failures if self.stage.failures else 0.0
        return 0.6 * self.filled + 0.1 * (self._at + min(end, 1.0))

    @property
    def stage(self) -> Stage:
        """The pass that is going on."""
        return self.stages[min(self._at, len(self.stages) - 1)]

    def voter(self, stage: Stage) -> Voter:
        """What looks for candidates in one pass."""
        return Voter(self.images, self.planes, self.table, self.material, stage)

    def run(self) -> Iterator[int]:
        """Search pass after pass; yields the number of new grains after every batch of seeds."""
        size = self.threads
        with ThreadPoolExecutor(self.threads) as pool:
            while self._at < len(self.stages):
                stage = self.stage
                voter = self.voter(stage)
                yield 0
                while not (stage.failures and self._failures >= stage.failures):
                    seeds = self._next_seeds(stage, size)
                    if len(seeds) == 0:
                        break
                    clock = time.perf_counter()
                    found = self._batch(pool, voter, stage, seeds)
                    self._tried.ravel()[seeds] = True
                    self.seeds += len(seeds)
                    self._failures = 0 if found else self._failures + len(seeds)
                    if found:
                        voter.update()
                    spent = time.perf_counter() - clock
                    if spent > _BATCH_S:
                        size = max(self.threads, size // 2)
                    elif spent < _BATCH_S / 2:
                        size = min(16, 2 * size)
                    yield found
                self._at += 1
                self._tried[:] = False
                self._failures = 0

    def _next_seeds(self, stage: Stage, count: int) -> np.ndarray:
        """Flat indices of the most interior voxels of a lattice that are not settled."""
        step = max(1, round(stage.stride_um * 1e-3 / self.grid.voxel_mm))
        open_ = self.grid.inside & (self.share < stage.settled)
        lattice = np.zeros_like(open_)
        first = [min(step // 2, n // 2) for n in open_.shape]
        lattice[first[0] :: step, first[1] :: step, first[2] :: step] = True
        where = np.flatnonzero(lattice & open_ & ~self._tried)
        if len(where) == 0:
            return where
        depth = ndi.distance_transform_edt(np.pad(open_, 1))[1:-1, 1:-1, 1:-1]
        keys = [-depth.ravel()[where]]
        if stage.settled > 1:
            keys.append(self.share.ravel()[where])  # the least settled first
        return where[np.lexsort(keys)[:count]]

    def _batch(
        self, pool: ThreadPoolExecutor, voter: Voter, stage: Stage, seeds: np.ndarray
    ) -> int:
        points = self.grid.points_mm(seeds)
        candidates = [c for found in pool.map(voter.candidates, points) for c in found]
        candidates.sort(key=lambda c: -c.completeness)
        fresh: list[Candidate] = []
        for c in candidates:
            if not self._known(c.orientation) and not any(
                self._same(c.orientation, f.orientation) for f in fresh
            ):
                fresh.append(c)
        shares = [fresh[i :: self.threads] for i in range(self.threads)]
        built = pool.map(
            lambda builder, some: [builder.build(c, stage) for c in some], self._builders, shares
        )
        grown = [b for some in built for b in some if b is not None]
        grown.sort(key=lambda b: -b[0].completeness)
        return sum(self._accept(grain, region, stage) for grain, region in grown)

    def _same(self, first: np.ndarray, second: np.ndarray) -> bool:
        return bool(misorientation_deg(first, second, self.material.symmetry) < SAME_DEG)

    def _known(self, orientation: np.ndarray) -> bool:
        if not self.grains:
            return False
        apart = misorientation_deg(orientation, self._known_deg, self.material.symmetry)
        return bool((apart < SAME_DEG).any())

    def _accept(self, grain: Grain, region: Region, stage: Stage) -> int:
        """Add a grain unless one found since explains it; 1 if it was added."""
        if self._known(grain.orientation):
            return 0
        now = list_at(self.images, self.planes, grain.orientation, grain.core_mm)
        hits, share = now.exclusive()
        if hits < stage.exclusive_hits or share < stage.exclusive_share:
            return 0
        self._add(grain.replace(exclusive_hits=hits, exclusive_share=share), region)
        return 1

    def _add(self, grain: Grain, region: Region) -> None:
        self.grains.append(grain)
        self._known_deg = np.concatenate([self._known_deg, grain.orientation[None]])
        compete(
            region.voxels, region.scores, region.shares, len(self.grains), self.labels.ravel(),
            self.score.ravel(), self.share.ravel(),
        )  # fmt: skip
        inner = region.voxels[region.shares >= 0.85]
        points = self.grid.points_mm(inner if len(inner) else region.voxels)
        core = grain.core
        explain(self.images.views, core.vectors, core.frames, len(core), points, 1)

    def judge_again(self) -> Iterator[int]:
        """Ask of every grain, the surest first, what only it explains now that all are known.

        A false grain may have been accepted before the grains whose spots it borrowed. Those left
        without spots of their own are given up. `grains` and `labels` change at the end.

        Yields
        ------
        int
            How many grains were asked, after each.
        """
        yield from self.images.forgetting()
        least = self.stages[-1]
        number = np.zeros(len(self.grains) + 1, np.int32)
        kept: list[tuple[int, Grain]] = []
        objects = ndi.find_objects(self.labels, max_label=len(self.grains))
        order = np.argsort([-g.completeness for g in self.grains], kind="stable")
        for asked, i in enumerate(order, 1):
            yield asked
            grain, where = self.grains[i], objects[i]
            if where is None:
                continue
            now = list_at(self.images, self.planes, grain.orientation, grain.core_mm)
            hits, share = now.exclusive()
            if hits < least.exclusive_hits or share < 0.12:
                continue
            local = np.argwhere(self.labels[where] == i + 1) + [s.start for s in where]
            flat = np.ravel_multi_index(tuple(local.T), self.labels.shape)
            core = grain.core
            explain(
                self.images.views, core.vectors, core.frames, len(core),
                self.grid.points_mm(flat), 1,
            )  # fmt: skip
            kept.append((int(i), grain.replace(exclusive_hits=hits, exclusive_share=share)))
        for new, (old, _) in enumerate(kept, 1):
            number[old + 1] = new
        self.labels = number[self.labels]
        self.grains = [grain for _, grain in kept]
        self._known_deg = np.array([g.orientation for g in self.grains]).reshape(-1, 3, 3)

    def state(self) -> dict[str, Any]:
        """What `resume` needs to go on from here, as plain values."""
        return {
            "at": self._at,
            "failures": self._failures,
            "seeds": self.seeds,
            "tried": np.flatnonzero(self._tried).tolist(),
            "grains": [
                {
                    "orientation": g.orientation.tolist(),
                    "core_mm": g.core_mm.tolist(),
                    "exclusive_hits": int(g.exclusive_hits),
                    "exclusive_share": float(g.exclusive_share),
                    "stage": g.stage,
                }
                for g in self.grains
            ],
        }

    def resume(self, state: dict[str, Any]) -> Iterator[int]:
        """Take up the grains of an earlier run; yields how many are in."""
        for kept in state["grains"]:
            u, core = np.array(kept["orientation"]), np.array(kept["core_mm"])
            listing = list_at(self.images, self.planes, u, core)
            grain = self._builders[0].judge(u, listing, core, None)
            if grain is None:
                continue
            grain = grain.replace(
                exclusive_hits=kept["exclusive_hits"],
                exclusive_share=kept["exclusive_share"],
                stage=kept["stage"],
            )
            self._add(grain, self._builders[0].region(grain, 0.8))
            yield len(self.grains)
        self._at, self._failures = int(state["at"]), int(state["failures"])
        self.seeds = int(state["seeds"])
        self._tried.ravel()[state["tried"]] = True
