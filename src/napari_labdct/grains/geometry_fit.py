"""Least squares of a scan's geometry: where reflections of grains fall, and where spots are.

Seven numbers say where everything is: the two distances, the pixel (row, col) that the optical
axis meets, and three tilts. The optical axis goes from the source through the rotation axis, so an
axis beside the middle of the detector is a detector centre beside its middle.

Each grain adds six unknowns of its own, orientation and centre. A residual depends on one grain
only, so those six are eliminated grain by grain (a Schur complement), and what remains is a small
problem in the geometry. Its curvature tells what the data can and cannot say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from ..core.errors import SettingsError
from ..scan.geometry import ScanGeometry, rotation_x, rotation_y, rotation_z
from .kernels import rotation_of

__all__ = [
    "NAMES", "UNITS", "GeometryFit", "Observed", "SpotTable", "as_vector", "fit_geometry", "places",
    "with_vector",
]  # fmt: skip

#: What the seven numbers are called, and their units.
NAMES = (
    "source-sample distance", "sample-detector distance", "detector centre row",
    "detector centre column", "tilt about x", "tilt about y", "tilt about z",
)  # fmt: skip
UNITS = ("mm", "mm", "px", "px", "deg", "deg", "deg")

#: Steps of the numerical derivatives, in units of the vector.
_STEPS = np.array([1e-4, 1e-4, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3])
#: Derivatives by the orientation (rad) and the centre (mm) of a grain.
_TURN, _SHIFT = 1e-5, 1e-5
#: Every projection's spots lie this far from the next ones' in the search for the nearest spot, px.
_APART = 1e5


def as_vector(geometry: ScanGeometry) -> np.ndarray:
    """The seven numbers of a geometry, in the order of `NAMES`."""
    g = geometry
    return np.array([g.source_sample_mm, g.sample_detector_mm, *g.center_px, *g.detector_tilt_deg])


def with_vector(geometry: ScanGeometry, vector: np.ndarray) -> ScanGeometry:
    """A geometry with other numbers; the pixel, the detector and the beam stop stay."""
    lss, lsd, row, col, tx, ty, tz = (float(v) for v in vector)
    return replace(
        geometry, source_sample_mm=lss, sample_detector_mm=lsd, detector_center_px=(row, col),
        detector_tilt_deg=(tx, ty, tz),
    )  # fmt: skip


def places(
    vector: np.ndarray, pixel_mm: float, turns: np.ndarray, normals: np.ndarray, point: np.ndarray
) -> np.ndarray:
    """(row, col) (m, 2) where lattice planes of a point reflect to.

    Parameters
    ----------
    vector : ndarray (7,)
        See `NAMES`.
    pixel_mm : float
    turns : ndarray (m, 3, 3)
        From the sample into the laboratory.
    normals : ndarray (m, 3)
        Unit scattering vectors in the sample.
    point : ndarray (3,)
        In the sample, mm.
    """
    lss, lsd, row, col, tx, ty, tz = vector
    axes = rotation_z(tz) @ rotation_y(ty) @ rotation_x(tx)
    at = turns @ point
    planes = np.einsum("mij,mj->mi", turns, normals)
    ray = at + np.array([lss, 0.0, 0.0])
    out = ray - 2 * np.einsum("mi,mi->m", ray, planes)[:, None] * planes
    center = np.array([lsd, 0.0, 0.0])
    far = ((center - at) @ axes[:, 0]) / (out @ axes[:, 0])
    offset = (at + far[:, None] * out - center) @ axes
    return np.array([row, col]) - offset[:, [2, 1]] / pixel_mm


class SpotTable:
    """Centres of the spots of every projection, to find the one next to a place.

    Spots that touch the edge of the detector or the beam stop are left out: their centres are not
    those of what the grain reflects.
    """

    def __init__(self, n_frames: int) -> None:
        self._parts: list[np.ndarray] = [np.zeros((0, 3))] * n_frames
        self._tree: cKDTree | None = None

    def add(self, frame: int, spots: np.ndarray, hidden: np.ndarray) -> None:
        """Measure the spots (bool) of one projection."""
        labels, count = ndi.label(spots, np.ones((3, 3)))
        row, col = np.nonzero(labels)
        number = labels[row, col]
        area = np.bincount(number, minlength=count + 1)[1:]
        middle = np.stack(
            [np.bincount(number, x, count + 1)[1:] / np.maximum(area, 1) for x in (row, col)], 1
        )
        open_ = np.pad(~hidden, 1)
        near = ~ndi.binary_erosion(open_, np.ones((5, 5)))[1:-1, 1:-1]
        cut = np.zeros(count + 1, bool)
        cut[labels[near]] = True
        kept = ~cut[1:] & (area >= 3)
        at = np.full((int(kept.sum()), 1), frame * _APART)
        self._parts[frame] = np.hstack([middle[kept], at])
        self._tree = None

    def nearest(self, frames: np.ndarray, where: np.ndarray, within: float) -> np.ndarray:
        """Centres (m, 2) of the spots next to places (m, 2); NaN if none is within so many px."""
        if self._tree is None:
            self._every = np.concatenate(self._parts)
            self._tree = cKDTree(self._every) if len(self._every) else None
        out = np.full((len(frames), 2), np.nan)
        if self._tree is None or len(frames) == 0:
            return out
        at = np.column_stack([where, np.asarray(frames) * _APART])
        distance, index = self._tree.query(at, distance_upper_bound=within)
        hit = np.isfinite(distance)
        out[hit] = self._every[index[hit], :2]
        return out


@dataclass
class Observed:
    """One grain and the spots it is fitted to.

    Attributes
    ----------
    orientation : ndarray (3, 3)
    point_mm : ndarray (3,)
    crystal : ndarray (m, 3)
        Unit scattering vectors in the crystal.
    turns : ndarray (m, 3, 3)
        Rotation of the sample in the projection of each.
    frames : ndarray (m,)
    spots : ndarray (m, 2)
        (row, col) that were seen.
    """

    orientation: np.ndarray
    point_mm: np.ndarray
    crystal: np.ndarray
    turns: np.ndarray
    frames: np.ndarray
    spots: np.ndarray

    def places(self, vector: np.ndarray, pixel_mm: float) -> np.ndarray:
        """Where the reflections fall (m, 2)."""
        normals = self.crystal @ self.orientation.T
        return places(vector, pixel_mm, self.turns, normals, self.point_mm)

    def off_px(self, vector: np.ndarray, pixel_mm: float) -> np.ndarray:
        """Distance (m,) between where the reflections fall and where they were seen."""
        return np.linalg.norm(self.places(vector, pixel_mm) - self.spots, axis=1)

    def moved(self, change: np.ndarray) -> Observed:
        """Turned by a small rotation vector (rad) and shifted (mm)."""
        return replace(
            self, orientation=rotation_of(*change[:3]) @ self.orientation,
            point_mm=self.point_mm + change[3:],
        )  # fmt: skip

    def only(self, keep: np.ndarray) -> Observed:
        """The reflections chosen by a boolean array."""
        return replace(
            self, crystal=self.crystal[keep], turns=self.turns[keep], frames=self.frames[keep],
            spots=self.spots[keep],
        )  # fmt: skip

    def derivatives(
        self, vector: np.ndarray, pixel_mm: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals (2 m,) and how places change (2 m, 7) with the geometry and (2 m, 6) with the
        grain."""
        start = self.places(vector, pixel_mm)
        by_geometry = np.empty((start.size, len(vector)))
        for k, step in enumerate(_STEPS):
            other = vector.copy()
            other[k] += step
            by_geometry[:, k] = (self.places(other, pixel_mm) - start).ravel() / step
        by_grain = np.empty((start.size, 6))
        for k in range(6):
            step = _TURN if k < 3 else _SHIFT
            change = np.zeros(6)
            change[k] = step
            by_grain[:, k] = (self.moved(change).places(vector, pixel_mm) - start).ravel() / step
        return (self.spots - start).ravel(), by_geometry, by_grain


