"""Compiled inner loops of background extraction; see `napari_labdct.core.kernels` for the rules."""

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True)
def steep(first, last, image, level, scale, out):
    """Where the Sobel magnitude of `image` is above ``sqrt(scale * level)``."""
    rows, cols = image.shape
    for r in range(first, last):
        above, here, below = image[max(r - 1, 0)], image[r], image[min(r + 1, rows - 1)]
        for c in range(cols):
            a, b = max(c - 1, 0), min(c + 1, cols - 1)
            across = above[b] - above[a] + 2 * (here[b] - here[a]) + below[b] - below[a]
            down = below[a] - above[a] + 2 * (below[c] - above[c]) + below[b] - above[b]
            out[r, c] = across * across + down * down > scale * level[r, c]


@njit(nogil=True, cache=True)
def close_to(first, last, mask, radius, distance):
    """Distance along the row to the nearest pixel of `mask`, at most ``radius + 1``."""
    cols = mask.shape[1]
    far = radius + 1
    for r in range(first, last):
        run = far
        for c in range(cols):
            run = 0 if mask[r, c] else min(run + 1, far)
            distance[r, c] = run
        run = far
        for c in range(cols - 1, -1, -1):
            run = 0 if mask[r, c] else min(run + 1, far)
            if run < distance[r, c]:
                distance[r, c] = run


@njit(nogil=True, cache=True)
def within_disk(first, last, distance, half_widths, out):
    """Second half of a dilation by a disk: `half_widths[k]` is its half width k rows off."""
    rows, cols = distance.shape
    radius = half_widths.size - 1
    for r in range(first, last):
        target = out[r]
        target[:] = False
        for k in range(max(r - radius, 0), min(r + radius, rows - 1) + 1):
            width = half_widths[abs(k - r)]
            near = distance[k]
            for c in range(cols):
                target[c] |= near[c] <= width


@njit(nogil=True, cache=True)
def bin_free(first, last, image, mask, pitch, mean, part):
    """Mean of the pixels outside `mask` in cells of `pitch` pixels, and the part they cover."""
    rows, cols = image.shape
    for i in range(first, last):
        for j in range(mean.shape[1]):
            total, free, whole = 0.0, 0, 0
            for r in range(i * pitch, min((i + 1) * pitch, rows)):
                for c in range(j * pitch, min((j + 1) * pitch, cols)):
                    whole += 1
                    if not mask[r, c]:
                        total += image[r, c]
                        free += 1
            mean[i, j] = total / free if free else 0.0
            part[i, j] = free / whole


@njit(nogil=True, cache=True)
def add_spread(first, last, cells, pitch, factor, out):
    """Add ``factor * cells``, interpolated between the centres of the cells, to `out`."""
    height, width = cells.shape
    cols = out.shape[1]
    for r in range(first, last):
        y = (r + 0.5) / pitch - 0.5
        top = int(max(y, 0.0))
        low = min(top + 1, height - 1)
        v = min(max(y - top, 0.0), 1.0)
        for c in range(cols):
            x = (c + 0.5) / pitch - 0.5
            left = int(max(x, 0.0))
            right = min(left + 1, width - 1)
            u = min(max(x - left, 0.0), 1.0)
            upper = cells[top, left] + u * (cells[top, right] - cells[top, left])
            lower = cells[low, left] + u * (cells[low, right] - cells[low, left])
            out[r, c] += factor * (upper + v * (lower - upper))


@njit(nogil=True, cache=True)
def fill_enclosed(mask, labels, count, largest):
    """Add to `mask` the labelled regions of at most `largest` pixels."""
    area = [0] * (count + 1)
    for k in labels.flat:
        area[k] += 1
    for r in range(mask.shape[0]):
        for c in range(mask.shape[1]):
            if labels[r, c] and area[labels[r, c]] <= largest:
                mask[r, c] = True
