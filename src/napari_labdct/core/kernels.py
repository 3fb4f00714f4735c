"""Compiled inner loops.

They release the GIL and take a range of rows, so `in_row_blocks` can run them on all cores
from any thread; numba's own parallel loops must not be entered from two threads at once.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

_POOL = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="labdct")


def in_row_blocks(kernel: Callable[..., Any], rows: int, *arguments: Any) -> None:
    """Run ``kernel(first_row, last_row, *arguments)`` over all rows, one block a core."""
    blocks = min(os.cpu_count() or 1, max(1, rows // 64))
    edges = np.linspace(0, rows, blocks + 1).astype(int)
    jobs = [_POOL.submit(kernel, int(a), int(b), *arguments) for a, b in itertools.pairwise(edges)]
    for job in jobs:
        job.result()


@njit(nogil=True, cache=True)
def insert_sorted(first, last, ordered, count, image):
    """Insert `image` into the ascending `ordered[row, col, :count]`."""
    for r in range(first, last):
        for c in range(image.shape[1]):
            value = image[r, c]
            k = count
            while k > 0 and ordered[r, c, k - 1] > value:
                ordered[r, c, k] = ordered[r, c, k - 1]
                k -= 1
            ordered[r, c, k] = value


@njit(nogil=True, cache=True)
def middle(first, last, ordered, count, out):
    """Median of the ascending `ordered[row, col, :count]`."""
    half = count // 2
    for r in range(first, last):
        for c in range(out.shape[1]):
            if count % 2:
                out[r, c] = ordered[r, c, half]
            else:
                out[r, c] = 0.5 * (np.float64(ordered[r, c, half - 1]) + ordered[r, c, half])


# Columns worked on together, so that what one tile needs stays in the cache of a core.
_TILE = 512


# Loops below run over slices from 0: an index that might be negative would cost numba a branch
# a pixel, and the vector instructions with it.


@njit(nogil=True, cache=True, fastmath={"contract"})
def log_along_rows(first, last, image, gauss, curve, smooth, curved):
    """Both passes of the LoG along axis 1, zeros outside.

    `gauss` and `curve` are the right halves of the symmetric kernels, centre first.
    """
    half = gauss.size - 1
    cols = image.shape[1]
    row = np.zeros(cols + 2 * half)
    for r in range(first, last):
        source = image[r]
        middle_of_row = row[half : half + cols]
        for c in range(cols):
            middle_of_row[c] = source[c]
        for start in range(0, cols, _TILE):
            n = min(cols - start, _TILE)
            at = half + start
            out_g, out_c = smooth[r, start : start + n], curved[r, start : start + n]
            centre = row[at : at + n]
            for c in range(n):
                out_g[c] = gauss[0] * centre[c]
                out_c[c] = curve[0] * centre[c]
            k = 1
            while k + 1 <= half:
                g1, g2, c1, c2 = gauss[k], gauss[k + 1], curve[k], curve[k + 1]
                left1, right1 = row[at - k : at - k + n], row[at + k : at + k + n]
                left2, right2 = row[at - k - 1 : at - k - 1 + n], row[at + k + 1 : at + k + 1 + n]
                for c in range(n):
                    one = left1[c] + right1[c]
                    two = left2[c] + right2[c]
                    out_g[c] += g1 * one + g2 * two
                    out_c[c] += c1 * one + c2 * two
                k += 2
            if k <= half:
                g1, c1 = gauss[k], curve[k]
                left1, right1 = row[at - k : at - k + n], row[at + k : at + k + n]
                for c in range(n):
                    one = left1[c] + right1[c]
                    out_g[c] += g1 * one
                    out_c[c] += c1 * one


@njit(nogil=True, cache=True, fastmath={"contract"})
def log_along_columns(first, last, smooth, curved, gauss, curve, out):
    """Second passes along axis 0 and their sum, sign turned: positive on spots."""
    half = gauss.size - 1
    rows, cols = out.shape
    nothing = np.zeros(_TILE)
    for start in range(0, cols, _TILE):
        n = min(cols - start, _TILE)
        stop = start + n
        for r in range(first, last):
            total = out[r, start:stop]
            g0, w0 = gauss[0], curve[0]
            s0, c0 = smooth[r, start:stop], curved[r, start:stop]
            for c in range(n):
                total[c] = -w0 * s0[c] - g0 * c0[c]
            k = 1
            while k <= half:
                g1, w1 = gauss[k], curve[k]
                if r - k < 0 and r + k >= rows:
                    break
                pair = k + 1 <= half and r - k - 1 >= 0 and r + k + 1 < rows
                up, down = r - k, r + k
                s1 = smooth[up, start:stop] if up >= 0 else nothing[:n]
                c1 = curved[up, start:stop] if up >= 0 else nothing[:n]
                s2 = smooth[down, start:stop] if down < rows else nothing[:n]
                c2 = curved[down, start:stop] if down < rows else nothing[:n]
                if pair:
                    g2, w2 = gauss[k + 1], curve[k + 1]
                    s3, c3 = smooth[up - 1, start:stop], curved[up - 1, start:stop]
                    s4, c4 = smooth[down + 1, start:stop], curved[down + 1, start:stop]
                    for c in range(n):
                        near = w1 * (s1[c] + s2[c]) + g1 * (c1[c] + c2[c])
                        total[c] -= near + w2 * (s3[c] + s4[c]) + g2 * (c3[c] + c4[c])
                    k += 2
                else:
                    for c in range(n):
                        total[c] -= w1 * (s1[c] + s2[c]) + g1 * (c1[c] + c2[c])
                    k += 1


@njit(nogil=True, cache=True)
def _root(parent, k):
    while parent[k] != k:
        parent[k] = parent[parent[k]]
        k = parent[k]
    return k


@njit(nogil=True, cache=True)
def _join(parent, one, two):
    """Unite two families under the smaller root, and return it."""
    if one == two:
        return one
    one, two = _root(parent, one), _root(parent, two)
    low, high = min(one, two), max(one, two)
    parent[high] = low
    return low


@njit(nogil=True, cache=True)
def label(mask, eight, labels):
    """Number the connected components of `mask` from 1 in raster order; returns how many.

    4-connected, or 8-connected if `eight`; `labels` is int32 and as large as `mask`.
    """
    rows, cols = mask.shape
    runs = 1
    for r in range(rows):
        before = False
        for c in range(cols):
            if mask[r, c] and not before:
                runs += 1
            before = mask[r, c]
    parent = np.arange(runs).astype(np.int32)
    used = 0
    for r in range(rows):
        for c in range(cols):
            if not mask[r, c]:
                labels[r, c] = 0
                continue
            up = r > 0 and mask[r - 1, c]
            left = c > 0 and mask[r, c - 1]
            # A neighbour that touches the others stands for them: they are joined already.
            if eight:
                if up:
                    mine = labels[r - 1, c]
                else:
                    corner = r > 0 and c > 0 and mask[r - 1, c - 1]
                    if left:
                        mine = labels[r, c - 1]
                    elif corner:
                        mine = labels[r - 1, c - 1]
                    else:
                        mine = 0
                    if r > 0 and c + 1 < cols and mask[r - 1, c + 1]:
                        other = labels[r - 1, c + 1]
                        mine = _join(parent, mine, other) if mine else other
            elif up and left:
                mine = labels[r, c - 1]
                if not mask[r - 1, c - 1]:
                    mine = _join(parent, mine, labels[r - 1, c])
            elif up:
                mine = labels[r - 1, c]
            elif left:
                mine = labels[r, c - 1]
            else:
                mine = 0
            if mine == 0:
                used += 1
                mine = used
            labels[r, c] = mine
    # Roots are the smallest of their family, so one ascending pass numbers them in order.
    count = 0
    number = np.zeros(used + 1, np.int32)
    for k in range(1, used + 1):
        root = _root(parent, k)
        if root == k:
            count += 1
            number[k] = count
        else:
            number[k] = number[root]
    for r in range(rows):
        for c in range(cols):
            if labels[r, c]:
                labels[r, c] = number[labels[r, c]]
    return count


@njit(nogil=True, cache=True)
def drop_small(mask, min_size, labels):
    """Clear the 8-connected components of `mask` below `min_size` pixels, in place."""
    count = label(mask, True, labels)
    area = np.zeros(count + 1, np.int64)
    for k in labels.flat:
        area[k] += 1
    rows, cols = mask.shape
    for r in range(rows):
        for c in range(cols):
            if mask[r, c] and area[labels[r, c]] < min_size:
                mask[r, c] = False


@njit(nogil=True, cache=True)
def cut_at_part_of_peak(mask, above, part, labels):
    """Keep the pixels of each 4-connected component above `part` of its maximum, in place."""
    count = label(mask, False, labels)
    peak = np.zeros(count + 1, above.dtype)
    rows, cols = mask.shape
    for r in range(rows):
        for c in range(cols):
            if mask[r, c] and above[r, c] > peak[labels[r, c]]:
                peak[labels[r, c]] = above[r, c]
    for r in range(rows):
        for c in range(cols):
            if mask[r, c] and not above[r, c] > part * peak[labels[r, c]]:
                mask[r, c] = False


@njit(nogil=True, inline="always")
def _ordered(one, two):
    return (one, two) if one < two else (two, one)


@njit(nogil=True, cache=True)
def median_3x3(first, last, padded, out):
    """Median of the 3 x 3 neighbourhood; `padded` is one pixel wider than `out` all round.

    The sorting network of Paeth (Graphics Gems, 1990), which needs no branch.
    """
    cols = out.shape[1]
    for r in range(first, last):
        above, here, below = padded[r], padded[r + 1], padded[r + 2]
        a0, a1, a2 = above[:cols], above[1 : cols + 1], above[2 : cols + 2]
        h0, h1, h2 = here[:cols], here[1 : cols + 1], here[2 : cols + 2]
        b0, b1, b2 = below[:cols], below[1 : cols + 1], below[2 : cols + 2]
        target = out[r]
        for c in range(cols):
            p0, p1, p2 = a0[c], a1[c], a2[c]
            p3, p4, p5 = h0[c], h1[c], h2[c]
            p6, p7, p8 = b0[c], b1[c], b2[c]
            p1, p2 = _ordered(p1, p2)
            p4, p5 = _ordered(p4, p5)
            p7, p8 = _ordered(p7, p8)
            p0, p1 = _ordered(p0, p1)
            p3, p4 = _ordered(p3, p4)
            p6, p7 = _ordered(p6, p7)
            p1, p2 = _ordered(p1, p2)
            p4, p5 = _ordered(p4, p5)
            p7, p8 = _ordered(p7, p8)
            p0, p3 = _ordered(p0, p3)
            p5, p8 = _ordered(p5, p8)
            p4, p7 = _ordered(p4, p7)
            p3, p6 = _ordered(p3, p6)
            p1, p4 = _ordered(p1, p4)
            p2, p5 = _ordered(p2, p5)
            p4, p7 = _ordered(p4, p7)
            p4, p2 = _ordered(p4, p2)
            p6, p4 = _ordered(p6, p4)
            p4, p2 = _ordered(p4, p2)
            target[c] = p4
