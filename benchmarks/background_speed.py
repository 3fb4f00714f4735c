"""Background extraction against the same steps with SciPy and scikit-image.

    python benchmarks/background_speed.py [--size 2032] [--frames 181] [--window 60] [--plain 3]

Ours goes through the whole stack, made frame by frame; the plain version runs on a few
projections (`--plain`), and its rolling median on a strip of one window, and both are scaled
to the stack.  Prints seconds, the ratio, and the memory at its highest.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import isotropic_dilation

from napari_labdct.background import ExtractionSettings, Measurement
from napari_labdct.core.stacks import LazyStack
from napari_labdct.scan.scan import Scan


class Stack(LazyStack):
    """Poisson projections of a smooth background with moving spots, made when asked for."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__((count, size, size), np.uint16)
        rows, cols = np.ogrid[:size, :size]
        away = (rows - size / 2) ** 2 + (cols - size / 2) ** 2
        self._level = (500 * np.exp(-away / size**2)).astype(np.float32)
        self._noise = np.random.default_rng(0).standard_normal(1 << 24, np.float32)
        self._spot = 400 * np.exp(-(np.square(np.mgrid[-6:7, -6:7]).sum(0)) / 4)

    def read(self, index: int) -> np.ndarray:
        random, (_, size, _) = np.random.default_rng(index), self.shape
        start = random.integers(self._noise.size - size * size)
        frame = self._noise[start : start + size * size].reshape(size, size)
        frame = self._level + np.sqrt(self._level) * frame
        for r, c in random.integers(8, size - 8, (600, 2)):
            frame[r - 6 : r + 7, c - 6 : c + 7] += self._spot * random.exponential()
        return np.clip(frame, 0, 65535).astype(np.uint16)


def plain_filled(frame: np.ndarray, radius: int) -> np.ndarray:
    """Appendix A up to the Gaussian filter, as one would write it in a few lines."""
    grey = frame.astype(float)
    steep = np.hypot(ndi.sobel(grey, 0), ndi.sobel(grey, 1))
    spots = ndi.binary_fill_holes(steep > 5 * np.sqrt(12 * np.median(grey)))
    mask = ndi.correlate(spots.astype(float), np.full((2, 2), 0.25)) > 0
    mask = isotropic_dilation(mask, radius)
    nearest = ndi.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return ndi.gaussian_filter(grey[tuple(nearest)], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--window", type=int, default=60)
    parser.add_argument("--plain", type=int, default=3)
    given = parser.parse_args()
    n, size = given.frames, given.size
    settings = ExtractionSettings(window_frames=given.window)
    print(f"{n} projections of {size} x {size} uint16, {os.cpu_count()} cores")
    small = Measurement(Scan(Stack(9, 128)), settings)
    list(small.run())  # compile
    stack = Stack(n, size)
    wall, cpu = time.perf_counter(), time.process_time()
    for i in range(min(n, 10)):
        stack.read(i)
    making = np.array([time.perf_counter() - wall, time.process_time() - cpu]) / min(n, 10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measurement = Measurement(Scan(stack), settings)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in measurement.run():
        pass
    spent = np.array([time.perf_counter() - wall, time.process_time() - cpu])
    reads = n + 2 * min(n, 31)
    ours = spent - reads * making
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"ours: {ours[0]:.1f} s wall, {ours[1]:.1f} s CPU (making the frames: {making[0]:.2f} s)")
    print(f"memory at its highest {peak / unit:.0f} MB ({before / unit:.0f} MB before)")

    wall, cpu = time.perf_counter(), time.process_time()
    for i in range(given.plain):
        plain_filled(stack.read(i), settings.dilation_radius_px)
    filled = np.array([time.perf_counter() - wall, time.process_time() - cpu]) / given.plain
    window, strip = min(given.window, n), 64
    block = np.random.default_rng(1).normal(500, 3, (window, strip, size)).astype(np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    np.median(block, axis=0)
    median = np.array([time.perf_counter() - wall, time.process_time() - cpu]) * size / strip
    plain = n * (filled - making + median)
    print(
        f"plain: {plain[0]:.0f} s wall, {plain[1]:.0f} s CPU "
        f"(filling {filled[0] - making[0]:.2f} s, median {median[0]:.2f} s a projection)"
    )
    print(f"ratio: {plain[0] / ours[0]:.1f}x wall, {plain[1] / ours[1]:.1f}x CPU")


if __name__ == "__main__":
    main()
