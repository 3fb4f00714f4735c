"""Compiled loops of the grain mapper: where a crystal reflects to and what is seen there.

One byte tells all that is asked of a pixel, so that a reflection costs one look into memory:

- bits 0-3: distance to the nearest spot pixel, px, at most 15 (0: the pixel belongs to a spot),
- bit 4: an accepted grain explains it,
- bits 5-7: how full of spot the 5 x 5 px about it are, 0 to 7,
- 255: nothing can be seen here (beam stop).

The reflected direction of a ray from the source is its mirror image in the lattice plane,
``o = k - 2 (k.G) G``, which is linear in k: no root and no trigonometry is needed per point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

DISTANCE, EXPLAINED, HIDDEN = 15, 16, 255
TWO_PI = 2 * math.pi
BINS = 2048

#: Columns of a list of reflections: unit scattering vector in the sample, then in the detector's
#: frame at the angle of the projection.
GX, GY, GZ, TX, TY, TZ = range(6)
MOST_REFLECTIONS = 4096


class Views(NamedTuple):
    """A scan as the kernels want it.

    ``images`` uint8 (n, rows, cols), see the module; ``turns`` (n, 3, 3) from the sample into the
    frame of the detector (normal, y, z); ``camera`` (7,) source (3,), distance of the plane, and
    (row, col) = camera[4:6] - (z, y) camera[6]; ``angle`` (2 n,) angles in [0, 4 pi) ascending,
    ``order`` (2 n,) their projections and ``first`` (BINS + 1,) where each bin of 2 pi begins;
    ``reach`` (3,) least and largest sin(theta) on the detector, and by how much sin(theta) of a
    plane may differ from that at the origin.
    """

    images: np.ndarray
    turns: np.ndarray
    camera: np.ndarray
    angle: np.ndarray
    order: np.ndarray
    first: np.ndarray
    reach: np.ndarray


class Planes(NamedTuple):
    """Lattice planes: unit normals (n, 3) in the crystal (one of each +-pair) and limits (n, 2) of
    sin(theta) within which the beam holds their wavelength."""

    normal: np.ndarray
    limits: np.ndarray


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def look(images, frame, row, col):
    """The byte of the pixel that holds (row, col); `HIDDEN` outside the detector."""
    r, c = math.floor(row + 0.5), math.floor(col + 0.5)
    if r < 0 or c < 0 or r >= images.shape[1] or c >= images.shape[2]:
        return np.uint8(HIDDEN)
    return images[frame, r, c]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def meet(turn, camera, x, y, z, tx, ty, tz):
    """(row, col, |k| sin(theta), |k|^2) of the ray that plane T reflects at a sample point."""
    px = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
    py = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
    pz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z
    kx, ky, kz = px - camera[0], py - camera[1], pz - camera[2]
    s = -(kx * tx + ky * ty + kz * tz)
    ox = kx + 2 * s * tx
    far = (camera[3] - px) / ox
    row = camera[4] - (pz + far * (kz + 2 * s * tz)) * camera[6]
    col = camera[5] - (py + far * (ky + 2 * s * ty)) * camera[6]
    if ox <= 0:
        row = -1e6
    return row, col, s, kx * kx + ky * ky + kz * kz


@njit(nogil=True, cache=True, error_model="numpy")
def places_of(views, normals, frames, point, out):
    """(row, col) into `out` (m, 2): where planes with unit normals (m, 3) in the sample reflect to
    from a point (mm) in projections `frames` (m,)."""
    for i in range(frames.size):
        turn = views.turns[frames[i]]
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        tx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
        ty = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
        tz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z
        row, col, _, _ = meet(turn, views.camera, point[0], point[1], point[2], tx, ty, tz)
        out[i, 0], out[i, 1] = row, col


@njit(nogil=True, cache=True, error_model="numpy")
def spot_middles(images, frames, places, reach, out):
    """Mean (row, col) into `out` (m, 2) of the spot pixels within `reach` px of places (m, 2) in
    projections `frames` (m,); NaN where there is none."""
    for i in range(frames.size):
        r0, c0 = round(places[i, 0]), round(places[i, 1])
        n, rows, cols = 0, 0.0, 0.0
        for r in range(max(r0 - reach, 0), min(r0 + reach + 1, images.shape[1])):
            for c in range(max(c0 - reach, 0), min(c0 + reach + 1, images.shape[2])):
                if (images[frames[i], r, c] & DISTANCE) == 0:
                    n += 1
                    rows += r
                    cols += c
        if n:
            out[i, 0], out[i, 1] = rows / n, cols / n
        else:
            out[i, 0], out[i, 1] = np.nan, np.nan


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def first_after(views, start):
    """Index of the first entry of ``views.angle`` at or after an angle in [0, 2 pi)."""
    i = views.first[int(start / TWO_PI * BINS)]
    while views.angle[i] < start:
        i += 1
    return i


@njit(nogil=True, cache=True, error_model="numpy")
def list_reflections(views, planes, orientation, point, vectors, frames, which, values):
    """Every reflection that point `point` (mm) of a crystal sends to the detector.

    Writes ``vectors`` (m, 6), ``frames``, ``which`` (plane) and ``values`` (byte seen there), and
    returns how many. Hidden ones are left out.
    """
    count = 0
    u = orientation
    pad = views.reach[2]
    for m in range(planes.normal.shape[0]):
        nx, ny, nz = planes.normal[m, 0], planes.normal[m, 1], planes.normal[m, 2]
        gx = u[0, 0] * nx + u[0, 1] * ny + u[0, 2] * nz
        gy = u[1, 0] * nx + u[1, 1] * ny + u[1, 2] * nz
        gz = u[2, 0] * nx + u[2, 1] * ny + u[2, 2] * nz
        level = math.hypot(gx, gy)
        low = max(planes.limits[m, 0], views.reach[0])
        high = min(planes.limits[m, 1], views.reach[1])
        if low > high or level <= low - pad:
            continue
        near = math.acos(min(1.0, (high + pad) / level))
        away = math.acos(max(0.0, low - pad) / level)
        azimuth = math.atan2(gy, gx)
        for side in range(4):
            # -level cos(omega + azimuth) = sin(theta) on both sides of omega = pi - azimuth
            middle = math.pi - azimuth if side < 2 else -azimuth
            start = middle + near if side % 2 == 0 else middle - away
            start -= TWO_PI * math.floor(start / TWO_PI)
            if start >= TWO_PI:
                start = 0.0
            end = start + away - near
            sign = 1.0 if side < 2 else -1.0
            i = first_after(views, start)
            while i < views.angle.size and views.angle[i] <= end:
                frame = views.order[i]
                i += 1
                turn = views.turns[frame]
                tx = sign * (turn[0, 0] * gx + turn[0, 1] * gy + turn[0, 2] * gz)
                ty = sign * (turn[1, 0] * gx + turn[1, 1] * gy + turn[1, 2] * gz)
                tz = sign * (turn[2, 0] * gx + turn[2, 1] * gy + turn[2, 2] * gz)
                row, col, s, k2 = meet(turn, views.camera, point[0], point[1], point[2], tx, ty, tz)
                if s <= 0:
                    continue
                sine = s / math.sqrt(k2)
                if sine < planes.limits[m, 0] or sine > planes.limits[m, 1]:
                    continue
                value = look(views.images, frame, row, col)
                if value == HIDDEN or count >= frames.size:
                    continue
                vectors[count, GX] = sign * gx
                vectors[count, GY] = sign * gy
                vectors[count, GZ] = sign * gz
                vectors[count, TX], vectors[count, TY], vectors[count, TZ] = tx, ty, tz
                frames[count] = frame
                which[count] = m
                values[count] = value
                count += 1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def soft_share(values, count, reach_px):
    """Mean of max(0, 1 - d / reach) over the distances d of listed reflections."""
    if count == 0:
        return 0.0
    total = 0.0
    for i in range(count):
        d = values[i] & DISTANCE
        if d < reach_px:
            total += 1.0 - d / reach_px
    return total / count


@njit(nogil=True, cache=True, error_model="numpy")
def turned_share(views, vectors, frames, count, points, rotation, table):
    """Mean of ``table[byte]`` over reflections and points if the crystal is turned.

    `rotation` (3, 3) turns the sample-frame vectors; `points` (n, 3), mm.
    """
    total = 0.0
    seen = 0
    for i in range(count):
        gx, gy, gz = vectors[i, GX], vectors[i, GY], vectors[i, GZ]
        hx = rotation[0, 0] * gx + rotation[0, 1] * gy + rotation[0, 2] * gz
        hy = rotation[1, 0] * gx + rotation[1, 1] * gy + rotation[1, 2] * gz
        hz = rotation[2, 0] * gx + rotation[2, 1] * gy + rotation[2, 2] * gz
        turn = views.turns[frames[i]]
        tx = turn[0, 0] * hx + turn[0, 1] * hy + turn[0, 2] * hz
        ty = turn[1, 0] * hx + turn[1, 1] * hy + turn[1, 2] * hz
        tz = turn[2, 0] * hx + turn[2, 1] * hy + turn[2, 2] * hz
        for j in range(points.shape[0]):
            row, col, _, _ = meet(
                turn, views.camera, points[j, 0], points[j, 1], points[j, 2], tx, ty, tz
            )
            value = look(views.images, frames[i], row, col)
            if value != HIDDEN:
                total += table[value]
                seen += 1
    return total / max(seen, 1)


@njit(nogil=True, cache=True, error_model="numpy")
def rotation_of(x, y, z):
    """Rotation matrix (3, 3) of a rotation vector (rad)."""
    angle = math.sqrt(x * x + y * y + z * z)
    out = np.zeros((3, 3))
    out[0, 0] = out[1, 1] = out[2, 2] = 1.0
    if angle < 1e-12:
        return out
    x, y, z = x / angle, y / angle, z / angle
    c, s = math.cos(angle), math.sin(angle)
    d = 1 - c
    out[0, 0], out[0, 1], out[0, 2] = c + x * x * d, x * y * d - z * s, x * z * d + y * s
    out[1, 0], out[1, 1], out[1, 2] = y * x * d + z * s, c + y * y * d, y * z * d - x * s
    out[2, 0], out[2, 1], out[2, 2] = z * x * d - y * s, z * y * d + x * s, c + z * z * d
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def product(first, second):
    """Product of two matrices (3, 3); NumPy's takes a second to compile."""
    out = np.empty((3, 3))
    for r in range(3):
        for c in range(3):
            out[r, c] = (
                first[r, 0] * second[0, c] + first[r, 1] * second[1, c] + first[r, 2] * second[2, c]
            )
    return out


