"""Compiled loops between the convolutions of `bands`; `napari_labdct.core.kernels` has the rules.

Images are ``(rows, cols, channels)``.  Those of bfloat16 numbers, which NumPy does not have, are
seen as uint16: the upper half of a float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ROUND, _UPPER = np.uint32(0x7FFF), np.uint32(16)


@njit(nogil=True, cache=True)
def unshuffled(seen, stem, first, out):
    """Squares of ``stem`` px of the channels `seen`, from row `first`, as channels of `out`."""
    rows, cols, _ = out.shape
    for r in range(rows):
        for channel in range(seen.shape[0]):
            for i in range(stem):
                source = seen[channel, (first + r) * stem + i]
                for j in range(stem):
                    k = (channel * stem + i) * stem + j
                    for c in range(cols):
                        out[r, c, k] = source[stem * c + j]


@njit(nogil=True, cache=True)
def unshuffled_bfloat16(bits, stem, first, out):
    """As `unshuffled`: `bits` are those of float32 numbers, `out` of bfloat16, to nearest even."""
    rows, cols, _ = out.shape
    for r in range(rows):
        for channel in range(bits.shape[0]):
            for i in range(stem):
                source = bits[channel, (first + r) * stem + i]
                for j in range(stem):
                    k = (channel * stem + i) * stem + j
                    for c in range(cols):
                        x = source[stem * c + j]
                        odd = (x >> _UPPER) & np.uint32(1)
                        out[r, c, k] = np.uint16((x + _ROUND + odd) >> _UPPER)


@njit(nogil=True, cache=True)
def pooled(image, out):
    """Largest of each 2 x 2 px of numbers that are not negative (their bits are in order too)."""
    rows, cols, channels = out.shape
    for r in range(rows):
        upper, lower, target = image[2 * r], image[2 * r + 1], out[r]
        for c in range(cols):
            a, b, e, f = upper[2 * c], upper[2 * c + 1], lower[2 * c], lower[2 * c + 1]
            to = target[c]
            for k in range(channels):
                to[k] = max(max(a[k], b[k]), max(e[k], f[k]))


@njit(nogil=True, cache=True)
def joined(small, skip, out):
    """`small` at twice its size (nearest) beside `skip`, as channels of `out`."""
    rows, cols, channels = skip.shape
    below = small.shape[2]
    for r in range(rows):
        coarse, fine, target = small[r // 2], skip[r], out[r]
        for c in range(cols):
            source, to = coarse[c // 2], target[c]
            for k in range(below):
                to[k] = source[k]
            source = fine[c]
            for k in range(channels):
                to[below + k] = source[k]


@njit(nogil=True, cache=True)
def rectify_bfloat16(image):
    """ReLU in place; what is no number stays, so that it is noticed at the end."""
    flat = image.reshape(image.size)
    for k in range(flat.size):
        x = flat[k]
        positive = x < np.uint16(0x8000) or x > np.uint16(0xFF80)
        flat[k] = x if positive else np.uint16(0)


@njit(nogil=True, cache=True)
def shuffled(image, stem, first, out):
    """Channels of `image` as squares of ``stem`` px of `out`, from row `first` of the image on."""
    rows, cols, _ = image.shape
    for r in range(rows):
        for i in range(stem):
            target = out[(first + r) * stem + i]
            for c in range(cols):
                for j in range(stem):
                    target[stem * c + j] = image[r, c, i * stem + j]
