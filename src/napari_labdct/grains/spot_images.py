"""The spots of a scan in memory, one byte a pixel, with the geometry the kernels need."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..core.errors import ScanError, SettingsError
from ..core.stacks import FrameStack
from ..crystal import HC_KEV_ANGSTROM, Material
from ..scan.geometry import ScanGeometry, rotation_z
from ..spots.measurement import spot_pixels
from .kernels import BINS, DISTANCE, EXPLAINED, HIDDEN, Planes, Views, describe_pixels

__all__ = ["SpotImages", "lattice_planes", "spot_length_px"]


def lattice_planes(
    material: Material, families: int, energy_kev: tuple[float, float]
) -> tuple[Planes, np.ndarray]:
    """Lattice planes of the first families, harmonics together.

    Returns
    -------
    planes : Planes
    hkl : ndarray of int (n, 3)
        Lowest indices of each plane.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for hkl in material.reflections(families).hkl.tolist():
        order = int(np.gcd.reduce(np.abs(hkl)))
        lowest = tuple(i // order for i in hkl)
        if lowest > tuple(-i for i in lowest):
            found.setdefault(lowest, []).append(order)
    hkl = np.array(list(found))
    scattering = hkl @ material.b_matrix.T
    length = np.linalg.norm(scattering, axis=1)
    base = HC_KEV_ANGSTROM * length / (4 * np.pi)
    orders = list(found.values())
    low = base * [min(n) for n in orders] / energy_kev[1]
    high = base * [max(n) for n in orders] / energy_kev[0]
    limits = np.minimum(np.stack([low, high], axis=1), 1.0)
    return Planes(scattering / length[:, None], limits), hkl


class SpotImages:
    """Spots of all projections as bytes (see `kernels`), and where they were seen from.

    Parameters
    ----------
    spots : stack (n, rows, cols)
        Anything that is not 0 is a spot. Read one projection at a time.
    geometry : ScanGeometry
    omega_deg : ndarray (n,)
    radius_mm : float
        Largest distance of a sample point from the origin.
    hidden : bool array (rows, cols), optional
        Where no spot can be; the shadow of the beam stop if not given.

    Attributes
    ----------
    views : kernels.Views
    """

    def __init__(
        self,
        spots: FrameStack,
        geometry: ScanGeometry,
        omega_deg: np.ndarray,
        radius_mm: float,
        hidden: np.ndarray | None = None,
    ) -> None:
        shape = tuple(spots.shape)
        if len(shape) != 3 or shape[0] != len(omega_deg) or shape[1:] != geometry.shape:
            raise ScanError(
                f"The spots have shape {shape}, the scan {(len(omega_deg), *geometry.shape)}; "
                "give a binary stack of this scan."
            )
        self.geometry, self.omega_deg = geometry, np.asarray(omega_deg, float)
        self._spots, self._radius_mm = spots, radius_mm
        self.hidden = geometry.beam_stop_mask() if hidden is None else hidden
        self.images = np.empty(shape, np.uint8)
        self.views = _views(self.images, geometry, self.omega_deg, radius_mm, self.hidden)

    def load(self) -> Iterator[int]:
        """Read the spots, a few projections at a time; yields how many are in."""
        n = len(self.images)
        with ThreadPoolExecutor(2) as pool:
            for first in range(0, n, 8):
                block = range(first, min(first + 8, n))
                list(pool.map(self._describe, block))
                yield block[-1] + 1

    def _describe(self, index: int) -> None:
        mask = np.ascontiguousarray(spot_pixels(self._spots[index]))
        mask &= ~self.hidden
        describe_pixels(mask, self.hidden, self.images[index])

    def coverage(self, tolerance: int) -> float:
        """Share of the pixels that count within `tolerance` of a spot nobody explains."""
        rows = max(1, self.images.shape[1] // 97)
        seen = self.images[:, ::rows]
        plain = (seen & EXPLAINED) == 0
        near = plain & ((seen & DISTANCE) <= tolerance)
        return float(near.sum() / max(plain.sum(), 1))

    def spot_pixels(
        self, frames: np.ndarray, thin: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unexplained spot pixels of some projections, `thin` to one, for `voting_kernels.vote`.

        Returns
        -------
        start : int64 (n + 1,)
        rows, cols : int16 (m,)
        """
        counts = np.zeros(len(self.images) + 1, np.int64)
        rows, cols = [], []
        chosen = set(np.asarray(frames).tolist())
        for frame in sorted(chosen):
            image = self.images[frame]
            r, c = np.nonzero((image & (DISTANCE | EXPLAINED)) == 0)
            if thin > 1:
                # A lattice at 45 degrees leaves something of thin lines of any direction.
                keep = (r + 2 * c) % thin == frame % thin
                r, c = r[keep], c[keep]
            counts[frame + 1] = len(r)
            rows.append(r.astype(np.int16))
            cols.append(c.astype(np.int16))
        empty = [np.zeros(0, np.int16)]
        return np.cumsum(counts), np.concatenate(rows or empty), np.concatenate(cols or empty)

    def forget(self) -> None:
        """Take back what was explained."""
        for _ in self.forgetting():
            pass

    def forgetting(self) -> Iterator[int]:
        """Take back what was explained, a few projections at a time; yields how many are done."""
        for done, image in enumerate(self.images, 1):
            image[image != HIDDEN] &= 255 - EXPLAINED
            if done % 8 == 0:
                yield done

    def seen_from(self, geometry: ScanGeometry, omega_deg: np.ndarray) -> SpotImages:
        """The same spots, not copied, as another geometry explains them."""
        other = object.__new__(SpotImages)
        other.__dict__.update(self.__dict__)
        other.geometry, other.omega_deg = geometry, omega_deg
        other.views = _views(self.images, geometry, omega_deg, self._radius_mm, self.hidden)
        return other

    def shuffled(self, rng: np.random.Generator) -> SpotImages:
        """The same spots, not copied, at shuffled angles: what is found in them is chance."""
        omega = self.omega_deg[rng.permutation(len(self.omega_deg))]
        return self.seen_from(self.geometry, omega)


def _views(
    images: np.ndarray,
    geometry: ScanGeometry,
    omega_deg: np.ndarray,
    radius_mm: float,
    hidden: np.ndarray,
) -> Views:
    axes = geometry.detector_axes
    turns = np.array([axes.T @ rotation_z(w) for w in omega_deg])
    center = axes.T @ geometry.center_mm
    source = axes.T @ geometry.source_mm
    row, col = geometry.center_px
    scale = 1 / geometry.pixel_mm
    camera = np.array([*source, center[0], row + center[2] * scale, col + center[1] * scale, scale])
    angle = np.mod(np.radians(omega_deg), 2 * np.pi)
    order = np.argsort(angle, kind="stable")
    angle = angle[order]
    angle = np.concatenate([angle, angle + 2 * np.pi])
    first = np.searchsorted(angle, np.arange(BINS + 1) * 2 * np.pi / BINS)
    low, high = _sines(geometry, hidden)
    # How far sin(theta) of one plane differs over the sample: the incident ray turns.
    swing = radius_mm / geometry.source_sample_mm
    return Views(
        images,
        np.ascontiguousarray(turns),
        camera,
        np.append(angle, np.inf),
        np.append(np.tile(order, 2), 0).astype(np.int32),
        first.astype(np.int64),
        np.array([max(low - swing / 2, 0.005), high + swing / 2, swing + 0.002]),
    )


def _sines(geometry: ScanGeometry, hidden: np.ndarray) -> tuple[float, float]:
    """Least and largest sin(theta) that the open part of the detector sees from the origin."""
    if hidden.all():
        raise SettingsError(
            "The beam stop and the detector mask cover the whole detector; correct beam_stop_px "
            "and mask."
        )
    rows, cols = geometry.shape
    line = [np.unique(np.linspace(0, n - 1, 65).round().astype(int)) for n in (rows, cols)]
    row, col = np.meshgrid(*line, indexing="ij")
    points = geometry.pixel_to_lab(row, col)
    sine = np.sin(np.arctan2(np.hypot(points[..., 1], points[..., 2]), points[..., 0]) / 2)
    seen = sine[~hidden[row, col]]
    return float(seen.min()), float(seen.max())


def spot_length_px(images: np.ndarray, frames: int = 5) -> float:
    """Median length of spots along their longer axis, px: four standard deviations of a disc.

    Parameters
    ----------
    images : ndarray of uint8 (n, rows, cols)
        See `kernels`.
    frames : int
        How many projections are looked at.

    Raises
    ------
    ScanError
        They hold no spot.
    """
    from scipy import ndimage as ndi

    lengths = []
    for index in np.unique(np.linspace(0, len(images) - 1, frames).round().astype(int)):
        spots, count = ndi.label((images[index] & DISTANCE) == 0)
        row, col = np.nonzero(spots)
        number = spots[row, col]
        area = np.bincount(number, minlength=count + 1)[1:]
        mean = [np.bincount(number, x, count + 1)[1:] / area for x in (row, col)]
        dr, dc = row - mean[0][number - 1], col - mean[1][number - 1]
        rr, cc, rc = (
            np.bincount(number, x, count + 1)[1:] / area for x in (dr * dr, dc * dc, dr * dc)
        )
        largest = (rr + cc) / 2 + np.sqrt(((rr - cc) / 2) ** 2 + rc**2)
        lengths.append(4 * np.sqrt(largest[area >= 4] + 1 / 12))
    every = np.concatenate(lengths)
    if len(every) == 0:
        raise ScanError("The binary stack holds no spot of 4 pixels; check how it was made.")
    return float(np.median(every))
