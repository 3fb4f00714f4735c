"""Grains as points: only orientations and centres, where a grain is hardly larger than a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from ..crystal import Material, misorientation_deg
from .growth import LEAST_REFLECTIONS, Grain, VoxelGrid
from .indexing import Candidate, PairTable, Stage, Voter, list_at
from .kernels import Planes, explain, rotation_of, spot_middles
from .spot_images import SpotImages
from .trust import place_jacobian

__all__ = ["PointSearch"]

#: A reflection is seen if a spot lies within this many pixels.
_NEAR_PX = 1
_SAME_DEG = 0.3
_BATCH = 8


class PointSearch:
    """Finds grains at seeds, and moves each to where its reflections meet the spots.

    Parameters
    ----------
    images, planes, material
    grid : VoxelGrid
        Its voxels are the seeds.
    stage : Stage
        The most thorough one; two stricter ones go before it.
    threads : int
    """

    filled = 0.0

    def __init__(
        self, images: SpotImages, planes: Planes, material: Material, grid: VoxelGrid,
        stage: Stage, threads: int = 2,
    ) -> None:  # fmt: skip
        self.images, self.planes, self.material, self.grid = images, planes, material, grid
        self.threads = threads
        self.grains: list[Grain] = []
        self.seeds = 0
        n = len(images.omega_deg)
        self._stages = tuple(
            replace(
                stage, name=name, votes=min(n, votes), detection=q, lost=lost, completeness=c,
                exclusive_hits=16, exclusive_share=c, thin=1,
            )
            for name, votes, q, lost, c in (
                ("A", 20, 0.8, 5.0, 0.5), ("B", 30, 0.6, 7.0, 0.3), ("C", 60, 0.5, 8.0, 0.2),
            )
        )  # fmt: skip
        self._table = PairTable(planes, material.symmetry, 0.4)
        self._at, self._next = 0, 0
        where = np.flatnonzero(grid.inside)
        points = grid.points_mm(where)
        self._order = np.argsort(np.linalg.norm(points, axis=1), kind="stable")
        self._points = points

    @property
    def progress(self) -> float:
        """How far the search is, 0 to 1."""
        return (self._at + self._next / max(len(self._points), 1)) / len(self._stages)

    def run(self) -> Iterator[int]:
        """Search; yields the number of new grains after every batch of seeds."""
        with ThreadPoolExecutor(self.threads) as pool:
            while self._at < len(self._stages):
                stage = self._stages[self._at]
                voter = Voter(self.images, self.planes, self._table, self.material, stage)
                while self._next < len(self._points):
                    some = self._order[self._next : self._next + _BATCH]
                    found = list(pool.map(voter.candidates, self._points[some]))
                    moved = pool.map(self._settle, [c for cs in found for c in cs])
                    new = sum(self._accept(grain, stage) for grain in sorted(
                        (m for m in moved if m), key=lambda g: -g.completeness
                    ))  # fmt: skip
                    self._next += _BATCH
                    self.seeds += len(some)
                    if new:
                        voter.update()
                    yield new
                self._at, self._next = self._at + 1, 0

    def _settle(self, candidate: Candidate) -> Grain | None:
        """The candidate moved to where its reflections meet the spots."""
        return self._judge(*self._fit(candidate.orientation, candidate.point_mm))

    def _fit(self, u: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least squares: predicted places of reflections against the middles of their spots."""
        for within in (4, 3, 2, 2, 2):
            seen = list_at(self.images, self.planes, u, point)
            seen = seen.only(seen.near(within))
            if len(seen) < LEAST_REFLECTIONS:
                break
            start, jacobian = place_jacobian(self.images, seen.vectors, seen.frames, point)
            off = self._spot_middles(seen.frames, start) - start
            good = np.isfinite(off).all(axis=1)
            far = np.linalg.norm(off, axis=1)
            good &= far <= 3 * np.median(far[good]) + 0.2 if good.any() else good
            if good.sum() < LEAST_REFLECTIONS:
                break
            rows = np.repeat(good, 2)
            change = np.linalg.lstsq(jacobian[rows], off[good].ravel(), rcond=1e-6)[0]
            if np.linalg.norm(change[3:]) > 4 * self.grid.voxel_mm:
                break
            u = rotation_of(*change[:3]) @ u
            point = point + change[3:]
        return u, point

    def _spot_middles(self, frames: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Mean (row, col) (m, 2) of the spot pixels within 3 px of each place; NaN without."""
        out = np.empty((len(frames), 2))
        spot_middles(self.images.images, frames, places, 3, out)
        return out

    def _judge(self, u: np.ndarray, point: np.ndarray) -> Grain | None:
        seen = list_at(self.images, self.planes, u, point)
        if len(seen) < LEAST_REFLECTIONS:
            return None
        hit = seen.near(_NEAR_PX)
        hits, share = seen.exclusive(_NEAR_PX)
        return Grain(
            u, point, float(hit.mean()), len(seen), int(hit.sum()), hits, share, seen.only(hit)
        )

    def _accept(self, grain: Grain, stage: Stage) -> int:
        if self.grains:
            known = np.array([g.orientation for g in self.grains])
            if (
                misorientation_deg(grain.orientation, known, self.material.symmetry) < _SAME_DEG
            ).any():
                return 0
        now = self._judge(grain.orientation, grain.core_mm)
        if (
            now is None
            or now.completeness < stage.completeness
            or now.exclusive_hits < stage.exclusive_hits
            or now.exclusive_share < stage.exclusive_share
        ):
            return 0
        self._add(now.replace(stage=stage.name))
        return 1

    def _add(self, grain: Grain) -> None:
        self.grains.append(grain)
        core = grain.core
        explain(self.images.views, core.vectors, core.frames, len(core), grain.core_mm[None], 2)

    def judge_again(self) -> Iterator[int]:
        """Ask of every grain, the surest first, what only it explains now that all are known;
        those left without spots of their own are given up. Yields after each how many were asked.
        """
        yield from self.images.forgetting()
        before, self.grains = self.grains, []
        least = self._stages[-1]
        for asked, grain in enumerate(sorted(before, key=lambda g: -g.completeness), 1):
            yield asked
            now = self._judge(grain.orientation, grain.core_mm)
            if (
                now is not None
                and now.exclusive_hits >= least.exclusive_hits
                and now.exclusive_share >= max(least.exclusive_share, 0.5 * now.completeness)
            ):
                self._add(now.replace(stage=grain.stage))

    def state(self) -> dict[str, Any]:
        """What `resume` needs to go on from here, as plain values."""
        return {
            "at": self._at,
            "next": self._next,
            "seeds": self.seeds,
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
            grain = self._judge(np.array(kept["orientation"]), np.array(kept["core_mm"]))
            if grain is not None:
                self._add(
                    grain.replace(
                        exclusive_hits=kept["exclusive_hits"],
                        exclusive_share=kept["exclusive_share"],
                        stage=kept["stage"],
                    )
                )
                yield len(self.grains)
        self._at, self._next, self.seeds = int(state["at"]), int(state["next"]), int(state["seeds"])