@dataclass(frozen=True, eq=False)
class GeometryFit:
    """A fitted geometry.

    Attributes
    ----------
    vector : ndarray (7,)
    grains : list of Observed
    residual_px : float
        Median distance between predicted and seen spot centres.
    information : ndarray (7, 7)
        What the spots alone say of the seven numbers: the inverse of their covariance.
    prior : ndarray (7,)
        By how much the numbers could be off before.
    """

    vector: np.ndarray
    grains: list[Observed]
    residual_px: float
    information: np.ndarray
    prior: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations (7,), what was known before included."""
        both = self.information + np.diag(self.prior**-2.0)
        return np.sqrt(np.maximum(np.diag(np.linalg.inv(both)), 0.0))

    def untold(self, share: float = 0.5) -> list[tuple[str, ...]]:
        """Which numbers the spots leave open: one name, or several known only together.

        The directions in the space of the numbers (in units of what they could be off before)
        along which the spots leave more than `share` of it: eigenvectors of the information whose
        eigenvalue is below ``share**-2``.
        """
        scaled = self.prior[:, None] * self.information * self.prior
        values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
        open_ = vectors[:, values < share**-2.0]
        return [tuple(NAMES[k] for k in np.flatnonzero(np.abs(v) > 0.35)) for v in open_.T]


def fit_geometry(
    vector: np.ndarray,
    pixel_mm: float,
    grains: Sequence[Observed],
    given: np.ndarray,
    prior: np.ndarray,
    rounds: int = 12,
    noise_px: float = 0.0,
) -> GeometryFit:
    """Geometry, orientations and centres for which the reflections fall onto their spots.

    Parameters
    ----------
    vector : ndarray (7,)
        Where to begin.
    pixel_mm : float
    grains : sequence of Observed
    given, prior : ndarray (7,)
        What the numbers should be and by how much they may be off: they hold still what the spots
        leave open.
    rounds : int
    noise_px : float
        Least error of a spot's centre that is believed.
    """
    vector, grains = vector.copy(), list(grains)
    for _ in range(rounds):
        scale = max(_spread(vector, pixel_mm, grains), noise_px, 0.02)
        told, right, solved = np.zeros((7, 7)), (given - vector) / prior**2, []
        for grain in grains:
            residual, by_geometry, by_grain = grain.derivatives(vector, pixel_mm)
            # Cauchy's weights: a neighbour's spot counts for little.
            off = np.repeat(np.linalg.norm(residual.reshape(-1, 2), axis=1), 2)
            weight = 1 / (scale * np.sqrt(1 + (off / (2.5 * scale)) ** 2))
            # Neighbouring projections show the same error twice.
            weight /= np.sqrt(2)
            r, a, b = residual * weight, by_geometry * weight[:, None], by_grain * weight[:, None]
            size = np.linalg.norm(b, axis=0) + 1e-12
            q, upper = np.linalg.qr(b / size)
            a_free, r_free = a - q @ (q.T @ a), r - q @ (q.T @ r)
            told += a_free.T @ a_free
            right += a_free.T @ r_free
            solved.append((q, upper, size, a, r))
        change = np.linalg.solve(told + np.diag(prior**-2.0), right)
        vector = vector + change
        for i, (q, upper, size, a, r) in enumerate(solved):
            own = np.linalg.lstsq(upper, q.T @ (r - a @ change), rcond=1e-8)[0] / size
            grains[i] = grains[i].moved(own)
        if (np.abs(change) < 0.01 * _STEPS).all():
            break
    off = np.concatenate([g.off_px(vector, pixel_mm) for g in grains])
    return GeometryFit(vector, grains, float(np.median(off)), told, prior)


def _spread(vector: np.ndarray, pixel_mm: float, grains: Sequence[Observed]) -> float:
    """Standard deviation per axis of residuals, from their median."""
    if not grains:
        raise SettingsError("A geometry needs at least one grain.")
    return float(np.median(np.concatenate([g.off_px(vector, pixel_mm) for g in grains])) / 1.18)
