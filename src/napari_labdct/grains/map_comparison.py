"""How well a grain map agrees with a better one: pairs, misorientation, boundaries, voxels.

The classes are those of table 2 of Zhang & Lindkvist and the boundary deviation is their eq. 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage as ndi

from ..core.errors import SettingsError
from ..crystal import misorientation_deg
from ..crystal.grain_map import GrainMap
from .map_registration import NOTHING, Registration

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
    registration : Registration
        How the map was laid over the reference.
    epsilon_um : ndarray of float32 (nz, ny, nx)
        Of each boundary voxel of the reference's one-to-one grains the distance to the partner's
        boundary; NaN elsewhere.
    overlap : float
        Share of the reference's voxels that lie within the volume of the map.
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
    registration: Registration = NOTHING
    epsilon_um: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    overlap: float = 1.0

    @property
    def boundary_of_volume_um(self) -> float:
        """Mean of `epsilon_um` over all boundary voxels."""
        known = self.epsilon_um[np.isfinite(self.epsilon_um)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def diameters_um(self) -> np.ndarray:
        """Diameters (n, 2) of the one-to-one pairs, of the reference and of the map."""
        i, j = self.one_to_one.T
        return np.stack([self.reference.diameters_um[i], self.map.diameters_um[j]], axis=1)

    def table2(self) -> dict[str, int]:
        """The numbers of table 2; both sums are those of the maps.

        grains = one_to_one + one_to_several + false_negative are the reference's, and
        map_grains = one_to_one + several_of_map + false_positive the map's.
        """
        return {
            "grains": int((self.reference.voxels_per_grain > 0).sum()),
            "map_grains": int((self.map.voxels_per_grain > 0).sum()),
            "one_to_one": len(self.one_to_one),
            "one_to_several": len(self.one_to_several),
            "several_of_map": sum(len(v) for v in self.one_to_several.values()),
            "false_negative": len(self.false_negative),
            "false_positive": len(self.false_positive),
        }

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
    registration: Registration = NOTHING,
) -> MapComparison:
    """Compare a grain map with a reference.

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
    registration : Registration
        How the map lies over the reference, from `register_maps`; one frame if not given.

    Raises
    ------
    SettingsError
        A map holds no grain, or the maps do not overlap.
    """
    if reference.n_grains == 0 or grains.n_grains == 0:
        raise SettingsError("One of the maps holds no grain; nothing can be compared.")
    other, overlap = _resampled(grains, reference, registration)
    if overlap == 0:
        raise SettingsError(
            "The two maps do not overlap; check their centres, or let the registration be found."
        )
    n, m = reference.n_grains, grains.n_grains
    shared = np.bincount(
        reference.labels.ravel().astype(np.int64) * (m + 1) + other.ravel(),
        minlength=(n + 1) * (m + 1),
    ).reshape(n + 1, m + 1)[1:, 1:]
    turned = registration.orientations(grains.orientations)
    apart = np.stack([misorientation_deg(u, turned, symmetry) for u in reference.orientations])
    centres = registration.points(grains.centroids_mm)
    gap = np.linalg.norm(reference.centroids_mm[:, None] - centres[None], axis=2) * 1e3
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
    boundary, epsilon = _boundaries(reference, other, one)
    return MapComparison(
        reference,
        grains,
        one,
        several,
        np.setdiff1d(there, list(partners)),
        np.flatnonzero(~possible.any(axis=0) & (grains.voxels_per_grain > 0)),
        apart[one[:, 0], one[:, 1]],
        gap[one[:, 0], one[:, 1]],
        boundary,
        right / max(int((reference.labels > 0).sum()), 1),
        registration,
        epsilon,
        overlap,
    )


def _boundaries(
    reference: GrainMap, other: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 4 of each pair, and the distance of every boundary voxel as a volume."""
    epsilon = np.full(reference.labels.shape, np.nan, np.float32)
    mean = np.full(len(pairs), np.nan)
    boxes = [ndi.find_objects(volume) for volume in (reference.labels, other)]
    for number, (i, j) in enumerate(pairs):
        one, two = boxes[0][i], boxes[1][j] if j < len(boxes[1]) else None
        if one is None or two is None:
            continue
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, two, strict=True)
        )
        masks = reference.labels[box] == i + 1, other[box] == j + 1
        edge, distance = _distances(*masks, reference.voxel_um)
        mean[number] = distance[edge].mean()
        epsilon[box][edge] = distance[edge]
    return mean, epsilon


def _distances(
    reference: np.ndarray, grain: np.ndarray, voxel_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boundary voxels of the reference, and the distance of all voxels to the grain's boundary."""
    edges = [
        mask & ~ndi.binary_erosion(np.pad(mask, 1))[1:-1, 1:-1, 1:-1] for mask in (reference, grain)
    ]
    return edges[0], ndi.distance_transform_edt(~edges[1], sampling=voxel_um)


def _resampled(
    grains: GrainMap, reference: GrainMap, registration: Registration
) -> tuple[np.ndarray, float]:
    """Labels of the map at the reference's voxel centres, and the share that lies within it."""
    out = np.zeros(reference.labels.shape, np.int32)
    z, y, x = (axis.ravel() for axis in reference._axes_mm())
    back = registration.matrix.T
    shape = np.array(grains.labels.shape[::-1])
    covered = 0
    # Plane by plane, so that memory stays that of a plane.
    row = (np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)) @ back.T
    column = np.stack([np.zeros_like(y), y, np.zeros_like(y)], axis=1) @ back.T
    offset = back @ registration.translation_mm + np.array(grains.center_mm)
    for k, height in enumerate(z):
        at = row[None] + column[:, None] + back[:, 2] * height - offset
        index = np.round(at / (grains.voxel_um * 1e-3) + (shape - 1) / 2 + 1e-9).astype(np.int64)
        inside = ((index >= 0) & (index < shape)).all(axis=-1)
        i, j, m = index[inside].T
        out[k][inside] = grains.labels[m, j, i]
        covered += int((inside & (reference.labels[k] > 0)).sum())
    return out, covered / max(int((reference.labels > 0).sum()), 1)


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
    if not reference.any() or not grain.any():
        return float("nan")
    box = tuple(
        slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(reference | grain)
    )
    edge, distance = _distances(reference[box], grain[box], voxel_um)
    return float(distance[edge].mean())
