"""Compiled loops that draw: spots, streaks, tracks of cosmic rays, labels that stay apart."""

from __future__ import annotations

import math

import numba
import numpy as np

# One spot: exp(-(|u/length|^flat_u + |v/width|^flat_v) / 2), u along and v across its long
# axis, v bent by `bend` u^2, the outline waved by `wave`.  Powers of 2 make a Gaussian, higher
# ones a flat top with soft edges.  `level` is the part of its peak where its label ends.
SHAPE = np.dtype(
    [
        ("row", "f8"),
        ("col", "f8"),
        ("length", "f8"),
        ("width", "f8"),
        ("angle", "f8"),
        ("flat_u", "f8"),
        ("flat_v", "f8"),
        ("bend", "f8"),
        ("wave", "f8"),
        ("phase", "f8"),
        ("level", "f8"),
        ("height", "f8"),  # peak, in counts of x0
        ("clip", "f8"),  # part of the peak above which the detector saturates
    ]
)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _far(shape, lowest):
    """How many lengths or widths from its centre the profile is below `lowest` for sure."""
    return (1.0 + shape.wave) * math.sqrt(
        max(-2.0 * math.log(lowest), 1.0)
    )  # powers above 2 fall off faster


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _reach(shape, lowest):
    """Half side of the box outside which the profile is below `lowest`."""
    extent = -2.0 * math.log(lowest)
    u = shape.length * extent ** (1.0 / shape.flat_u)
    v = shape.width * extent ** (1.0 / shape.flat_v) + abs(shape.bend) * u * u
    return (1.0 + shape.wave) * max(u, v) + 1.0


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _profile(shape, row, col, cosine, sine, far):
    """The profile at a pixel, or 0 more than `far` lengths or widths from the centre."""
    dr = row - shape.row
    dc = col - shape.col
    u = dc * cosine + dr * sine
    v = dr * cosine - dc * sine - shape.bend * u * u
    u /= shape.length
    v /= shape.width
    if max(abs(u), abs(v)) > far:
        return 0.0
    if shape.wave > 0.0:
        scale = 1.0 / (1.0 + shape.wave * math.cos(3.0 * math.atan2(v, u) + shape.phase))
        u *= scale
        v *= scale
    if shape.flat_u == 2.0 and shape.flat_v == 2.0:
        return math.exp(-0.5 * (u * u + v * v))
    return math.exp(-0.5 * (abs(u) ** shape.flat_u + abs(v) ** shape.flat_v))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def measure_shapes(shapes, size, area, mean):
    """Label area in pixels and mean profile inside it, for every shape alone in the image."""
    for k in range(len(shapes)):
        s = shapes[k]
        cosine, sine = math.cos(s.angle), math.sin(s.angle)
        lowest = s.level
        reach, far = _reach(s, lowest), _far(s, lowest)
        count, total = 0, 0.0
        for i in range(max(int(s.row - reach), 0), min(int(s.row + reach) + 2, size)):
            for j in range(max(int(s.col - reach), 0), min(int(s.col + reach) + 2, size)):
                p = _profile(s, i, j, cosine, sine, far)
                if p >= lowest:
                    count += 1
                    total += p
        area[k] = count
        mean[k] = total / max(count, 1)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def draw(shapes, image, lowest):
    """Add every shape to `image`, down to the part `lowest` of its peak."""
    rows, cols = image.shape
    for k in range(len(shapes)):
        s = shapes[k]
        cosine, sine = math.cos(s.angle), math.sin(s.angle)
        reach, far = _reach(s, lowest), _far(s, lowest)
        for i in range(max(int(s.row - reach), 0), min(int(s.row + reach) + 2, rows)):
            for j in range(max(int(s.col - reach), 0), min(int(s.col + reach) + 2, cols)):
                p = _profile(s, i, j, cosine, sine, far)
                if p >= lowest:
                    image[i, j] += s.height * p


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def label(shapes, owner, strongest):
    """Give each pixel inside labels the number (from 1) of the strongest spot there."""
    rows, cols = owner.shape
    for k in range(len(shapes)):
        s = shapes[k]
        cosine, sine = math.cos(s.angle), math.sin(s.angle)
        lowest = s.level * s.clip
        reach, far = _reach(s, lowest), _far(s, lowest)
        for i in range(max(int(s.row - reach), 0), min(int(s.row + reach) + 2, rows)):
            for j in range(max(int(s.col - reach), 0), min(int(s.col + reach) + 2, cols)):
                p = _profile(s, i, j, cosine, sine, far)
                if p >= lowest and s.height * p > strongest[i, j]:
                    strongest[i, j] = s.height * p
                    owner[i, j] = k + 1


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def separate(owner, signal, peak, dip):
    """Cut labels that touch where the signal dips between them; return the gap pixels.

    Where two labels touch and the weaker of the two pixels is below `dip` of both peaks,
    that pixel becomes background. Background pixels that see two labels among their eight
    neighbours are the gaps.
    """
    rows, cols = owner.shape
    for i in range(rows):
        for j in range(cols):
            for step in range(4):
                a = owner[i, j]
                if a == 0:
                    break
                ni = i + (step > 0)
                nj = j + (1 if step == 0 else step - 2)
                if ni >= rows or nj < 0 or nj >= cols:
                    continue
                b = owner[ni, nj]
                if b == 0 or b == a:
                    continue
                if signal[i, j] < signal[ni, nj]:
                    if signal[i, j] < dip * min(peak[a - 1], peak[b - 1]):
                        owner[i, j] = 0
                elif signal[ni, nj] < dip * min(peak[a - 1], peak[b - 1]):
                    owner[ni, nj] = 0
    gap = np.zeros(owner.shape, np.bool_)
    for i in range(1, rows - 1):
        for j in range(1, cols - 1):
            if owner[i, j] != 0:
                continue
            first = 0
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    o = owner[i + di, j + dj]
                    if o == 0:
                        continue
                    if first == 0:
                        first = o
                    elif o != first:
                        gap[i, j] = True
    return gap


