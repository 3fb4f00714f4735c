"""Compiled inner loop of `significance`."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def raise_heights(image, rows, cols, label, starts, taps, weights, enough, best, own_best):
    """Raise `best[label]` and `own_best` to the largest filter response at the pixels of spots.

    Parameters
    ----------
    image : float32 array (n, m)
        In noise sigmas.
    rows, cols, label : int arrays (p,)
        Pixels to look at, and which entry of `best` each belongs to.
    starts : int array (k + 1,)
        Filter ``f`` has the taps ``starts[f]`` to ``starts[f + 1]``.
    taps : int array (t, 2)
        Row and column of each, from the middle of its filter.
    weights : float32 array (t,)
    enough : float
        Spots that reach it are looked at no further.
    best : float32 array
        By label.
    own_best : float32 array (p,)
        By pixel; of a spot that has reached `enough` it is not looked at to the end.
    """
    n, m = image.shape
    reach = 0
    for t in range(taps.shape[0]):
        reach = max(reach, abs(taps[t, 0]), abs(taps[t, 1]))
    for f in range(starts.size - 1):
        first, last = starts[f], starts[f + 1]
        whole = np.float32(0)
        for t in range(first, last):
            whole += weights[t] * weights[t]
        for p in range(rows.size):
            own = label[p]
            if best[own] >= enough:
                continue
            r, c = rows[p], cols[p]
            total, norm = np.float32(0), whole
            if reach <= r < n - reach and reach <= c < m - reach:
                for t in range(first, last):
                    total += weights[t] * image[r + taps[t, 0], c + taps[t, 1]]
            else:
                norm = np.float32(0)
                for t in range(first, last):
                    i, j = r + taps[t, 0], c + taps[t, 1]
                    if 0 <= i < n and 0 <= j < m:
                        total += weights[t] * image[i, j]
                        norm += weights[t] * weights[t]
            height = total / np.sqrt(norm)
            own_best[p] = max(own_best[p], height)
            best[own] = max(best[own], height)
