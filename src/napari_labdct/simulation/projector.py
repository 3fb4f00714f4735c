"""From grains to projections: where each sub-cell of each grain reflects to, and how much.

For a sub-cell at p (laboratory), source S, and scattering vector G = Rz(omega) U B h:

``k0 = (p - S) / |p - S|``, ``sin(theta) = -k0.G / |G|`` (reflects if positive),
``lambda = 2 d sin(theta)``, ``k1 = k0 + lambda G / 2 pi``, and the ray p + t k1 meets the detector.

This is exact for every cell; nothing is linearised about the grain or the optical axis.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd

import numpy as np

from ..core.errors import SettingsError
from ..core.rotations import rotation_z
from ..crystal import HC_KEV_ANGSTROM, Material
from ..crystal.grain_map import GrainMap
from ..scan.geometry import ScanGeometry
from .source import Beam

__all__ = ["PREDICTED_DTYPE", "SIMULATED_DTYPE", "Projection", "Projector", "predict_spots"]

CLASSICAL_ELECTRON_RADIUS_MM = 2.8179403e-12

PREDICTED_DTYPE = np.dtype(
    [
        ("grain", "i4"),
        ("h", "i2"),
        ("k", "i2"),
        ("l", "i2"),
        ("energy_kev", "f4"),
        ("two_theta_deg", "f4"),
        ("row", "f4"),
        ("col", "f4"),
    ]
)

SIMULATED_DTYPE = np.dtype(
    [
        ("frame", "i4"),
        ("omega_deg", "f4"),
        ("id", "i4"),
        ("grain", "i4"),
        ("h", "i2"),
        ("k", "i2"),
        ("l", "i2"),
        ("energy_kev", "f4"),
        ("row", "f4"),
        ("col", "f4"),
        ("area_px", "i4"),
        ("peak", "f4"),
        ("photons", "f4"),
        ("cells", "i4"),
        ("cells_outside_stop", "i4"),
    ]
)


@dataclass(frozen=True)
class _Planes:
    """Reflections grouped by the direction of their plane normal, so that harmonics go together.

    `normal` (p, 3) holds the lowest indices, `strength` (p, orders) the order's factor.
    """

    normal: np.ndarray
    strength: np.ndarray


def _group_planes(material: Material, families: int, fang: bool) -> _Planes:
    # The older model's Debye-Waller exponent is a quarter of that of U = 0.01 angstrom^2.
    reflections = (material.with_u_iso(0.01 / 4) if fang else material).reflections(families)
    factor = reflections.f2 if fang else reflections.f2 * 2 * reflections.d_angstrom**2
    divisor = [gcd(*(abs(i) for i in hkl)) for hkl in reflections.hkl.tolist()]
    normals: dict[tuple[int, ...], int] = {}
    for hkl, order in zip(reflections.hkl.tolist(), divisor, strict=True):
        normals.setdefault(tuple(i // order for i in hkl), len(normals))
    strength = np.zeros((len(normals), max(divisor)))
    for hkl, order, value in zip(reflections.hkl.tolist(), divisor, factor, strict=True):
        strength[normals[tuple(i // order for i in hkl)], order - 1] = value
    return _Planes(np.array(list(normals)), strength)


@dataclass(frozen=True, eq=False)
class Projection:
    """One simulated projection.

    Attributes
    ----------
    image : ndarray of float32 (rows, cols)
        Expected grey levels of the spots alone; 0 in the beam stop.
    labels : ndarray of int32 (rows, cols)
        ``id`` of the brightest spot whose mask holds the pixel, 0 elsewhere. Each mask is made from
        its own spot before the spots are summed.
    spots : ndarray of SIMULATED_DTYPE (n,)
        Every reflection that sends a ray to the detector. ``area_px`` is 0 if nothing of it rises
        above the threshold of the truth; ``photons`` are detected, ``peak`` is in grey levels.
    """

    image: np.ndarray
    labels: np.ndarray
    spots: np.ndarray


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Reflections that may reach the detector at one angle, and what draws some of them."""

    grain: np.ndarray
    plane: np.ndarray
    record: np.ndarray
    cylinder: np.ndarray
    draw: Callable[[np.ndarray, tuple[np.ndarray, ...]], None]


