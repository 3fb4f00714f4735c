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


def matrices_to_quaternions(matrices: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4), scalar first and not negative, of rotations (..., 3, 3)."""
    m = np.asarray(matrices, float)
    flat = m.reshape(*m.shape[:-2], 9)
    xx, xy, xz, yx, yy, yz, zx, zy, zz = np.moveaxis(flat, -1, 0)
    # q q^T of the unit quaternion; its row of largest diagonal is q without loss of digits.
    rows = [
        [1 + xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, 1 + xx - yy - zz, yx + xy, xz + zx],
        [xz - zx, yx + xy, 1 - xx + yy - zz, zy + yz],
        [yx - xy, xz + zx, zy + yz, 1 - xx - yy + zz],
    ]
    outer = np.moveaxis(np.array(rows), (0, 1), (-2, -1))
    best = np.diagonal(outer, axis1=-2, axis2=-1).argmax(axis=-1)
    q = np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def multiply_quaternions(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hamilton products (..., 4), scalar first: the rotation `second`, then `first`."""
    a, b, c, d = np.moveaxis(np.asarray(first, float), -1, 0)
    e, f, g, h = np.moveaxis(np.asarray(second, float), -1, 0)
    parts = [
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    ]
    return np.stack(np.broadcast_arrays(*parts), axis=-1)


def nearest_equivalents(
    quaternions: np.ndarray, reference: np.ndarray, symmetry: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the equivalents q S of each orientation the one nearest to a reference.

    Parameters
    ----------
    quaternions : ndarray (n, 4)
        Unit quaternions of orientations, crystal to sample, scalar first.
    reference : ndarray (4,) or (n, 4)
    symmetry : ndarray (m, 3, 3)
        Proper rotations of any Laue class, `Material.symmetry`.

    Returns
    -------
    equivalents : ndarray (n, 4)
        On the reference's side of the sphere (their scalar product is not negative).
    angle_deg : ndarray (n,)
        The disorientation from the reference.
    """
    quaternions = np.asarray(quaternions, float)
    reference = np.broadcast_to(np.asarray(reference, float), quaternions.shape)
    cosine = np.full(len(quaternions), -1.0)
    best = quaternions.copy()
    # One operation after the other: memory stays that of the orientations themselves.
    for operation in matrices_to_quaternions(symmetry):
        turned = multiply_quaternions(quaternions, operation)
        along = np.einsum("ni,ni->n", turned, reference)
        nearer = np.abs(along) > cosine
        cosine = np.where(nearer, np.abs(along), cosine)
        best[nearer] = np.where(along < 0, -1.0, 1.0)[nearer, None] * turned[nearer]
    # The chord keeps small angles exact, where the arc cosine loses half the digits.
    chord = np.linalg.norm(best - reference, axis=-1)
    return best, np.degrees(4 * np.arcsin(np.clip(chord / 2, 0, 1)))


def mean_orientation(
    orientations: np.ndarray, symmetry: np.ndarray, *, outlier_deg: float = 5.0
) -> tuple[np.ndarray, float]:
    """Mean of orientations that agree up to crystal symmetry, whatever a minority of them says.

    The start is the orientation with the smallest median disorientation from a sample of the
    others; the mean of those within `outlier_deg` of it (or within the median, if that is more)
    is the eigenvector of largest eigenvalue of the sum of q q^T over the nearest equivalents
    (Markley et al. 2007, J. Guid. Control Dyn. 30, 1193).

    Parameters
    ----------
    orientations : ndarray (n, 3, 3)
        Crystal to sample; those with NaN are left out.
    symmetry : ndarray (m, 3, 3)
        Proper rotations, `Material.symmetry`.
    outlier_deg : float
        Orientations farther from the middle than this do not enter the mean.

    Returns
    -------
    mean : ndarray (3, 3)
        All NaN if no orientation is finite.
    spread_deg : float
        Mean disorientation of all finite orientations from the mean.
    """
    u = np.asarray(orientations, float).reshape(-1, 3, 3)
    u = u[np.isfinite(u).all(axis=(1, 2))]
    if len(u) == 0:
        return np.full((3, 3), np.nan), float("nan")
    q = matrices_to_quaternions(u)
    tried = q[np.unique(np.linspace(0, len(q) - 1, 31).astype(int))]
    if len(q) > 1 and np.ptp(q, axis=0).max() > 1e-6:
        n = len(tried)
        apart = nearest_equivalents(np.tile(tried, (n, 1)), np.repeat(tried, n, axis=0), symmetry)
        middle = tried[np.median(apart[1].reshape(n, n), axis=1).argmin()]
    else:
        return quaternions_to_matrices(q[0]), 0.0
    for _ in range(3):
        near, angle = nearest_equivalents(q, middle, symmetry)
        kept = near[angle <= max(outlier_deg, float(np.median(angle)))]
        middle = np.linalg.eigh(kept.T @ kept)[1][:, -1]
    spread = nearest_equivalents(q, middle, symmetry)[1].mean()
    return quaternions_to_matrices(middle), float(spread)


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
