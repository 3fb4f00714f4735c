"""Where things are: source, axis, detector, beam stop; laboratory points to pixels and back.

Laboratory frame (right-handed, mm): x along the optical axis from source to detector, z up along
the rotation axis, y = z cross x (to the left when looking downstream). The source stands at
(-source_sample_mm, 0, 0), the rotation axis goes through the origin, and the detector centre lies
at (sample_detector_mm, 0, 0). A positive rotation angle turns the sample counter-clockwise seen
from +z. On an untilted detector ``row = row0 - z / pixel`` and ``col = col0 - y / pixel``, pixel
centres having integer coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import SettingsError
from ..core.rotations import rotation_x, rotation_y, rotation_z

__all__ = ["ScanGeometry", "polygon_mask", "rotation_x", "rotation_y", "rotation_z"]


@dataclass(frozen=True)
class ScanGeometry:
    """The complete geometry of one scan.

    Parameters
    ----------
    source_sample_mm : float
        Distance from the source to the rotation axis.
    sample_detector_mm : float
        Distance from the rotation axis to the detector centre, along the optical axis.
    pixel_um : float
        Edge of one (binned) pixel at the detector plane.
    shape : tuple of int
        Detector (rows, cols).
    detector_center_px : tuple of float, optional
        (row, col) where the optical axis meets the detector, 0-based with integers at pixel
        centres. The middle of the detector, ((rows - 1) / 2, (cols - 1) / 2), if None.
    detector_tilt_deg : tuple of float
        Rotations (x, y, z) of the detector about its centre, R = Rz Ry Rx.
    beam_stop_px : tuple of polygons
        Each polygon is ((row, col), ...), at least three vertices; pixels inside see no beam.

    Raises
    ------
    SettingsError
        If the geometry cannot exist.
    """

    source_sample_mm: float
    sample_detector_mm: float
    pixel_um: float
    shape: tuple[int, int]
    detector_center_px: tuple[float, float] | None = None
    detector_tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beam_stop_px: tuple[tuple[tuple[float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for name in ("source_sample_mm", "sample_detector_mm", "pixel_um"):
            value = _finite(getattr(self, name), name)
            if value <= 0:
                raise SettingsError(f"{name} must be larger than 0, not {value:g}.")
            set_(self, name, value)
        shape = tuple(self.shape)
        if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
            raise SettingsError(
                f"The detector shape must be two whole numbers (rows, cols) above 0, not {shape}."
            )
        rows, cols = int(shape[0]), int(shape[1])
        set_(self, "shape", (rows, cols))
        center = self.detector_center_px
        if center is None:
            center = ((rows - 1) / 2, (cols - 1) / 2)
        set_(self, "detector_center_px", _numbers(center, 2, "detector_center_px (row, col)"))
        tilt = _numbers(self.detector_tilt_deg, 3, "detector_tilt_deg (x, y, z)")
        set_(self, "detector_tilt_deg", tilt)
        polygons = tuple(
            tuple(_numbers(vertex, 2, "a beam_stop_px vertex (row, col)") for vertex in polygon)
            for polygon in self.beam_stop_px
        )
        if any(len(polygon) < 3 for polygon in polygons):
            raise SettingsError("A beam-stop polygon needs at least three (row, col) vertices.")
        set_(self, "beam_stop_px", polygons)
        normal = self.detector_axes[:, 0]
        if normal[0] < 0.05:
            raise SettingsError(
                "The detector is tilted so far that it no longer faces the source; "
                f"detector_tilt_deg is {tilt}."
            )
        self._refuse_detector_at_source(normal)

    def _refuse_detector_at_source(self, normal: np.ndarray) -> None:
        corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * (np.array(self.shape) - 1.0)
        x = self.pixel_to_lab(corners[:, 0], corners[:, 1])[:, 0]
        if x.min() <= -self.source_sample_mm or normal @ (self.center_mm - self.source_mm) <= 0:
            raise SettingsError(
                "The tilted detector reaches behind the source; check detector_tilt_deg, "
                "detector_center_px and pixel_um."
            )

    @property
    def pixel_mm(self) -> float:
        """Edge of one pixel in mm."""
        return self.pixel_um * 1e-3

    @property
    def source_mm(self) -> np.ndarray:
        """Source position (3,) in the laboratory, mm."""
        return np.array([-self.source_sample_mm, 0.0, 0.0])

    @property
    def center_px(self) -> tuple[float, float]:
        """`detector_center_px`, the middle of the detector if none was given."""
        assert self.detector_center_px is not None  # filled in when the geometry was made
        return self.detector_center_px

    @property
    def center_mm(self) -> np.ndarray:
        """Detector centre (3,) in the laboratory, mm: the point seen at `detector_center_px`."""
        return np.array([self.sample_detector_mm, 0.0, 0.0])

    @property
    def detector_axes(self) -> np.ndarray:
        """Matrix (3, 3), R = Rz Ry Rx: its columns are the detector's normal, y and z."""
        tx, ty, tz = self.detector_tilt_deg
        return rotation_z(tz) @ rotation_y(ty) @ rotation_x(tx)

    @property
    def magnification(self) -> float:
        """Magnification of the shadow of a point on the rotation axis, (Lss + Lsd) / Lss."""
        return (self.source_sample_mm + self.sample_detector_mm) / self.source_sample_mm

    @property
    def max_two_theta_deg(self) -> float:
        """Largest scattering angle (degrees) from the origin to a corner of the detector."""
        rows, cols = self.shape
        row = np.array([-0.5, -0.5, rows - 0.5, rows - 0.5])
        col = np.array([-0.5, cols - 0.5, -0.5, cols - 0.5])
        x, y, z = self.pixel_to_lab(row, col).T
        return float(np.degrees(np.arctan2(np.hypot(y, z), x).max()))

    def lab_to_pixel(self, points_mm: np.ndarray) -> np.ndarray:
        """Pixel coordinates of points that lie on the detector plane.

        Parameters
        ----------
        points_mm : ndarray (..., 3)
            Laboratory points on the plane, mm (the part along the normal is ignored).

        Returns
        -------
        ndarray (..., 2)
            (row, col) = (row0 - z_d / pixel, col0 - y_d / pixel), not clipped to the detector.
        """
        offset = (np.asarray(points_mm, float) - self.center_mm) @ self.detector_axes
        return np.array(self.center_px) - offset[..., [2, 1]] / self.pixel_mm

    def pixel_to_lab(self, row: np.ndarray | float, col: np.ndarray | float) -> np.ndarray:
        """Laboratory points (..., 3) in mm of pixel coordinates `row` and `col` (broadcast)."""
        row0, col0 = self.center_px
        z = (row0 - np.asarray(row, float)) * self.pixel_mm
        y = (col0 - np.asarray(col, float)) * self.pixel_mm
        axes = self.detector_axes
        return self.center_mm + y[..., None] * axes[:, 1] + z[..., None] * axes[:, 2]

    def intersect(self, points_mm: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Pixel coordinates where rays meet the detector plane.

        Parameters
        ----------
        points_mm, directions : ndarray (..., 3)
            A point of each ray in the laboratory (mm) and its direction (any length).

        Returns
        -------
        ndarray (..., 2)
            (row, col), not clipped to the detector; NaN for rays that never reach the plane.
        """
        points_mm = np.asarray(points_mm, float)
        directions = np.asarray(directions, float)
        normal = self.detector_axes[:, 0]
        forward = directions @ normal
        distance = (self.center_mm - points_mm) @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(forward > 0, distance / forward, np.nan)
        t = np.where(t >= 0, t, np.nan)
        return self.lab_to_pixel(points_mm + t[..., None] * directions)

    def project(self, points_mm: np.ndarray) -> np.ndarray:
        """Pixel coordinates (..., 2) of the shadows of laboratory points `points_mm` (..., 3)."""
        points_mm = np.asarray(points_mm, float)
        return self.intersect(self.source_mm, points_mm - self.source_mm)

    def sample_to_lab(self, points_mm: np.ndarray, omega_deg: float) -> np.ndarray:
        """Turn sample points (..., 3) by the rotation angle: p_lab = Rz(omega) p_sample."""
        return np.asarray(points_mm, float) @ rotation_z(omega_deg).T

    def turn_spots(self, spots_px: np.ndarray, turn_deg: float) -> np.ndarray:
        """Where diffraction spots go when the sample turns in a white beam.

        The lattice planes halve the angle between the incoming and the diffracted ray; turned
        with the sample they reflect another wavelength into another direction, the mirror
        image of the incoming one.  Exact for grains on the optical and the rotation axis; a
        grain beside them is off by about its distance times the turn.

        Parameters
        ----------
        spots_px : ndarray (..., 2)
            (row, col) of the spots.
        turn_deg : float
            Change of the rotation angle.

        Returns
        -------
        ndarray (..., 2)
            (row, col), not clipped to the detector; NaN where the planes no longer reflect.
        """
        spots_px = np.asarray(spots_px, float)
        out = self.pixel_to_lab(spots_px[..., 0], spots_px[..., 1])
        along = np.array([1.0, 0.0, 0.0])
        planes = out / np.linalg.norm(out, axis=-1, keepdims=True) - along
        with np.errstate(invalid="ignore"):  # the direct beam is no reflection
            planes = planes / np.linalg.norm(planes, axis=-1, keepdims=True)
        planes = planes @ rotation_z(turn_deg).T
        facing = planes[..., 0]
        turned = along - 2 * facing[..., None] * planes
        return np.where((facing < 0)[..., None], self.intersect(np.zeros(3), turned), np.nan)

    def beam_stop_mask(self) -> np.ndarray:
        """Boolean image (rows, cols), True in pixels whose centre lies inside the beam stop."""
        mask = np.zeros(self.shape, bool)
        for polygon in self.beam_stop_px:
            mask |= polygon_mask(polygon, self.shape)
        return mask


def polygon_mask(polygon: Sequence[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Pixels of an image whose centres lie inside a polygon (even-odd rule).

    Parameters
    ----------
    polygon : sequence of (row, col)
        Vertices, in order; the last joins the first. Points on a top or left edge count as inside.
    shape : tuple of int
        (rows, cols) of the mask.

    Returns
    -------
    ndarray of bool (rows, cols)
    """
    rows, cols = shape
    vertices = np.asarray(polygon, float)
    mask = np.zeros(shape, bool)
    first = max(int(np.ceil(vertices[:, 0].min())), 0)
    last = min(int(np.floor(vertices[:, 0].max())), rows - 1)
    start, end = vertices, np.roll(vertices, -1, axis=0)
    col = np.arange(cols)
    for row in range(first, last + 1):
        crosses = (start[:, 0] <= row) != (end[:, 0] <= row)
        a, b = start[crosses], end[crosses]
        at = np.sort(a[:, 1] + (row - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0]))
        mask[row] = np.searchsorted(at, col, side="right") % 2 == 1
    return mask


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name} must be a number, not {value!r}.") from None
    if not math.isfinite(number):
        raise SettingsError(f"{name} must be a finite number, not {number}.")
    return number


def _numbers(values: Sequence[float], count: int, name: str) -> tuple[float, ...]:
    try:
        numbers = tuple(_finite(value, name) for value in values)
    except TypeError:
        raise SettingsError(f"{name} must be {count} numbers, not {values!r}.") from None
    if len(numbers) != count:
        raise SettingsError(f"{name} must be {count} numbers, not {len(numbers)}.")
    return numbers
