"""Grains of a deformed metal: bent, so that their spots are drawn out into streaks."""

from __future__ import annotations

import numpy as np

from ..io.grainmap import GrainMap

__all__ = ["bend"]


def bend(grains: GrainMap, pieces: int, spread_deg: float, seed: int) -> GrainMap:
    """Grains bent about an axis of their own: `pieces` slices turned against each other.

    Parameters
    ----------
    grains : GrainMap
    pieces : int
        Slices of a grain; slice ``k`` of grain ``i`` has the number ``i * pieces + k + 1``.
    spread_deg : float
        Turn of the last slice against the first.
    seed : int

    Returns
    -------
    GrainMap
    """
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng([seed, 3])
    voxels = np.argwhere(grains.labels)
    owner = grains.labels[tuple(voxels.T)] - 1
    axes = rng.normal(size=(2, grains.n_grains, 3))
    cut, turn = axes / np.linalg.norm(axes, axis=2, keepdims=True)
    place = np.einsum("ij,ij->i", voxels, cut[owner])
    order = np.lexsort((place, owner))
    first = np.searchsorted(owner[order], np.arange(grains.n_grains + 1))
    rank = np.empty(len(voxels))
    rank[order] = np.arange(len(voxels)) - first[owner[order]]
    slices = (rank * pieces / np.diff(first)[owner]).astype(int)
    labels = np.zeros_like(grains.labels)
    labels[tuple(voxels.T)] = owner * pieces + slices + 1
    angles = np.radians(spread_deg) * (np.arange(pieces) / (pieces - 1) - 0.5)
    turns = Rotation.from_rotvec((turn[:, None] * angles[:, None]).reshape(-1, 3)).as_matrix()
    orientations = turns @ np.repeat(grains.orientations, pieces, axis=0)
    return GrainMap(labels, grains.voxel_um, orientations, grains.center_mm)