class Projector:
    """Projects one sample at any rotation angle.

    Parameters
    ----------
    grains : GrainMap
    material : Material
    geometry : ScanGeometry
    beam : Beam
        Decides the intensity model, see `Beam.laue` and `Beam.fang2020`.
    families : int
        How many reflection families to use.
    psf_px : float
        Standard deviation of the Gaussian point spread, pixels.
    truth_min_grey, truth_fraction : float
        The mask of a spot is what is connected to its peak above
        max(truth_min_grey, truth_fraction * peak).
    cell_um : float, optional
        Longest edge of a sub-cell; 2.1 pixels / magnification if None, which leaves a ripple of
        2 exp(-2 pi^2 / 2.1^2) = 2 % in a spot blurred by 1 pixel.
    threads : int, optional
        Number of threads; at most 8 cores if None.

    Raises
    ------
    SettingsError
        No reflection lies in the energy window, or nothing reaches the detector.
    """

    def __init__(
        self,
        grains: GrainMap,
        material: Material,
        geometry: ScanGeometry,
        beam: Beam,
        *,
        families: int = 4,
        psf_px: float = 1.0,
        truth_min_grey: float = 1.0,
        truth_fraction: float = 0.11,
        cell_um: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.grains, self.material, self.geometry, self.beam = grains, material, geometry, beam
        self._families = families
        self._planes = _group_planes(material, families, beam.model == "fang2020")
        refuse_the_invisible(material, geometry, beam.energy_kev[[0, -1]], families)
        if cell_um is None:
            cell_um = 2.1 * geometry.pixel_um / geometry.magnification
        self._points, self._first, volume_um3 = grains.cells(cell_um)
        self._strength = self._planes.strength * (
            CLASSICAL_ELECTRON_RADIUS_MM**2 * volume_um3 * 1e12 / material.volume_a3**2
        )
        self._mu = material.attenuation_per_mm(beam.energy_kev)
        self._taps = _gaussian_taps(psf_px)
        self._truth = (float(truth_min_grey), float(truth_fraction))
        self._hidden = geometry.beam_stop_mask()
        self._extent = self._extents()
        self._threads = threads or min(os.cpu_count() or 1, 8)
        self._frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._rays = np.empty((7, len(self._points)), np.float32)
        self._busy = threading.Lock()

    def _extents(self) -> np.ndarray:
        """Radius (n,) in mm of a sphere about each centroid that holds the grain's cells."""
        grain = np.repeat(np.arange(self.grains.n_grains), np.diff(self._first))
        centroid = self.grains.centroids_mm[grain]
        distance = np.linalg.norm(self._points - centroid, axis=1)
        extent = np.zeros(self.grains.n_grains)
        np.maximum.at(extent, grain, distance)
        return extent

    def _buffers(self, count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        while len(self._frames) < count:
            self._frames.append(_empty_frame(self.geometry.shape))
        return self._frames[:count]

    def predict(self, omega_deg: float) -> np.ndarray:
        """Spots of the grains' centroids only, without images; see `predict_spots`."""
        return predict_spots(
            self.grains,
            self.material,
            self.geometry,
            omega_deg,
            energy_kev=(self.beam.energy_kev[0], self.beam.energy_kev[-1]),
            families=self._families,
        )

    def project(self, omega_deg: float, frame: int = 0) -> Projection:
        """The projection at one rotation angle.

        Parameters
        ----------
        omega_deg : float
        frame : int
            Written into the spot table.
        """
        from .kernel import merge_frames

        drawing = self._drawing(omega_deg)
        # Heaviest first, dealt out in turn: every thread gets the same share.
        order = np.argsort(-np.diff(self._first)[drawing.grain], kind="stable")
        shares = [order[i :: self._threads] for i in range(self._threads)]
        shares = [share for share in shares if len(share)] or [order]

        image, best, labels = _empty_frame(self.geometry.shape)
        # The buffers are kept from call to call, so only one call at a time may use them.
        with self._busy:
            frames = self._buffers(len(shares))
            try:
                with ThreadPoolExecutor(self._threads) as pool:
                    self._turn_rays(omega_deg, drawing, pool)
                    list(pool.map(drawing.draw, shares, frames))
                for other in frames:
                    merge_frames(image, best, labels, *other)
            except BaseException:
                self._frames.clear()
                raise
        record, grain, plane = drawing.record, drawing.grain, drawing.plane
        return self._finish(omega_deg, frame, image, labels, record, grain, plane)

    def project_apart(
        self, omega_deg: float, frame: int = 0
    ) -> tuple[np.ndarray, list[tuple[int, int, np.ndarray]]]:
        """The spots of one rotation angle, each in an image of its own.

        Returns
        -------
        spots : ndarray of SIMULATED_DTYPE (n,)
            As in `Projection`.
        images : list of (row, col, ndarray of float32)
            First row and column of each spot, and its expected grey levels; 0 in the beam stop.
        """
        from .kernel import BOTTOM, LEFT, N_HITS, RIGHT, TOP

        drawing = self._drawing(omega_deg)
        images = []
        with self._busy:
            buffers = self._buffers(1)[0]
            try:
                with ThreadPoolExecutor(self._threads) as pool:
                    self._turn_rays(omega_deg, drawing, pool)
                for index in range(len(drawing.grain)):
                    drawing.draw(np.array([index]), buffers)
                    if drawing.record[index, N_HITS] == 0:
                        continue
                    top, left, bottom, right = (
                        int(drawing.record[index, n]) for n in (TOP, LEFT, BOTTOM, RIGHT)
                    )
                    box = (slice(top, bottom), slice(left, right))
                    images.append((top, left, buffers[0][box].copy()))
                    for buffer in buffers:
                        buffer[box] = 0
            except BaseException:
                self._frames.clear()
                raise
        record, grain, plane = drawing.record, drawing.grain, drawing.plane
        return self._table(omega_deg, frame, record, grain, plane)[0], images

    def _turn_rays(self, omega_deg: float, drawing: _Drawing, pool: ThreadPoolExecutor) -> None:
        """Rays from the source to every cell, into `_rays`."""
        from .kernel import incident_rays

        turn, source_x = rotation_z(omega_deg), self.geometry.source_mm[0]

        def part(start: int, end: int) -> None:
            incident_rays(
                start, end, self._points, turn[0, 0], turn[1, 0], source_x, drawing.cylinder,
                self._rays,
            )  # fmt: skip

        blocks = np.linspace(0, len(self._points), self._threads + 1).astype(int)
        list(pool.map(part, blocks[:-1], blocks[1:]))

    def _drawing(self, omega_deg: float) -> _Drawing:
        """What is drawn at one rotation angle, and how."""
        from .kernel import RECORD, draw_spots

        grain, plane, normal, base = self._candidates(omega_deg)
        geometry, beam = self.geometry, self.beam
        record = np.zeros((len(grain), RECORD))
        middle = rotation_z(omega_deg) @ np.array(self.grains.center_mm)
        cylinder = np.array([middle[0], middle[1], self.grains.radius_mm], np.float32)
        plane_of_detector = _plane_from(geometry, cylinder)
        energy = beam.energy_kev

        def draw(share: np.ndarray, images: tuple[np.ndarray, ...]) -> None:
            draw_spots(
                share,
                grain,
                normal.astype(np.float32),
                base,
                self._strength[plane],
                self._first,
                self._rays,
                plane_of_detector,
                self._hidden,
                beam.table,
                self._mu,
                energy[0],
                energy[1] - energy[0],
                cylinder,
                beam.model == "fang2020",
                self._taps,
                *self._truth,
                *images,
                record,
            )

        return _Drawing(grain, plane, record, cylinder, draw)

    def _candidates(self, omega_deg: float) -> tuple[np.ndarray, ...]:
        """Grain, plane, unit normal and hc / (2 d) of reflections that may reach the detector."""
        planes, geometry = self._planes, self.geometry
        scattering = planes.normal @ self.material.b_matrix.T
        length = np.linalg.norm(scattering, axis=1)
        turn = rotation_z(omega_deg)
        lab = np.einsum("ij,gjk,pk->gpi", turn, self.grains.orientations, scattering)
        lab /= length[:, None]
        base = HC_KEV_ANGSTROM * length / (4 * np.pi)
        filled = np.diff(self._first) > 0
        point = np.where(filled[:, None], self.grains.centroids_mm, 0.0) @ turn.T
        ray = point - geometry.source_mm
        distance = np.linalg.norm(ray, axis=1)
        ray /= distance[:, None]
        sine = -np.einsum("gi,gpi->gp", ray, lab)
        # Over the grain the incident ray, and with it sin(theta), changes by at most this much.
        swing = (self._extent / distance)[:, None]
        with np.errstate(divide="ignore"):
            low = base / (sine + swing)
            high = np.where(sine > swing, base / np.maximum(sine - swing, 1e-9), np.inf)
        window = self.beam.energy_kev[[0, -1]]
        keep = (sine + swing > 0) & filled[:, None]
        order = np.arange(1, planes.strength.shape[1] + 1)
        present = planes.strength > 0
        most = np.where(present, order, 0).max(axis=1)
        least = np.where(present, order, np.inf).min(axis=1)
        keep &= (high * most >= window[0]) & (low * least <= window[1])
        grain, plane = np.nonzero(keep)
        normal, at = lab[grain, plane], sine[grain, plane]
        out = ray[grain] + 2 * at[:, None] * normal
        hit = geometry.intersect(point[grain], out)
        away = np.linalg.norm(geometry.pixel_to_lab(hit[:, 0], hit[:, 1]) - point[grain], axis=1)
        # A hit moves with its cell and with k1, which a mirror plane turns as much as k0; both
        # count more on a detector that is met at an angle.
        forward = np.maximum(out @ geometry.detector_axes[:, 0], 0.05)
        margin = self._extent[grain] + 1.1 * swing[grain, 0] * away
        margin = margin / forward**2 / geometry.pixel_mm + self._taps.size
        rows, cols = geometry.shape
        inside = (hit[:, 0] > -margin) & (hit[:, 0] < rows + margin)
        inside &= (hit[:, 1] > -margin) & (hit[:, 1] < cols + margin)
        inside |= np.isnan(hit[:, 0]) & (forward < 0.1)
        return (
            grain[inside],
            plane[inside],
            np.ascontiguousarray(normal[inside]),
            base[plane][inside],
        )

    def _finish(
        self,
        omega_deg: float,
        frame: int,
        image: np.ndarray,
        labels: np.ndarray,
        record: np.ndarray,
        grain: np.ndarray,
        plane: np.ndarray,
    ) -> Projection:
        spots, real = self._table(omega_deg, frame, record, grain, plane)
        number = np.zeros(len(record) + 1, np.int32)
        number[real + 1] = np.arange(1, len(real) + 1)
        return Projection(image, number[labels], spots)

    def _table(
        self,
        omega_deg: float,
        frame: int,
        record: np.ndarray,
        grain: np.ndarray,
        plane: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The spot table, and which of the candidates each row is."""
        from . import kernel as k

        real = np.flatnonzero(record[:, k.N_HITS] > 0)
        record = record[real]
        spots = np.zeros(len(real), SIMULATED_DTYPE)
        hkl = self._planes.normal[plane[real]] * record[:, k.ORDER, None].astype(int)
        spots["frame"], spots["omega_deg"] = frame, omega_deg
        spots["id"] = np.arange(1, len(real) + 1)
        spots["grain"] = self.grains.grain_ids[grain[real]]
        spots["h"], spots["k"], spots["l"] = hkl.T
        for name, column in (
            ("energy_kev", k.ENERGY),
            ("row", k.ROW),
            ("col", k.COL),
            ("area_px", k.AREA),
            ("peak", k.PEAK),
            ("cells", k.N_HITS),
            ("cells_outside_stop", k.N_OUTSIDE),
        ):
            spots[name] = record[:, column]
        spots["photons"] = record[:, k.GREY] / self.beam.gain
        return spots, real


def _plane_from(geometry: ScanGeometry, origin: np.ndarray) -> np.ndarray:
    """The detector as `kernel.reflect` wants it, for positions relative to `origin` (x, y)."""
    normal, y, z = geometry.detector_axes.T
    center = geometry.center_mm - np.array([origin[0], origin[1], 0.0])
    row, col = -z / geometry.pixel_mm, -y / geometry.pixel_mm
    row_0, col_0 = geometry.detector_center_px
    seen = [normal @ center, row_0 - row @ center, col_0 - col @ center]
    return np.array([normal, row, col, seen], np.float32)


def _empty_frame(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum, brightest single spot and label of every pixel, all 0."""
    return np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32)


def predict_spots(
    grains: GrainMap | tuple[np.ndarray, np.ndarray],
    material: Material,
    geometry: ScanGeometry,
    omega_deg: float,
    *,
    energy_kev: tuple[float, float] = (13.0, 138.0),
    families: int = 4,
) -> np.ndarray:
    """Where the centroids of grains reflect to; exact and fast, no images.

    Parameters
    ----------
    grains : GrainMap or (positions_mm (n, 3), orientations (n, 3, 3))
    material : Material
    geometry : ScanGeometry
    omega_deg : float
    energy_kev : tuple of float
        Lowest and highest energy of the beam.
    families : int
        How many reflection families.

    Returns
    -------
    ndarray of PREDICTED_DTYPE
        One row per reflection (harmonics apart) that meets the detector outside the beam stop.
        ``grain`` is the grain's id, or 1 + its index.
    """
    if isinstance(grains, GrainMap):
        position, orientation, ids = grains.centroids_mm, grains.orientations, grains.grain_ids
        real = np.isfinite(position).all(axis=1)
        position, orientation, ids = position[real], orientation[real], ids[real]
    else:
        position, orientation = (np.asarray(a, float) for a in grains)
        ids = np.arange(1, len(position) + 1)
    hkl = material.reflections(families).hkl
    scattering = hkl @ material.b_matrix.T
    length = np.linalg.norm(scattering, axis=1)
    turn = rotation_z(omega_deg)
    normal = np.einsum("ij,gjk,pk->gpi", turn, orientation, scattering) / length[:, None]
    point = position @ turn.T
    ray = point - geometry.source_mm
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    sine = -np.einsum("gi,gpi->gp", ray, normal)
    with np.errstate(divide="ignore"):
        energy = HC_KEV_ANGSTROM * length / (4 * np.pi) / sine
    grain, plane = np.nonzero((energy > energy_kev[0]) & (energy < energy_kev[1]))
    out = ray[grain] + 2 * sine[grain, plane, None] * normal[grain, plane]
    hit = geometry.intersect(point[grain], out)
    rows, cols = geometry.shape
    on = (hit > -0.5).all(axis=1) & (hit[:, 0] < rows - 0.5) & (hit[:, 1] < cols - 0.5)
    nearest = np.floor(hit[on] + 0.5).astype(int)
    on[on] = ~geometry.beam_stop_mask()[nearest[:, 0], nearest[:, 1]]
    grain, plane, hit = grain[on], plane[on], hit[on]
    spots = np.zeros(len(grain), PREDICTED_DTYPE)
    spots["grain"] = ids[grain]
    spots["h"], spots["k"], spots["l"] = hkl[plane].T
    spots["energy_kev"] = energy[grain, plane]
    spots["two_theta_deg"] = 2 * np.degrees(np.arcsin(sine[grain, plane]))
    spots["row"], spots["col"] = hit.T
    return spots


def refuse_the_invisible(
    material: Material, geometry: ScanGeometry, energy_kev: np.ndarray, families: int
) -> None:
    """Refuse settings with which no image can have a spot.

    Raises
    ------
    SettingsError
        The energy window holds no reflection, or none of them reaches the detector.
    """
    low, high = float(energy_kev[0]), float(energy_kev[1])
    half = HC_KEV_ANGSTROM / (2 * material.reflections(families).d_angstrom)
    half = half[half <= high]
    if len(half) == 0:
        raise SettingsError(
            f"No reflection of {material.name} lies between {low:g} and {high:g} keV; "
            "raise the tube voltage or the upper energy."
        )
    smallest = 2 * np.arcsin(half / high)
    largest = 2 * np.arcsin(np.minimum(half / low, 1.0))
    rows, cols = geometry.shape
    line = [np.linspace(-0.5, n - 0.5, 33) for n in (rows, cols)]
    row, col = np.meshgrid(*line, indexing="ij")
    open_ = ~geometry.beam_stop_mask()
    at = (np.clip(row, 0, rows - 1).astype(int), np.clip(col, 0, cols - 1).astype(int))
    x, y, z = np.moveaxis(geometry.pixel_to_lab(row, col)[open_[at]], -1, 0)
    angle = np.arctan2(np.hypot(y, z), x)
    if not open_.any() or len(angle) == 0:
        raise SettingsError("Nothing reaches the detector: the beam stop covers all of it.")
    if (smallest > angle.max()).all() or (largest < angle.min()).all():
        raise SettingsError(
            f"Nothing reaches the detector: it covers scattering angles from "
            f"{np.degrees(angle.min()):.1f} to {np.degrees(angle.max()):.1f} degrees, and "
            f"{material.name} reflects to {np.degrees(smallest.min()):.1f} degrees and more; "
            "check the distances, the pixel size and the detector centre."
        )


def _gaussian_taps(sigma_px: float) -> np.ndarray:
    """Gaussian of unit sum, cut at 4 sigma; a single 1 if there is no point spread."""
    if not sigma_px >= 0:
        raise SettingsError(f"The point spread must be 0 px or more, not {sigma_px}.")
    radius = int(np.ceil(4 * sigma_px))
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / max(sigma_px, 1e-9)) ** 2)
    return (taps / taps.sum()).astype(np.float32)