@njit(nogil=True, cache=True, error_model="numpy")
def refine_turn(views, vectors, frames, count, points, tables, step, least):
    """The small rotation that brings most reflections onto spots: a pattern search.

    Parameters
    ----------
    points : float (n, 3)
        Points of the grain that all have to agree, mm.
    tables : float (k, 256)
        Worth of each byte; the next one is taken whenever the step is halved.
    step, least : float
        First and last step, rad.

    Returns
    -------
    rotation : float (3, 3)
    share : float
        Mean worth with the last table.
    """
    best = rotation_of(0.0, 0.0, 0.0)
    level = 0
    top = turned_share(views, vectors, frames, count, points, best, tables[0])
    while step > least:
        improved = False
        for k in range(13):
            code = k + 14  # half of the 26 neighbours; each is tried forwards, then backwards
            x, y, z = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
            scale = step / math.sqrt(x * x + y * y + z * z)
            for sign in (1.0, -1.0):
                turn = rotation_of(sign * scale * x, sign * scale * y, sign * scale * z)
                trial = product(turn, best)
                share = turned_share(views, vectors, frames, count, points, trial, tables[level])
                if share > top + 1e-9:
                    top, best, improved = share, trial, True
                    break
        if not improved:
            step *= 0.5
            if level < tables.shape[0] - 1:
                level += 1
                top = turned_share(views, vectors, frames, count, points, best, tables[level])
    return best, top


