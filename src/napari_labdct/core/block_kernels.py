"""Compiled inner loops of measuring: medians over blocks of a projection.

Like those of `kernels` they release the GIL and take a range of rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FEWEST = 8  # a block with no more pixels than this has no median of its own


@njit(nogil=True, cache=True)
def block_medians(first, last, values, valid, row_edges, col_edges, out):
    """Median of the valid pixels of each block that begins in the rows; NaN if too few."""
    buffer = np.empty(np.diff(row_edges).max() * np.diff(col_edges).max(), np.float32)
    for i in range(row_edges.size - 1):
        if not first <= row_edges[i] < last:
            continue
        for j in range(col_edges.size - 1):
            n = 0
            for r in range(row_edges[i], row_edges[i + 1]):
                for c in range(col_edges[j], col_edges[j + 1]):
                    if valid[r, c]:
                        buffer[n] = values[r, c]
                        n += 1
            out[i, j] = np.median(buffer[:n]) if n > FEWEST else np.nan


@njit(nogil=True, cache=True)
def block_differences(first, last, frame, background, drift, row_edges, col_edges, out):
    """Median of ``|d/dx (frame - drift * background)|`` in each block that begins in the rows.

    The last column takes the difference to its left neighbour.
    """
    cols = frame.shape[1]
    buffer = np.empty(np.diff(row_edges).max() * np.diff(col_edges).max(), np.float32)
    for i in range(row_edges.size - 1):
        if not first <= row_edges[i] < last:
            continue
        for j in range(col_edges.size - 1):
            n = 0
            for r in range(row_edges[i], row_edges[i + 1]):
                for c in range(col_edges[j], col_edges[j + 1]):
                    a = max(0, min(c, cols - 2))
                    b = min(a + 1, cols - 1)
                    step = np.float32(frame[r, b]) - np.float32(frame[r, a])
                    buffer[n] = abs(step - drift * (background[r, b] - background[r, a]))
                    n += 1
            out[i, j] = np.median(buffer[:n])


@njit(nogil=True, cache=True)
def spread_blocks(first, last, coarse, low_row, row_part, low_col, col_part, out):
    """Linear interpolation between blocks: first along the columns, then along each row."""
    wide = coarse.shape[1]
    line = np.empty(wide, coarse.dtype)
    for r in range(first, last):
        one = coarse[low_row[r]]
        two = coarse[min(low_row[r] + 1, coarse.shape[0] - 1)]
        for k in range(wide):
            line[k] = one[k] + (two[k] - one[k]) * row_part[r]
        target = out[r]
        for c in range(target.size):
            k = low_col[c]
            target[c] = line[k] + (line[min(k + 1, wide - 1)] - line[k]) * col_part[c]
