"""The compiled inner loop of the projector: one call draws many spots, and releases the GIL."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Columns of the record of a spot.
N_HITS, N_OUTSIDE, GREY, ROW, COL, ENERGY, ORDER, PEAK, AREA = range(9)
# The box that was drawn, cut off at the edges of the detector.
TOP, LEFT, BOTTOM, RIGHT = range(9, 13)
RECORD = 13


@njit(nogil=True, cache=True, error_model="numpy")
def path_length(x, y, in_x, in_y, out_x, out_y, radius2):
    """Length inside an upright cylinder of the rays to and from a point, 0 where they miss it.

    `x`, `y` are relative to the cylinder's axis, ``in_*`` and ``out_*`` the x and y parts of the
    unit vectors of the incident and the reflected ray.
    """
    c = x * x + y * y - radius2
    a = in_x * in_x + in_y * in_y
    b = x * in_x + y * in_y
    root = b * b - a * c
    path = 0.0
    if root > 0:
        path = max((b + math.sqrt(root)) / a, 0.0)
    a = out_x * out_x + out_y * out_y
    b = x * out_x + y * out_y
    root = b * b - a * c
    if root > 0:
        path += max((-b + math.sqrt(root)) / a, 0.0)
    return path


@njit(nogil=True, cache=True, error_model="numpy")
def incident_rays(start, end, points, cos_omega, sin_omega, source_x, cylinder, rays):
    """Turn sub-cells into the laboratory and find the rays that reach them.

    Writes ``rays[:, start:end]``, float32: x, y, z of the cell relative to the cylinder's axis and
    the laboratory's z = 0 (mm), the incident unit vector, and its path inside the cylinder (mm).
    """
    radius2 = cylinder[2] ** 2
    for i in range(start, end):
        x = cos_omega * points[i, 0] - sin_omega * points[i, 1]
        y = sin_omega * points[i, 0] + cos_omega * points[i, 1]
        z = np.float64(points[i, 2])
        kx, ky, kz = x - source_x, y, z
        inverse = 1.0 / math.sqrt(kx * kx + ky * ky + kz * kz)
        kx, ky, kz = kx * inverse, ky * inverse, kz * inverse
        x -= cylinder[0]
        y -= cylinder[1]
        rays[0, i], rays[1, i], rays[2, i] = x, y, z
        rays[3, i], rays[4, i], rays[5, i] = kx, ky, kz
        rays[6, i] = path_length(x, y, kx, ky, 0.0, 0.0, radius2)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
def reflect(rays, first, last, normal, plane, cylinder, sine, row, col, path):
    """Reflect the rays of cells `first` to `last` and intersect them with the detector.

    `plane` (4, 3) float32 holds the detector's normal and its row and column directions (pixels
    per mm, negative as rows grow downwards) and, in its last line, the distance of the detector
    from the cylinder's axis along the normal and the (row, col) seen there. Written in single
    precision without branches so that it becomes vector instructions: 0.001 px of error.
    """
    gx, gy, gz = normal[0], normal[1], normal[2]
    nx, ny, nz = plane[0, 0], plane[0, 1], plane[0, 2]
    rx, ry, rz = plane[1, 0], plane[1, 1], plane[1, 2]
    cx, cy, cz = plane[2, 0], plane[2, 1], plane[2, 2]
    away, row_0, col_0 = plane[3, 0], plane[3, 1], plane[3, 2]
    radius2 = cylinder[2] * cylinder[2]
    zero, tiny, two, far = np.float32(0), np.float32(1e-6), np.float32(2), np.float32(-1e9)
    for j in range(last - first):
        i = first + j
        x, y, z = rays[0, i], rays[1, i], rays[2, i]
        kx, ky, kz = rays[3, i], rays[4, i], rays[5, i]
        s = -(kx * gx + ky * gy + kz * gz)
        # k1 = k0 + (lambda / 2 pi) G = k0 + 2 sin(theta) G / |G|
        ox, oy, oz = kx + two * s * gx, ky + two * s * gy, kz + two * s * gz
        forward = nx * ox + ny * oy + nz * oz
        gap = away - (nx * x + ny * y + nz * z)
        t = gap / max(forward, tiny)
        qx, qy, qz = x + t * ox, y + t * oy, z + t * oz
        good = (s > tiny) & (forward > tiny) & (gap > zero)
        row[j] = row_0 + rx * qx + ry * qy + rz * qz if good else far
        col[j] = col_0 + cx * qx + cy * qy + cz * qz
        sine[j] = s
        c = x * x + y * y - radius2
        a = ox * ox + oy * oy
        b = x * ox + y * oy
        root = max(b * b - a * c, zero)
        # A ray that misses the cylinder has no root, and one that leaves it behind a negative one.
        out = max(math.sqrt(root) - b, zero) / max(a, tiny)
        path[j] = rays[6, i] + (out if root > zero else zero)


@njit(nogil=True, cache=True, error_model="numpy")
def draw_spots(
    which,
    grain_of,
    normal_of,
    base_energy_of,
    strength_of,
    first,
    rays,
    plane,
    hidden,
    table,
    mu,
    energy_0,
    energy_step,
    cylinder,
    fang,
    taps,
    truth_min,
    truth_fraction,
    image,
    best,
    labels,
    record,
):
    """Draw the spots `which` of one projection.

    Parameters
    ----------
    which : int (k,)
        Indices of the candidate reflections to draw.
    grain_of : int (m,)
        Grain of each candidate.
    normal_of : float32 (m, 3)
        Unit scattering vector in the laboratory.
    base_energy_of : float (m,)
        hc / (2 d) of the first order: E = order * base / sin(theta).
    strength_of : float (m, orders)
        Factor of each order that does not depend on the energy, 0 for absent orders.
    first : int (n + 1,)
        Cells of each grain, see `GrainMap.cells`.
    rays, plane
        From `incident_rays`, and as `reflect` wants it.
    hidden : bool (rows, cols)
        Beam stop.
    table, mu : float (n,)
        Factor of the energy, and attenuation (1/mm), on the grid energy_0 + i energy_step.
    cylinder : float32 (3,)
        x, y (laboratory) and radius of the attenuating cylinder, mm.
    fang : bool
        Multiply by 1 / sin(2 theta).
    taps : float (2 r + 1,)
        One-dimensional point spread.
    truth_min, truth_fraction : float
        A spot's mask is what is connected to its peak above max(min, fraction * peak).
    image, best : float32 (rows, cols)
        Sum of the spots, and the brightest single spot; added to.
    labels : int32 (rows, cols)
        1 + index of the brightest spot whose mask holds the pixel; written to.
    record : float (m, RECORD)
        What is known of each spot; written to.
    """
    rows, cols = image.shape
    radius = taps.size // 2
    orders = strength_of.shape[1]
    last_bin = table.size - 1
    largest = 0
    for m in which:
        largest = max(largest, first[grain_of[m] + 1] - first[grain_of[m]])
    hit_row = np.empty(largest, np.float32)
    hit_col = np.empty(largest, np.float32)
    hit_grey = np.empty(largest, np.float32)
    ray_row = np.empty(largest, np.float32)
    ray_col = np.empty(largest, np.float32)
    ray_sine = np.empty(largest, np.float32)
    ray_path = np.empty(largest, np.float32)
    by_order = np.empty(orders)

    for m in which:
        base = base_energy_of[m]
        by_order[:] = 0.0
        hits, outside, count = 0, 0, 0
        total, sum_row, sum_col, sum_energy = 0.0, 0.0, 0.0, 0.0
        row_lo, row_hi, col_lo, col_hi = 1e9, -1e9, 1e9, -1e9
        begin, end = first[grain_of[m]], first[grain_of[m] + 1]
        reflect(
            rays,
            begin,
            end,
            normal_of[m],
            plane,
            cylinder,
            ray_sine,
            ray_row,
            ray_col,
            ray_path,
        )
        for i in range(end - begin):
            row, col = ray_row[i], ray_col[i]
            if not (-radius - 1 < row < rows + radius and -radius - 1 < col < cols + radius):
                continue
            sine, path = np.float64(ray_sine[i]), np.float64(ray_path[i])
            polarisation = 1 - 2 * sine * sine
            factor = 0.5 * (1 + polarisation * polarisation)
            if fang:
                factor /= 2 * sine * math.sqrt(1 - sine * sine)
            grey = 0.0
            energy_1 = base / sine
            inside = False
            for n in range(orders):
                if strength_of[m, n] == 0.0:
                    continue
                where = ((n + 1) * energy_1 - energy_0) / energy_step
                if where < 0 or where > last_bin:
                    continue
                inside = True
                j = min(int(where), last_bin - 1)
                w = where - j
                part = (1 - w) * table[j] + w * table[j + 1]
                part *= math.exp(-((1 - w) * mu[j] + w * mu[j + 1]) * path)
                part *= strength_of[m, n] * factor
                grey += part
                by_order[n] += part
            if not inside:
                continue
            at_row, at_col = math.floor(row + 0.5), math.floor(col + 0.5)
            if 0 <= at_row < rows and 0 <= at_col < cols:
                hits += 1
                total += grey
                sum_row += grey * row
                sum_col += grey * col
                sum_energy += grey * energy_1
                if not hidden[int(at_row), int(at_col)]:
                    outside += 1
            hit_row[count] = row
            hit_col[count] = col
            hit_grey[count] = grey
            count += 1
            row_lo, row_hi = min(row_lo, row), max(row_hi, row)
            col_lo, col_hi = min(col_lo, col), max(col_hi, col)
        if hits == 0:
            continue
        strongest = 0
        for n in range(1, orders):
            if by_order[n] > by_order[strongest]:
                strongest = n
        record[m, N_HITS] = hits
        record[m, N_OUTSIDE] = outside
        record[m, GREY] = total
        record[m, ORDER] = strongest + 1
        if total > 0:
            record[m, ROW] = sum_row / total
            record[m, COL] = sum_col / total
            record[m, ENERGY] = (strongest + 1) * sum_energy / total
        else:
            continue

        top = math.floor(row_lo) - radius
        left = math.floor(col_lo) - radius
        height = math.floor(row_hi) + 2 + radius - top
        width = math.floor(col_hi) + 2 + radius - left
        record[m, TOP], record[m, LEFT] = max(top, 0), max(left, 0)
        record[m, BOTTOM], record[m, RIGHT] = min(top + height, rows), min(left + width, cols)
        spot = np.zeros((height, width), np.float32)
        for i in range(count):
            r = hit_row[i] - top
            c = hit_col[i] - left
            r0, c0 = int(r), int(c)
            fr, fc = r - r0, c - c0
            grey = hit_grey[i]
            spot[r0, c0] += grey * (1 - fr) * (1 - fc)
            spot[r0, c0 + 1] += grey * (1 - fr) * fc
            spot[r0 + 1, c0] += grey * fr * (1 - fc)
            spot[r0 + 1, c0 + 1] += grey * fr * fc
        if radius > 0:
            blurred = np.zeros((height, width), np.float32)
            for r in range(radius, height - radius):
                for c in range(radius, width - radius):
                    value = spot[r, c]
                    if value != 0:
                        for k in range(taps.size):
                            blurred[r, c + k - radius] += value * taps[k]
            spot[:] = 0
            for r in range(radius, height - radius):
                for k in range(taps.size):
                    tap = taps[k]
                    for c in range(width):
                        spot[r + k - radius, c] += tap * blurred[r, c]

        peak, peak_r, peak_c = np.float32(0.0), -1, -1
        for r in range(max(0, -top), min(height, rows - top)):
            for c in range(max(0, -left), min(width, cols - left)):
                if not hidden[r + top, c + left]:
                    image[r + top, c + left] += spot[r, c]
                    if spot[r, c] > peak:
                        peak, peak_r, peak_c = spot[r, c], r, c
        record[m, PEAK] = peak
        threshold = max(truth_min, truth_fraction * peak)
        if peak_r < 0 or peak <= threshold:
            continue
        # The region connected (8 neighbours) to the peak above the threshold.
        seen = np.zeros((height, width), np.bool_)
        stack = np.empty((height * width, 2), np.int32)
        stack[0, 0], stack[0, 1] = peak_r, peak_c
        seen[peak_r, peak_c] = True
        waiting, area = 1, 0
        while waiting > 0:
            waiting -= 1
            r, c = stack[waiting, 0], stack[waiting, 1]
            area += 1
            if spot[r, c] > best[r + top, c + left]:
                best[r + top, c + left] = spot[r, c]
                labels[r + top, c + left] = m + 1
            for r1 in range(max(r - 1, 0, -top), min(r + 2, height, rows - top)):
                for c1 in range(max(c - 1, 0, -left), min(c + 2, width, cols - left)):
                    if (
                        not seen[r1, c1]
                        and spot[r1, c1] > threshold
                        and not hidden[r1 + top, c1 + left]
                    ):
                        seen[r1, c1] = True
                        stack[waiting, 0], stack[waiting, 1] = r1, c1
                        waiting += 1
        record[m, AREA] = area


@njit(nogil=True, cache=True)
def merge_frames(image, best, labels, other_image, other_best, other_labels):
    """Add another thread's frame to this one and empty it; brighter spots keep the labels."""
    rows, cols = image.shape
    for r in range(rows):
        for c in range(cols):
            image[r, c] += other_image[r, c]
            if other_best[r, c] > best[r, c]:
                best[r, c] = other_best[r, c]
                labels[r, c] = other_labels[r, c]
            other_image[r, c] = 0
            other_best[r, c] = 0
            other_labels[r, c] = 0