@njit(nogil=True, cache=True, error_model="numpy")
def describe_pixels(mask, hidden, out):
    """Turn one projection of spots (bool) into the bytes of the module's table.

    The distance is that of a 3-4 chamfer, within 8 % of the Euclidean one.
    """
    rows, cols = mask.shape
    far = 3 * DISTANCE
    near = np.empty((rows, cols), np.int16)
    for r in range(rows):
        for c in range(cols):
            d = 0 if mask[r, c] else far
            if d:
                if c > 0:
                    d = min(d, near[r, c - 1] + 3)
                if r > 0:
                    d = min(d, near[r - 1, c] + 3)
                    if c > 0:
                        d = min(d, near[r - 1, c - 1] + 4)
                    if c < cols - 1:
                        d = min(d, near[r - 1, c + 1] + 4)
            near[r, c] = d
    for r in range(rows - 1, -1, -1):
        for c in range(cols - 1, -1, -1):
            d = near[r, c]
            if d:
                if c < cols - 1:
                    d = min(d, near[r, c + 1] + 3)
                if r < rows - 1:
                    d = min(d, near[r + 1, c] + 3)
                    if c < cols - 1:
                        d = min(d, near[r + 1, c + 1] + 4)
                    if c > 0:
                        d = min(d, near[r + 1, c - 1] + 4)
                near[r, c] = d
    column = np.zeros(cols, np.int16)
    for r in range(min(2, rows)):
        for c in range(cols):
            column[c] += mask[r, c]
    for r in range(rows):
        if r + 2 < rows:
            for c in range(cols):
                column[c] += mask[r + 2, c]
        if r > 2:
            for c in range(cols):
                column[c] -= mask[r - 3, c]
        total = 0
        for c in range(min(2, cols)):
            total += column[c]
        for c in range(cols):
            if c + 2 < cols:
                total += column[c + 2]
            if c > 2:
                total -= column[c - 3]
            if hidden[r, c]:
                out[r, c] = HIDDEN
            else:
                full = (total * 7 + 12) // 25
                out[r, c] = ((near[r, c] + 1) // 3) | (full << 5)


@njit(nogil=True, cache=True, error_model="numpy")
def explain(views, vectors, frames, count, points, radius):
    """Mark the spot pixels within `radius` px of predicted reflections of points as explained.

    Returns
    -------
    int
        How many pixels were marked for the first time.
    """
    rows, cols = views.images.shape[1:]
    marked = 0
    for i in range(count):
        frame = frames[i]
        turn = views.turns[frame]
        image = views.images[frame]
        tx, ty, tz = vectors[i, TX], vectors[i, TY], vectors[i, TZ]
        for j in range(points.shape[0]):
            row, col, _, _ = meet(
                turn, views.camera, points[j, 0], points[j, 1], points[j, 2], tx, ty, tz
            )
            value = look(views.images, frame, row, col)
            if value == HIDDEN or (value & DISTANCE) > radius:
                continue
            r0, c0 = math.floor(row + 0.5), math.floor(col + 0.5)
            for r in range(max(r0 - radius, 0), min(r0 + radius + 1, rows)):
                for c in range(max(c0 - radius, 0), min(c0 + radius + 1, cols)):
                    old = image[r, c]
                    if old != HIDDEN and (old & DISTANCE) <= radius and not old & EXPLAINED:
                        image[r, c] = old | EXPLAINED
                        marked += 1
    return marked
