"""Compiled loops of indexing: normals that vote at a point, and orientations from pairs of them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import DISTANCE, EXPLAINED, HIDDEN, TWO_PI, first_after, look, meet


@njit(nogil=True, cache=True, error_model="numpy")
def branch_score(views, point, gx, gy, gz, own, gain, loss, limit, tolerance, least_branches):
    """Evidence for a plane normal at a point, from the projections in which it must be seen.

    A normal reflects in up to four branches: two angles on each of its sides. A neighbour's spot
    is consistent within one branch only, so each branch counts as two observations at most.

    Returns
    -------
    float
        Sum of log likelihood ratios; -1 if too much speaks against the normal.
    """
    level = math.hypot(gx, gy)
    if level <= views.reach[0]:
        return -1.0
    near = math.acos(min(1.0, views.reach[1] / level))
    away = math.acos(views.reach[0] / level)
    azimuth = math.atan2(gy, gx)
    score, lost = 0.0, 0.0
    hit_branches = 0
    for side in range(4):
        middle = -azimuth if side < 2 else math.pi - azimuth
        sign = -1.0 if side < 2 else 1.0
        start = middle + near if side % 2 == 0 else middle - away
        start -= TWO_PI * math.floor(start / TWO_PI)
        if start >= TWO_PI:
            start = 0.0
        end = start + away - near
        expected, hits = 0, 0
        i = first_after(views, start)
        while i < views.angle.size and views.angle[i] <= end:
            frame = views.order[i]
            i += 1
            if frame == own:
                continue
            turn = views.turns[frame]
            tx = sign * (turn[0, 0] * gx + turn[0, 1] * gy + turn[0, 2] * gz)
            ty = sign * (turn[1, 0] * gx + turn[1, 1] * gy + turn[1, 2] * gz)
            tz = sign * (turn[2, 0] * gx + turn[2, 1] * gy + turn[2, 2] * gz)
            row, col, s, _ = meet(turn, views.camera, point[0], point[1], point[2], tx, ty, tz)
            if s <= 0:
                continue
            value = look(views.images, frame, row, col)
            if value == HIDDEN or value & EXPLAINED:
                continue
            expected += 1
            if (value & DISTANCE) <= tolerance:
                hits += 1
            elif lost > limit - (gain + loss) / expected and expected - hits >= 2:
                return -1.0
        if expected == 0:
            continue
        weight = min(expected, 2)
        share = hits / expected
        score += weight * (share * gain - (1 - share) * loss)
        lost += weight * (1 - share) * (gain + loss)
        if lost > limit:
            return -1.0
        if hits > 0:
            hit_branches += 1
    if hit_branches < least_branches:
        return -1.0
    return score


@njit(nogil=True, cache=True, error_model="numpy")
def vote(views, point, frames, start, rows, cols, gain, loss, limit, tolerance, found, scores):
    """Plane normals at `point` that listed spot pixels propose and other projections confirm.

    Parameters
    ----------
    frames : int (f,)
        Projections whose pixels vote.
    start : int (n + 1,)
        ``rows[start[i]:start[i + 1]]``, ``cols[...]`` are the spot pixels of projection i.
    gain, loss : float
        Log likelihood ratios of a hit and of a miss.
    limit : float
        Evidence that may be lost before a normal is given up.
    found, scores
        Unit normals (m, 3) in the sample, and their evidence; written to.

    Returns
    -------
    int
        Number of normals.
    """
    count = 0
    camera = views.camera
    low2, high2 = (2 * views.reach[0]) ** 2, (2 * views.reach[1]) ** 2
    for frame in frames:
        turn = views.turns[frame]
        px = turn[0, 0] * point[0] + turn[0, 1] * point[1] + turn[0, 2] * point[2]
        py = turn[1, 0] * point[0] + turn[1, 1] * point[1] + turn[1, 2] * point[2]
        pz = turn[2, 0] * point[0] + turn[2, 1] * point[1] + turn[2, 2] * point[2]
        kx, ky, kz = px - camera[0], py - camera[1], pz - camera[2]
        inverse = 1 / math.sqrt(kx * kx + ky * ky + kz * kz)
        kx, ky, kz = kx * inverse, ky * inverse, kz * inverse
        ox = camera[3] - px
        image = views.images[frame]
        for i in range(start[frame], start[frame + 1]):
            if image[rows[i], cols[i]] & EXPLAINED:
                continue
            oz = (camera[4] - rows[i]) / camera[6] - pz
            oy = (camera[5] - cols[i]) / camera[6] - py
            inverse = 1 / math.sqrt(ox * ox + oy * oy + oz * oz)
            tx, ty, tz = ox * inverse - kx, oy * inverse - ky, oz * inverse - kz
            length2 = tx * tx + ty * ty + tz * tz
            if length2 < low2 or length2 > high2:
                continue
            inverse = 1 / math.sqrt(length2)
            tx, ty, tz = tx * inverse, ty * inverse, tz * inverse
            gx = turn[0, 0] * tx + turn[1, 0] * ty + turn[2, 0] * tz
            gy = turn[0, 1] * tx + turn[1, 1] * ty + turn[2, 1] * tz
            gz = turn[0, 2] * tx + turn[1, 2] * ty + turn[2, 2] * tz
            score = branch_score(views, point, gx, gy, gz, frame, gain, loss, limit, tolerance, 2)
            if score <= 0:
                continue
            found[count, 0], found[count, 1], found[count, 2] = gx, gy, gz
            # deeper within its spot is a better place for a point of the grain
            scores[count] = score + 0.05 * (image[rows[i], cols[i]] >> 5)
            count += 1
            if count == scores.size:
                return count
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def distinct_normals(normals, scores, order, apart_cos, kept, weights):
    """Keep the best of normals that lie close together (+- alike), as many as `kept` holds."""
    count = 0
    for i in order:
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        new = True
        for j in range(count):
            if abs(x * kept[j, 0] + y * kept[j, 1] + z * kept[j, 2]) > apart_cos:
                new = False
                break
        if new:
            kept[count, 0], kept[count, 1], kept[count, 2] = x, y, z
            weights[count] = scores[i]
            count += 1
            if count == weights.size:
                break
    return count


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def face_cell(x, y, z, size):
    """Cell of a direction (+- alike) on the three faces of a cube, `size` cells along an edge."""
    ax, ay, az = abs(x), abs(y), abs(z)
    if ax >= ay and ax >= az:
        face, u, v = 0, y / x, z / x
    elif ay >= az:
        face, u, v = 1, x / y, z / y
    else:
        face, u, v = 2, x / z, y / z
    i = min(int((u + 1) * 0.5 * size), size - 1)
    j = min(int((v + 1) * 0.5 * size), size - 1)
    return (face * size + i) * size + j


# Element by element: assigning slices and NumPy's searchsorted take seconds to compile.
@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def copy_matrix(matrices, source, target):
    """``matrices[target] = matrices[source]`` of (n, 3, 3)."""
    for r in range(3):
        for c in range(3):
            matrices[target, r, c] = matrices[source, r, c]


@njit(nogil=True, cache=True, error_model="numpy")
def first_not_below(ascending, value):
    """Index of the first of ascending values that is not below `value`."""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True, error_model="numpy")
def orientations_from_pairs(
    normals, weights, angles, frames, cells, size, planes, tolerance, near_cos, least, out, scores
):
    """Orientations under which pairs of normals are known pairs of lattice planes.

    Parameters
    ----------
    normals, weights : float (k, 3), (k,)
        At most 128 normals in the sample, best first.
    angles : float (m,)
        Angles between pairs of lattice planes, ascending, rad.
    frames : float (m, 3, 3)
        Of each pair: bisector, difference and their cross product, as columns.
    cells, size
        Which plane normal is near each cell of `face_cell`, or -1.
    planes : float (n, 3)
        Normals that `cells` speaks of.
    tolerance : float
        Of an angle, rad.
    near_cos : float
        A normal is explained if the cosine of its angle to a plane's is above this.
    least : int
        Fewest normals an orientation must explain.
    out, scores : float (n, 3, 3), (n,)
        The best orientations and the weights they explain; written to.

    Returns
    -------
    int
        Number of orientations.
    """
    count = 0
    k = weights.size
    masks = np.zeros((scores.size, 2), np.uint64)
    strong = np.zeros(scores.size, np.bool_)
    u = np.empty((3, 3))
    axes = np.empty((3, 3))
    one = np.uint64(1)
    for j in range(1, k):
        for i in range(j):
            known = False
            a, b = np.uint64(i % 64), np.uint64(j % 64)
            for m in range(count):
                if strong[m] and masks[m, i // 64] >> a & one and masks[m, j // 64] >> b & one:
                    known = True
                    break
            if known:
                continue
            cosine = 0.0
            for c in range(3):
                cosine += normals[i, c] * normals[j, c]
            angle = math.acos(min(1.0, max(-1.0, cosine)))
            if angle < 0.05 or angle > math.pi - 0.05:
                continue
            first = first_not_below(angles, angle - tolerance)
            if first == angles.size or angles[first] > angle + tolerance:
                continue
            half, other = 2 * math.cos(angle / 2), 2 * math.sin(angle / 2)
            for c in range(3):
                axes[c, 0] = (normals[i, c] + normals[j, c]) / half
                axes[c, 1] = (normals[i, c] - normals[j, c]) / other
            axes[0, 2] = axes[1, 0] * axes[2, 1] - axes[2, 0] * axes[1, 1]
            axes[1, 2] = axes[2, 0] * axes[0, 1] - axes[0, 0] * axes[2, 1]
            axes[2, 2] = axes[0, 0] * axes[1, 1] - axes[1, 0] * axes[0, 1]
            m = first
            while m < angles.size and angles[m] <= angle + tolerance:
                for r in range(3):
                    for c in range(3):
                        u[r, c] = (
                            axes[r, 0] * frames[m, c, 0]
                            + axes[r, 1] * frames[m, c, 1]
                            + axes[r, 2] * frames[m, c, 2]
                        )
                m += 1
                total = 0.0
                explained = 0
                low, high = np.uint64(0), np.uint64(0)
                for n in range(k):
                    x, y, z = normals[n, 0], normals[n, 1], normals[n, 2]
                    hx = u[0, 0] * x + u[1, 0] * y + u[2, 0] * z
                    hy = u[0, 1] * x + u[1, 1] * y + u[2, 1] * z
                    hz = u[0, 2] * x + u[1, 2] * y + u[2, 2] * z
                    plane = cells[face_cell(hx, hy, hz, size)]
                    if plane < 0:
                        continue
                    along = hx * planes[plane, 0] + hy * planes[plane, 1] + hz * planes[plane, 2]
                    if abs(along) > near_cos:
                        total += weights[n]
                        explained += 1
                        if n < 64:
                            low |= one << np.uint64(n)
                        else:
                            high |= one << np.uint64(n - 64)
                if explained < least:
                    continue
                if count == scores.size and total <= scores[count - 1]:
                    continue
                same = False
                for q in range(count):
                    if masks[q, 0] == low and masks[q, 1] == high:
                        same = True
                        break
                if same:
                    continue
                at = count if count < scores.size else count - 1
                count = min(count + 1, scores.size)
                while at > 0 and scores[at - 1] < total:
                    scores[at] = scores[at - 1]
                    copy_matrix(out, at - 1, at)
                    masks[at, 0], masks[at, 1] = masks[at - 1, 0], masks[at - 1, 1]
                    strong[at] = strong[at - 1]
                    at -= 1
                scores[at] = total
                for r in range(3):
                    for c in range(3):
                        out[at, r, c] = u[r, c]
                masks[at, 0], masks[at, 1] = low, high
                strong[at] = explained >= 5
    return count
