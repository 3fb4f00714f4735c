"""How well a grain map agrees with a better one: pairs, misorientation, boundaries, voxels.

The classes are those of table 2 of Zhang & Lindkvist and the boundary deviation is their eq. 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from ..core.errors import SettingsError
from ..crystal import misorientation_deg
from ..crystal.grain_map import GrainMap

__all__ = ["MapComparison", "boundary_deviation_um", "compare_maps"]


@dataclass(frozen=True, eq=False)
class MapComparison:
    """Pairs of a reference map and a map that is judged.

    Attributes
    ----------
    one_to_one : ndarray of int (n, 2)
        Indices (0-based) of grains of the reference and of the map.
    one_to_several : dict
        Grains of the map for each grain of the reference that several were paired with.
    false_negative, false_positive : ndarray of int
        Grains of the reference, and of the map, without a partner.
    misorientation_deg, distance_um, boundary_um : ndarray (n,)
        Of the one-to-one pairs: between orientations, between centres of mass, and eq. 4.
    voxels_right : float
        Share of the reference's voxels that the map gives to the partner of their grain.
    """

    reference: GrainMap
    map: GrainMap
    one_to_one: np.ndarray
    one_to_several: dict[int, list[int]]
    false_negative: np.ndarray
    false_positive: np.ndarray
    misorientation_deg: np.ndarray
    distance_um: np.ndarray
    boundary_um: np.ndarray
    voxels_right: float

    def found_by_size(self, edges_um: list[float]) -> list[tuple[int, int]]:
        """(found, all) grains of the reference between successive diameters.

        Found are those paired with one or several grains.
        """
        size = self.reference.diameters_um
        found = np.zeros(self.reference.n_grains, bool)
        found[self.one_to_one[:, 0]] = True
        found[list(self.one_to_several)] = True
        bins = zip(edges_um, [*edges_um[1:], np.inf])
        return [
            (int((found & (size >= a) & (size < b)).sum()), int(((size >= a) & (size < b)).sum()))
            for a, b in bins
        ]

    def summary(self) -> str:
        """One line in the words of table 2."""
        several = sum(len(v) for v in self.one_to_several.values())
        return (
            f"{len(self.one_to_one)} one to one, {len(self.one_to_several)} ({several}) one to "
            f"several, {len(self.false_negative)} false negative, {len(self.false_positive)} "
            f"false positive; misorientation {_median(self.misorientation_deg):.4f} deg, "
            f"boundary {_mean(self.boundary_um):.2f} um, voxels right {self.voxels_right:.1%}"
        )


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def compare_maps(
    reference: GrainMap,
    grains: GrainMap,
    symmetry: np.ndarray,
    *,
    within_deg: float = 1.0,
) -> MapComparison:
    """Compare a grain map with a reference in the same frame.

    Two grains are candidates for a pair if their orientations differ by `within_deg` at most and
    they share a voxel or their centres are no farther apart than the diameter of the larger. A
    grain of the map then goes to the grain of the reference with which it shares most voxels (if it
    shares none, to the nearest).

    Parameters
    ----------
    reference, grains : GrainMap
        Of any voxel sizes; the map is looked up at the reference's voxel centres.
    symmetry : ndarray (n, 3, 3)
        `Material.symmetry`.
    within_deg : float
    """
    if reference.n_grains == 0 or grains.n_grains == 0:
        raise SettingsError("One of the maps holds no grain; nothing can be compared.")
    other = _resampled(grains, reference)
    n, m = reference.n_grains, grains.n_grains
    shared = np.bincount(
        reference.labels.ravel().astype(np.int64) * (m + 1) + other.ravel(),
        minlength=(n + 1) * (m + 1),
    ).reshape(n + 1, m + 1)[1:, 1:]
    apart = np.stack(
        [misorientation_deg(u, grains.orientations, symmetry) for u in reference.orientations]
    )
    gap = np.linalg.norm(reference.centroids_mm[:, None] - grains.centroids_mm[None], axis=2) * 1e3
    gap = np.where(np.isnan(gap), np.inf, gap)
    reach = np.maximum(reference.diameters_um[:, None], grains.diameters_um[None])
    possible = (apart <= within_deg) & ((shared > 0) | (gap <= reach))
    possible &= (reference.voxels_per_grain > 0)[:, None]
    wish = np.where(possible, shared + 1 / (2 + gap), -1)
    best = wish.argmax(axis=0)
    partners: dict[int, list[int]] = {}
    for j in np.flatnonzero(possible.any(axis=0)):
        partners.setdefault(int(best[j]), []).append(int(j))
    one = np.array([(i, js[0]) for i, js in sorted(partners.items()) if len(js) == 1], int)
    one = one.reshape(-1, 2)
    several = {i: js for i, js in sorted(partners.items()) if len(js) > 1}
    there = np.flatnonzero(reference.voxels_per_grain)
    right = sum(int(shared[i, j]) for i, js in partners.items() for j in js)
    boundary = [
        boundary_deviation_um(reference.labels == i + 1, other == j + 1, reference.voxel_um)
        for i, j in one
    ]
    return MapComparison(
        reference,
        grains,
        one,
        several,
        np.setdiff1d(there, list(partners)),
        np.flatnonzero(~possible.any(axis=0) & (grains.voxels_per_grain > 0)),
        apart[one[:, 0], one[:, 1]],
        gap[one[:, 0], one[:, 1]],
        np.array(boundary),
        right / max(int((reference.labels > 0).sum()), 1),
    )


def _resampled(grains: GrainMap, reference: GrainMap) -> np.ndarray:
    """Labels of `grains` at the voxel centres of `reference`."""
    index = []
    for axis in range(3):
        n = reference.labels.shape[axis]
        at = (np.arange(n) - (n - 1) / 2) * reference.voxel_um * 1e-3
        at = at + reference.center_mm[2 - axis] - grains.center_mm[2 - axis]
        k = np.round(at / (grains.voxel_um * 1e-3) + (grains.labels.shape[axis] - 1) / 2)
        index.append(k.astype(int))
    out = np.zeros(reference.labels.shape, np.int64)
    keep = [(k >= 0) & (k < size) for k, size in zip(index, grains.labels.shape)]
    taken = grains.labels[np.ix_(*(k[i] for k, i in zip(index, keep)))]
    out[np.ix_(*(np.flatnonzero(i) for i in keep))] = taken
    return out


def boundary_deviation_um(reference: np.ndarray, grain: np.ndarray, voxel_um: float) -> float:
    """Mean distance from the boundary voxels of a reference grain to the boundary of its partner.

    Eq. 4 of the paper: delta = sum of epsilon over the boundary voxels of the reference grain /
    their number, epsilon the Euclidean distance to the nearest boundary voxel of the partner.
    Boundary voxels belong to the grain and touch a voxel outside it with a face.

    Parameters
    ----------
    reference, grain : ndarray of bool (nz, ny, nx)
    voxel_um : float

    Returns
    -------
    float
        NaN if one of them is empty.
    """
    both = reference | grain
    if not reference.any() or not grain.any():
        return float("nan")
    box = tuple(
        slice(max(int(where.min()) - 1, 0), int(where.max()) + 2) for where in np.nonzero(both)
    )
    edges = [mask & ~ndi.binary_erosion(mask) for mask in (reference[box], grain[box])]
    distance = ndi.distance_transform_edt(~edges[1], sampling=voxel_um)
    return float(distance[edges[0]].mean())
