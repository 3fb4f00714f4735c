"""Compiled passes of `normalisation`; see `napari_labdct.core.kernels` for the rules.

A grid of blocks comes spread along the columns already, as `tall` (rows, blocks).  Along a row,
the pixels from ``edges[k]`` to ``edges[k + 1]`` have the part ``part[c]`` of block ``k + 1`` and
the rest of block ``k``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ONE, _TWO = np.float32(1), np.float32(2)


@njit(nogil=True, cache=True)
def blocks_of(image, rows, cols, block, differences, out):
    """Pixels block by block: ``out[i, j]`` has those of one block, as float32.

    `rows` are the rows to take, block after block; `cols` all columns, those beyond the image
    mirrored.  With `differences` it is ``|x[c] - x[c - 1]|`` in place of ``x[c]``, and that of the
    second column twice.
    """
    wide = out.shape[1]
    height = out.shape[2] // block
    line = np.empty(image.shape[1], np.float32)
    for i in range(out.shape[0]):
        for h in range(height):
            source = image[rows[i * height + h]]
            for c in range(line.size):
                line[c] = np.float32(source[c])
            if differences:
                for c in range(line.size - 1, 0, -1):
                    line[c] = abs(line[c] - line[c - 1])
                line[0] = line[1] if line.size > 1 else np.float32(0)
            for j in range(wide):
                target = out[i, j, h * block : (h + 1) * block]
                if (j + 1) * block <= line.size:
                    target[:] = line[j * block : (j + 1) * block]
                else:
                    for w in range(block):
                        target[w] = line[cols[j * block + w]]


@njit(nogil=True, cache=True)
def _spread(grid, edges, part, line):
    """One row of a grid, pixel by pixel."""
    for k in range(edges.size - 1):
        one, two = grid[k], grid[min(k + 1, grid.size - 1)]
        for c in range(edges[k], edges[k + 1]):
            line[c] = (_ONE - part[c]) * one + part[c] * two


@njit(nogil=True, cache=True)
def subtract(image, tall, edges, part, out):
    """``image - spread`` into `out`, which may be `image`."""
    rows, cols = out.shape
    line = np.empty(cols, np.float32)
    for r in range(rows):
        _spread(tall[r], edges, part, line)
        source, target = image[r], out[r]
        for c in range(cols):
            target[c] = np.float32(source[c]) - line[c]


@njit(nogil=True, cache=True)
def subtract_scaled(image, tall, edges, part, median, out):
    """``image - spread * median`` into `out`."""
    rows, cols = out.shape
    line = np.empty(cols, np.float32)
    for r in range(rows):
        _spread(tall[r], edges, part, line)
        source, below, target = image[r], median[r], out[r]
        for c in range(cols):
            target[c] = np.float32(source[c]) - line[c] * np.float32(below[c])


@njit(nogil=True, cache=True)
def divide(images, first, tall, edges, part):
    """Divide all `images` (k, rows, cols), from row `first` of the whole, by twice the spread."""
    count, rows, cols = images.shape
    line = np.empty(cols, np.float32)
    for r in range(rows):
        _spread(tall[first + r], edges, part, line)
        for n in range(count):
            target = images[n, r]
            for c in range(cols):
                target[c] /= _TWO * line[c]
