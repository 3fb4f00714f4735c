"""Compiled loops of the rolling median; see `napari_labdct.core.kernels` for the rules.

A window of projections lies in memory as ``(rows, projections, cols)``, so that a row of all of
them is in the cache at once and the loops along it are vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def put(first, last, window, place, image):
    """Write `image` into a place of the window."""
    for r in range(first, last):
        target, source = window[r, place], image[r]
        for c in range(source.size):
            target[c] = source[c]


@njit(nogil=True, cache=True)
def move(first, last, window, source, target):
    """Copy what is in one place of the window into another."""
    for r in range(first, last):
        window[r, target] = window[r, source]


@njit(nogil=True, cache=True)
def sort_median(first, last, window, count, median, out):
    """Median of the first `count` places: into `out`, and the lower middle one into `median`."""
    cols = window.shape[2]
    half = (count - 1) // 2
    ordered = np.empty((count, cols), window.dtype)
    for r in range(first, last):
        for k in range(count):
            rest = ordered[k]
            rest[:] = window[r, k]
            # what is larger is carried on; so many loops, but none that branches
            for j in range(k):
                at = ordered[j]
                for c in range(cols):
                    low, high = min(at[c], rest[c]), max(at[c], rest[c])
                    at[c] = low
                    rest[c] = high
        lower, upper = ordered[half], ordered[count // 2]
        for c in range(cols):
            median[r, c] = lower[c]
            if count % 2:
                out[r, c] = lower[c]
            else:
                out[r, c] = 0.5 * (np.float64(lower[c]) + upper[c])


@njit(nogil=True, cache=True)
def step_median(first, last, window, count, lowest, highest, median, out):
    """As `sort_median` for an odd `count`, after one place was exchanged since the last time.

    Then the median is what it was, or its neighbour among the values.
    """
    cols = window.shape[2]
    half = np.int16((count - 1) // 2)
    fewer, upto = np.empty(cols, np.int16), np.empty(cols, np.int16)
    below, above = np.empty(cols, window.dtype), np.empty(cols, window.dtype)
    for r in range(first, last):
        fewer[:], upto[:], below[:], above[:] = 0, 0, lowest, highest
        m = median[r]
        for k in range(count):
            values = window[r, k]
            for c in range(cols):
                x, y = values[c], m[c]
                fewer[c] += np.int16(x < y)
                upto[c] += np.int16(x <= y)
                below[c] = max(below[c], x if x < y else lowest)
                above[c] = min(above[c], x if x > y else highest)
        target = out[r]
        for c in range(cols):
            if fewer[c] > half:
                m[c] = below[c]
            elif upto[c] <= half:
                m[c] = above[c]
            target[c] = m[c]
