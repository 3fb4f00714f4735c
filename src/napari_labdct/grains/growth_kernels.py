"""Compiled loops of growing grains: flooding one grain, and the competition for voxels."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import DISTANCE, HIDDEN, TX, TY, TZ, look, meet


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def seen_at(views, vectors, frames, count, x, y, z, tolerance, most_misses, fullness):
    """(share of reflections seen, mean fullness of their pixels) at a point; share -1 if more than
    `most_misses` are missed, which ends the search early."""
    misses, seen, total = 0, 0, 0.0
    for i in range(count):
        row, col, _, _ = meet(
            views.turns[frames[i]], views.camera, x, y, z,
            vectors[i, TX], vectors[i, TY], vectors[i, TZ],
        )  # fmt: skip
        value = look(views.images, frames[i], row, col)
        if value == HIDDEN:
            continue
        seen += 1
        if (value & DISTANCE) > tolerance:
            misses += 1
            if misses > most_misses:
                return -1.0, 0.0
        total += fullness[value]
    if seen == 0:
        return -1.0, 0.0
    return 1.0 - misses / seen, total / seen


@njit(nogil=True, cache=True, error_model="numpy")
def flood(
    views, vectors, frames, count, tolerance, least, fullness, grid, inside, stamps, stamp, start,
    out, shares, fulls,
):  # fmt: skip
    """Voxels connected to `start` (flat index) at which a share of at least `least` is seen.

    Parameters
    ----------
    grid : float (4,)
        x, y, z of voxel (0, 0, 0) and the edge, mm.
    inside : bool (nz, ny, nx)
        The sample.
    stamps : int32 (nz, ny, nx), stamp : int
        Voxels that hold `stamp` were visited; written to.
    out : int32 (m,); shares, fulls : float32 (m,)
        Flat indices with share and fullness; written to.

    Returns
    -------
    int
        Number of voxels.
    """
    nz, ny, nx = inside.shape
    flat_inside, flat_stamps = inside.ravel(), stamps.ravel()
    most = int((1.0 - least) * count)
    n, done = 0, 0
    queue = np.empty(out.size, np.int32)
    queued = 1
    queue[0] = start
    flat_stamps[start] = stamp
    while done < queued:
        voxel = queue[done]
        done += 1
        iz = voxel // (ny * nx)
        iy = voxel // nx % ny
        ix = voxel % nx
        share, full = seen_at(
            views, vectors, frames, count, grid[0] + ix * grid[3], grid[1] + iy * grid[3],
            grid[2] + iz * grid[3], tolerance, most, fullness,
        )  # fmt: skip
        if share < least:
            continue
        out[n], shares[n], fulls[n] = voxel, share, full
        n += 1
        for side in range(6):
            jz, jy, jx = iz, iy, ix
            if side == 0:
                jz -= 1
            elif side == 1:
                jz += 1
            elif side == 2:
                jy -= 1
            elif side == 3:
                jy += 1
            elif side == 4:
                jx -= 1
            else:
                jx += 1
            if jz < 0 or jy < 0 or jx < 0 or jz >= nz or jy >= ny or jx >= nx:
                continue
            other = (jz * ny + jy) * nx + jx
            if flat_inside[other] and flat_stamps[other] != stamp and queued < queue.size:
                flat_stamps[other] = stamp
                queue[queued] = other
                queued += 1
    return n


@njit(nogil=True, cache=True, error_model="numpy")
def compete(voxels, scores, shares, number, labels, best, share_of):
    """Give voxels (flat) to grain `number` where its score is the best so far; how many it won."""
    won = 0
    for i in range(voxels.size):
        v = voxels[i]
        if scores[i] > best[v]:
            best[v] = scores[i]
            labels[v] = number
            won += 1
        if shares[i] > share_of[v]:
            share_of[v] = shares[i]
    return won


@njit(nogil=True, cache=True, error_model="numpy")
def farthest(points, count):
    """Indices of points spread over a cloud: each as far as possible from those before."""
    n = points.shape[0]
    count = min(count, n)
    chosen = np.zeros(count, np.int64)
    gap = np.full(n, math.inf)
    at = 0
    for k in range(count):
        chosen[k] = at
        best = -1.0
        nearest = at
        for i in range(n):
            d = (
                (points[i, 0] - points[at, 0]) ** 2
                + (points[i, 1] - points[at, 1]) ** 2
                + (points[i, 2] - points[at, 2]) ** 2
            )
            gap[i] = min(gap[i], d)
            if gap[i] > best:
                best, nearest = gap[i], i
        at = nearest
    return chosen