@numba.njit(cache=True, nogil=True)
def keep_apart(owner, area, clear):
    """Leave two pixels between any two labels, at the cost of the larger; return the gaps.

    Labelled pixels at most two pixels from a smaller label (by `area`, that of number n at n - 1)
    become background: a gap one pixel wide is easily closed by one wrong pixel, and a small or
    thin spot beside a large one must keep the little it has. Background pixels that see two
    labels at most two pixels away are the gaps. Labels that are not `clear` (bool, as `area`)
    have no gaps around them.
    """
    rows, cols = owner.shape
    gap = np.zeros(owner.shape, np.bool_)
    before = owner.copy()
    for i in range(rows):
        for j in range(cols):
            own = before[i, j]
            if own != 0 and not clear[own - 1]:
                continue
            first, two, smaller = own, False, False
            for ni in range(max(i - 2, 0), min(i + 3, rows)):
                for nj in range(max(j - 2, 0), min(j + 3, cols)):
                    o = before[ni, nj]
                    if o == 0 or o == first or not clear[o - 1]:
                        continue
                    if first == 0:
                        first = o
                        continue
                    two = True
                    if own != 0:
                        less = area[o - 1] - area[own - 1]
                        smaller = smaller or less < 0 or (less == 0 and o < own)
            if smaller:
                owner[i, j] = 0
            if two and owner[i, j] == 0:
                gap[i, j] = True
    return gap


@numba.njit(cache=True, nogil=True, error_model="numpy")
def stack_median(median, frame, behind, sigma, others, window, seed):
    """Median of a stack where spots of other projections lie, written into `median`.

    Elsewhere `median` stays. The stack holds `frame` and ``window - 1`` more, drawn by turns from
    `others` (k, rows, cols; their spots in counts) over `behind` with noise `sigma`, all of the
    size of `median`.
    """
    np.random.seed(seed)  # noqa: NPY002 (of numba, not of NumPy)
    k = others.shape[0]
    first = np.random.randint(k)  # noqa: NPY002
    values = np.empty(window, np.float32)
    rows, cols = median.shape
    for i in range(rows):
        for j in range(cols):
            ground, noise = behind[i, j], max(sigma[i, j], np.float32(1e-3))
            strongest = np.float32(0.0)
            for n in range(k):
                strongest = max(strongest, others[n, i, j])
            if strongest < 0.1 * noise:
                continue
            values[0] = frame[i, j]
            for n in range(1, window):
                spot = others[(first + n) % k, i, j]
                shot = noise * math.sqrt(1.0 + spot / max(ground, noise))  # grows with light
                eps = np.random.standard_normal()  # noqa: NPY002
                value = np.float32(ground + spot + shot * eps)
                m = n
                while m > 0 and values[m - 1] > value:
                    values[m] = values[m - 1]
                    m -= 1
                values[m] = value
            middle = window // 2
            median[i, j] = values[middle]
            if window % 2 == 0:
                median[i, j] = 0.5 * (values[middle - 1] + values[middle])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def draw_tracks(image, row, col, angle, length, thickness, height):
    """Cosmic rays: straight tracks of `length` pixels, sharp because no optics blurs them."""
    rows, cols = image.shape
    for k in range(len(row)):
        cosine, sine = math.cos(angle[k]), math.sin(angle[k])
        half = 0.5 * length[k]
        reach = half + thickness[k] + 1.0
        for i in range(max(int(row[k] - reach), 0), min(int(row[k] + reach) + 2, rows)):
            for j in range(max(int(col[k] - reach), 0), min(int(col[k] + reach) + 2, cols)):
                dr, dc = i - row[k], j - col[k]
                along = abs(dc * cosine + dr * sine)
                across = abs(dr * cosine - dc * sine)
                inside_u = min(max(half + 0.5 - along, 0.0), 1.0)
                inside_v = min(max(0.5 * thickness[k] + 0.5 - across, 0.0), 1.0)
                image[i, j] += height[k] * inside_u * inside_v
