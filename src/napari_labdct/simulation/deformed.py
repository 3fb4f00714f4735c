"""Grains of a deformed metal: bent, so that their spots are drawn out into streaks."""

from __future__ import annotations

import numpy as np

from ..crystal import GrainMap
from .projector import Projection

__all__ = ["bend", "whole_spots"]


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


def whole_spots(projection: Projection, pieces: int, foot: float) -> tuple[np.ndarray, np.ndarray]:
    """Put the spots of the slices of each bent grain together again.

    Parameters
    ----------
    projection : Projection
        Of grains from `bend`.
    pieces : int
        Slices of a grain.
    foot : float
        Part of its own peak at which a spot's label ends; the projection's labels reach further.

    Returns
    -------
    labels : int32 array (rows, cols)
    peaks : float array (n,)
        Peak of the spot of each number, infinite for 0.
    """
    spots = projection.spots
    hkl = np.stack([spots[n] for n in "hkl"])
    hkl //= np.maximum(np.gcd.reduce(hkl), 1)  # harmonics fall on one place
    whole = np.vstack([(spots["grain"] - 1) // pieces, hkl])
    number = np.unique(whole, axis=1, return_inverse=True)[1].ravel() + 1
    labels = np.concatenate([[0], number]).astype(np.int32)[projection.labels]
    peaks = np.zeros(number.max(initial=0) + 1)
    np.maximum.at(peaks, labels.ravel(), projection.image.ravel())
    peaks[0] = np.inf
    labels[projection.image < foot * peaks[labels]] = 0
    return labels, peaks
