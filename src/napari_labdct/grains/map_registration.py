"""How a grain map lies over another: rotation, translation, and convention of its orientations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ..core.errors import SettingsError
from ..core.rotations import rotation_z
from ..crystal import (
    matrices_to_quaternions,
    nearest_equivalents,
    quaternions_to_matrices,
)
from ..crystal.grain_map import GrainMap

__all__ = ["Registration", "register_maps"]

MOST_GRAINS = 48
"""The largest grains of either map propose rotations; all of them judge."""
_NEAR_DEG = 0.5
_MIRROR = np.diag([1.0, -1.0, 1.0])

#: What a program may have stored instead of U, and how U comes out of it.
CONVENTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda u: u,
    "its orientations are inverse (sample to crystal)": lambda u: np.swapaxes(u, -1, -2),
    "it is mirrored in y": lambda u: _MIRROR @ u @ _MIRROR,
    "the x axis of its crystals is a instead of a*": lambda u: u @ rotation_z(30),
}
_MIRRORED = "it is mirrored in y"
_TURNED = "the x axis of its crystals is a instead of a*"


@dataclass(frozen=True, eq=False)
class Registration:
    """A point q (mm) of the map lies at ``matrix @ q + translation_mm`` in the reference.

    Attributes
    ----------
    matrix : ndarray (3, 3)
        Orthogonal; it may mirror.
    translation_mm : ndarray (3,)
    turn : ndarray (3, 3)
        Rotation of the orientations, after the convention is put right.
    convention : str
        What is different of the map's orientations, in words; '' if nothing is.
    grains : int
        Grains that agree with it in orientation and place.
    """

    matrix: np.ndarray
    translation_mm: np.ndarray
    turn: np.ndarray
    convention: str = ""
    grains: int = 0

    def points(self, points_mm: np.ndarray) -> np.ndarray:
        """Places (n, 3) of the map's points in the reference, mm."""
        return points_mm @ self.matrix.T + self.translation_mm

    def orientations(self, u: np.ndarray) -> np.ndarray:
        """The map's orientations (n, 3, 3) in the frame of the reference."""
        return self.turn @ CONVENTIONS[self.convention](u)

    @property
    def angle_deg(self) -> float:
        """How far the orientations are turned."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.turn) - 1) / 2, -1, 1))))

    def words(self) -> list[str]:
        """What was found, one sentence a thing."""
        said = []
        if self.convention:
            said.append(f"The map differs: {self.convention}.")
        apart = np.abs(self.matrix - self._expected()).max()
        if apart > 0.05:
            axes = _axes(self.turn.T @ self.matrix)
            said.append(f"The axes of its positions are not those of its orientations{axes}.")
        shift = ", ".join(f"{v * 1e3:.2f}" for v in self.translation_mm)
        said.append(
            f"Its orientations are turned by {self.angle_deg:.3f} degrees and its places moved by "
            f"({shift}) um; {self.grains} grains agree."
        )
        return said

    def _expected(self) -> np.ndarray:
        return self.turn @ _MIRROR if self.convention == _MIRRORED else self.turn


NOTHING = Registration(np.eye(3), np.zeros(3), np.eye(3))
"""Both maps lie in one frame."""


def _axes(matrix: np.ndarray) -> str:
    """Which axis of the map is which, in words."""
    if np.abs(np.abs(matrix).max(axis=0) - 1).max() > 0.01:
        return ""
    names = []
    for row in matrix:
        k = int(np.abs(row).argmax())
        names.append(("-" if row[k] < 0 else "") + "xyz"[k])
    return f" (x, y, z are its {', '.join(names)})"


def register_maps(
    reference: GrainMap, grains: GrainMap, symmetry: np.ndarray, *, within_deg: float = 1.0
) -> Registration:
    """Find rotation, translation and convention by the grains themselves.

    Two large grains and a symmetry operation propose a rotation, and the one that most pairs
    propose is right. With it grains of one orientation are paired, and the translation that most
    pairs propose is right. This is done for every convention in `CONVENTIONS`, with places that
    turn as the orientations do, and with axes exchanged or reversed; the simplest that as many
    grains agree with wins.

    Parameters
    ----------
    reference, grains : GrainMap
    symmetry : ndarray (n, 3, 3)
        `Material.symmetry`.
    within_deg : float
        Orientations of one grain differ by this at most.

    Raises
    ------
    SettingsError
        No arrangement brings enough grains together.
    """
    one, two = _Grains.of(reference), _Grains.of(grains)
    reach_mm = max(0.35e-3 * float(np.median(one.size)), 2e-3 * reference.voxel_um)
    best, best_score, simple = None, 0.0, False
    agreeing = _Agreeing(one.u, symmetry, within_deg)
    few = min(len(one.u), len(two.u))
    for name, convert in CONVENTIONS.items():
        if simple and best_score > 0.5 * few:
            break  # nothing simpler comes, and chance never brings so many together
        if name == _TURNED and len(symmetry) not in (12, 6):
            continue
        u = convert(two.u)
        for turn in _rotations(one.u, u, one.order, two.order, symmetry):
            close = agreeing.pairs(turn @ u)
            for cost, matrix in _matrices(turn, name):
                count, shift = _translation(one.at, two.at @ matrix.T, close, reach_mm)
                score = count * (1 - 0.02 * (cost + bool(name)))
                if score > best_score:
                    best_score, simple = score, cost == 0
                    best = name, turn, matrix, shift, count
    if best is None or best[-1] < max(min(3, few), 0.03 * few):
        raise SettingsError(
            "The two maps have too few grains in common: no rotation, shift or convention brings "
            "them together. They may be of different samples, materials or regions."
        )
    return _refined(one, two, best, symmetry, within_deg, reach_mm, reference.voxel_um)


@dataclass(frozen=True)
class _Grains:
    """Grains that have voxels: orientation, place (mm), diameter (um), the largest first."""

    u: np.ndarray
    at: np.ndarray
    size: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, grains: GrainMap) -> _Grains:
        there = np.flatnonzero(grains.voxels_per_grain)
        size = grains.diameters_um[there]
        order = np.argsort(-size, kind="stable")[:MOST_GRAINS]
        return cls(grains.orientations[there], grains.centroids_mm[there], size, order)


def _rotations(
    first: np.ndarray,
    second: np.ndarray,
    one: np.ndarray,
    two: np.ndarray,
    symmetry: np.ndarray,
    most: int = 3,
) -> list[np.ndarray]:
    """Rotations R that bring most pairs of large grains together, first = R second S."""
    # R = U S V^T for every pair and symmetry operation
    turned = first[one][:, None] @ symmetry[None]
    proposed = np.einsum("iskl,jml->ijskm", turned, second[two]).reshape(-1, 3, 3)
    q = matrices_to_quaternions(proposed)
    tree = cKDTree(np.concatenate([q, -q[q[:, 0] < 0.02]]))
    radius = np.radians(_NEAR_DEG) / 2
    votes = tree.query_ball_point(q, radius, return_length=True)
    found = [np.eye(3)]
    order = np.argsort(-votes, kind="stable")
    for k in order[:2000]:
        if votes[k] < 2 or len(found) > most:
            break
        near = np.linalg.norm(np.where((q @ q[k])[:, None] < 0, -q, q) - q[k], axis=1) < radius
        members = np.where((q[near] @ q[k])[:, None] < 0, -q[near], q[near])
        middle = quaternions_to_matrices(members.mean(axis=0))
        if all(np.trace(middle.T @ r) < 3 - 2e-4 for r in found[1:]):
            found.append(middle)
    return found


def _matrices(turn: np.ndarray, convention: str) -> list[tuple[int, np.ndarray]]:
    """What may happen to places, the most likely first, with its cost."""
    likely = turn @ _MIRROR if convention == _MIRRORED else turn
    signed = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            signed.append(matrix)
    return [(0, likely), *((2, likely @ m) for m in signed)]


class _Agreeing:
    """Finds the grains of a map whose orientations agree with given ones."""

    def __init__(self, u: np.ndarray, symmetry: np.ndarray, within_deg: float) -> None:
        turned = u[:, None] @ symmetry[None]
        q = matrices_to_quaternions(turned.reshape(-1, 3, 3))
        self.tree = cKDTree(np.concatenate([q, -q]))
        self.grain = np.tile(np.repeat(np.arange(len(u)), len(symmetry)), 2)
        self.radius = 2 * np.sin(np.radians(within_deg) / 4)

    def pairs(self, u: np.ndarray) -> np.ndarray:
        """Pairs (n, 2) of indices, of the grains known here and of `u`."""
        near = self.tree.query_ball_point(matrices_to_quaternions(u), self.radius)
        found = {(int(self.grain[k]), j) for j, row in enumerate(near) for k in row}
        return np.array(sorted(found), int).reshape(-1, 2)


def _translation(
    one: np.ndarray, two: np.ndarray, pairs: np.ndarray, reach_mm: float
) -> tuple[int, np.ndarray]:
    """The shift that most pairs agree with, and how many grains do."""
    if len(pairs) == 0:
        return 0, np.zeros(3)
    shifts = one[pairs[:, 0]] - two[pairs[:, 1]]
    votes = cKDTree(shifts).query_ball_point(shifts, reach_mm, return_length=True)
    near = np.linalg.norm(shifts - shifts[votes.argmax()], axis=1) <= reach_mm
    count = min(len(np.unique(pairs[near, 0])), len(np.unique(pairs[near, 1])))
    return count, np.median(shifts[near], axis=0)


def _refined(
    one: _Grains,
    two: _Grains,
    found: tuple[Any, ...],
    symmetry: np.ndarray,
    within_deg: float,
    reach_mm: float,
    voxel_um: float,
) -> Registration:
    """The mean rotation and shift of the grains that agree, the large ones weighing more."""
    name, turn, matrix, shift, count = found
    u = CONVENTIONS[name](two.u)
    pairs = _Agreeing(one.u, symmetry, within_deg).pairs(turn @ u)
    off = one.at[pairs[:, 0]] - two.at[pairs[:, 1]] @ matrix.T - shift
    pairs = pairs[np.linalg.norm(off, axis=1) <= reach_mm]
    i, j = pairs.T
    first = matrices_to_quaternions(one.u[i])
    second = matrices_to_quaternions(turn @ u[j])
    second, _ = nearest_equivalents(second, first, symmetry)
    more = quaternions_to_matrices(first) @ np.swapaxes(quaternions_to_matrices(second), -1, -2)
    weight = np.minimum(one.size[i], two.size[j])
    q = matrices_to_quaternions(more)
    small = quaternions_to_matrices(np.linalg.eigh((q * weight[:, None]).T @ q)[1][:, -1])
    follows = np.abs(matrix - (turn @ _MIRROR if name == _MIRRORED else turn)).max() < 1e-9
    turn = small @ turn
    if follows:
        matrix = small @ matrix
    apart = one.at[i] - two.at[j] @ matrix.T
    shift = _weighted_median(apart, weight)
    refined = Registration(matrix, shift, turn, name, count)
    if (
        not name
        and np.abs(matrix - np.eye(3)).max() < 1e-4
        and refined.angle_deg < 0.01
        and np.abs(shift).max() < 0.05e-3 * voxel_um
    ):
        return Registration(np.eye(3), np.zeros(3), np.eye(3), "", count)
    return refined


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each column."""
    found = []
    for column in values.T:
        order = np.argsort(column)
        total = np.cumsum(weights[order])
        found.append(column[order[np.searchsorted(total, total[-1] / 2)]])
    return np.array(found)
