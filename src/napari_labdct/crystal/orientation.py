"""Orientations of crystals: how to write them, how far apart they are, how to colour them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..core.rotations import rotation_x, rotation_z


def bunge_to_matrix(phi1_deg: float, phi_deg: float, phi2_deg: float) -> np.ndarray:
    """Orientation U (3, 3), crystal to sample, of Bunge angles: Rz(phi1) Rx(Phi) Rz(phi2)."""
    return rotation_z(phi1_deg) @ rotation_x(phi_deg) @ rotation_z(phi2_deg)


def matrix_to_bunge(orientation: np.ndarray) -> np.ndarray:
    """Bunge angles (..., 3) in degrees of orientations (..., 3, 3); Phi lies in 0-180."""
    u = np.asarray(orientation, float)
    phi = np.arctan2(np.hypot(u[..., 0, 2], u[..., 1, 2]), u[..., 2, 2])
    flat = np.hypot(u[..., 0, 2], u[..., 1, 2]) < 1e-9
    sign = np.where(u[..., 2, 2] < 0, -1.0, 1.0)
    phi1 = np.where(
        flat, np.arctan2(u[..., 1, 0], u[..., 0, 0]), np.arctan2(u[..., 0, 2], -u[..., 1, 2])
    )
    phi2 = np.where(flat, 0.0 * sign, np.arctan2(u[..., 2, 0], u[..., 2, 1]))
    angles = np.degrees(np.stack([phi1, phi, phi2], axis=-1))
    return np.where(angles < 0, angles + 360, angles)


def quaternions_to_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), scalar first, of any length but 0."""
    q = np.asarray(quaternions, float)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def rodrigues_to_matrix(rodrigues: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of Rodrigues vectors (..., 3), r = n tan(angle / 2)."""
    r = np.asarray(rodrigues, float)
    return quaternions_to_matrices(np.concatenate([np.ones_like(r[..., :1]), r], axis=-1))


def matrix_to_rodrigues(matrix: np.ndarray) -> np.ndarray:
    """Rodrigues vectors (..., 3) of rotation matrices (..., 3, 3); infinite at 180 degrees."""
    m = np.asarray(matrix, float)
    axis = np.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return axis / (1 + np.trace(m, axis1=-2, axis2=-1))[..., None]


def random_orientations(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` orientations (count, 3, 3), uniform over all rotations."""
    return quaternions_to_matrices(rng.normal(size=(count, 4)))


def misorientation_deg(first: np.ndarray, second: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Smallest rotation angle (...) between orientations (..., 3, 3) under crystal symmetry.

    Parameters
    ----------
    first, second : ndarray (..., 3, 3)
        Orientations U, crystal to sample (broadcast).
    symmetry : ndarray (n, 3, 3)
        Proper rotations of the crystal, `Material.symmetry`.
    """
    difference = np.swapaxes(np.asarray(first), -1, -2) @ np.asarray(second)
    # trace(S D) for every S at once; the largest trace is the smallest angle.
    traces = np.einsum("sij,...ji->...s", symmetry, difference)
    return np.degrees(np.arccos(np.clip((traces.max(axis=-1) - 1) / 2, -1, 1)))


@lru_cache(maxsize=3)
def _sector(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners, inward normals, centre, and hue over azimuth of a standard triangle."""
    corners = {
        "cubic": [[0, 0, 1], [1, 0, 1], [1, 1, 1]],
        "hexagonal": [[0, 0, 1], [1, 0, 0], [np.sqrt(3), 1, 0]],
        "orthorhombic": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
    }[kind]
    corner = np.array(corners, float)
    corner /= np.linalg.norm(corner, axis=1, keepdims=True)
    normals = np.cross(corner, np.roll(corner, -1, axis=0))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centre = corner.sum(axis=0)
    centre /= np.linalg.norm(centre)
    azimuth = np.linspace(0, 2 * np.pi, 3601)
    radius = _radius(azimuth, corner[0], centre, normals)
    travelled = np.concatenate([[0], np.cumsum((radius[1:] + radius[:-1]) / 2)])
    turns = np.array([0.0, *_azimuth(corner[1:], corner[0], centre), 2 * np.pi])
    marks = np.interp(turns, azimuth, travelled)
    hue = np.interp(travelled, marks, [0, 1 / 3, 2 / 3, 1])
    return corner, normals, centre, azimuth, hue


def _frame(north: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = north - centre * (centre @ north)
    x /= np.linalg.norm(x)
    return x, np.cross(centre, x)


def _azimuth(directions: np.ndarray, north: np.ndarray, centre: np.ndarray) -> np.ndarray:
    x, y = _frame(north, centre)
    return np.mod(np.arctan2(directions @ y, directions @ x), 2 * np.pi)


def _radius(
    azimuth: np.ndarray, north: np.ndarray, centre: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Angle from the centre to the triangle's boundary along each azimuth."""
    x, y = _frame(north, centre)
    ray = np.cos(azimuth)[..., None] * x + np.sin(azimuth)[..., None] * y
    angles = np.arctan2(normals @ centre, -(ray @ normals.T))
    return angles.min(axis=-1)


def ipf_colour(
    orientations: np.ndarray, symmetry: np.ndarray, direction: Sequence[float] = (0, 0, 1)
) -> np.ndarray:
    """Inverse-pole-figure colours (TSL key: white centre, pure corners).

    Hue and lightness follow Nolze & Hielscher (2016), J. Appl. Cryst. 49, 1786: red [001], green
    [101], blue [111] for cubic crystals; red [0001], green [2-1-10], blue [10-10] for hexagonal
    ones; red [001], green [100], blue [010] for all others.

    Parameters
    ----------
    orientations : ndarray (..., 3, 3)
        Orientations U, crystal to sample.
    symmetry : ndarray (n, 3, 3)
        Proper rotations of the Laue class, `Material.symmetry`.
    direction : sequence of float
        Sample direction that is looked up in the crystal.

    Returns
    -------
    ndarray (..., 3)
        Red, green, blue in 0..1.
    """
    view = np.asarray(direction, float)
    h = np.swapaxes(np.asarray(orientations, float), -1, -2) @ (view / np.linalg.norm(view))
    kind = {24: "cubic", 12: "hexagonal"}.get(len(symmetry), "orthorhombic")
    a = np.abs(h)
    if kind == "cubic":
        low, middle, high = np.moveaxis(np.sort(a, axis=-1), -1, 0)
        h = np.stack([middle, low, high], axis=-1)
    elif kind == "hexagonal":
        # Azimuth from a [2-1-10]; the crystal's x axis is a* [10-10], 30 degrees away.
        turn = np.arctan2(a[..., 1], a[..., 0]) - np.pi / 6
        turn = np.abs(turn - np.pi / 3 * np.round(turn / (np.pi / 3)))
        across = np.hypot(a[..., 0], a[..., 1])
        h = np.stack([across * np.cos(turn), across * np.sin(turn), a[..., 2]], axis=-1)
    else:
        h = a
    corner, normals, centre, azimuths, hues = _sector(kind)
    azimuth = _azimuth(h, corner[0], centre)
    away = np.arccos(np.clip(h @ centre, -1, 1))
    lightness = 1 - np.clip(away / _radius(azimuth, corner[0], centre, normals), 0, 1) / 2
    hue = np.interp(azimuth, azimuths, hues)[..., None] * 6
    pure = np.clip(np.abs(np.mod(hue - np.array([0, 2, 4]), 6) - 3) - 1, 0, 1)
    return 1 - (1 - pure) * (2 - 2 * lightness[..., None])
