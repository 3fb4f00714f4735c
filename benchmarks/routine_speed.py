"""Rolling median and LoG segmentation against SciPy and bottleneck on the same frames.

    python benchmarks/routine_speed.py [--size 2032] [--frames 15] [--window 11]

Prints wall and CPU seconds a projection and how many times quicker ours is.  CPU seconds count
all cores, so they hold on a computer that is busy with something else too.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import time

import numpy as np
from scipy import ndimage as ndi

from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.components import EIGHT
from napari_labdct.spots.log_routine import RoutineSettings, log_segment


def make_stack(count: int, size: int) -> np.ndarray:
    """Poisson projections with a smooth background and moving spots, uint16."""
    random = np.random.default_rng(1)
    rows, cols = np.ogrid[:size, :size]
    level = 500 * np.exp(-((rows - size / 2) ** 2 + (cols - size / 2) ** 2) / size**2)
    stack = np.empty((count, size, size), np.uint16)
    spot = 400 * np.exp(-(np.square(np.mgrid[-6:7, -6:7]).sum(0)) / 4)
    for k in range(count):
        frame = random.normal(level, np.sqrt(level))
        for r, c in random.integers(8, size - 8, (600, 2)):
            frame[r - 6 : r + 7, c - 6 : c + 7] += spot * random.exponential()
        stack[k] = np.clip(frame, 0, 65535)
    return stack


def plain_log(residual: np.ndarray, settings: RoutineSettings) -> np.ndarray:
    """Paper 2.4 with SciPy alone."""
    above = np.maximum(residual - np.float32(settings.background), 0)
    sigma = settings.sigma_px
    half = math.ceil(8 * math.sqrt(2) * sigma)
    x = np.arange(-half, half + 1.0)
    gauss = np.exp(-(x**2) / (2 * sigma**2))
    gauss /= gauss.sum()
    curve = gauss * (x**2 - sigma**2) / sigma**4

    def both(rows, cols):
        one = ndi.convolve1d(above.astype(float), rows, axis=0, mode="constant")
        return ndi.convolve1d(one, cols, axis=1, mode="constant")

    mask = both(curve, gauss) + both(gauss, curve) < 0

    def large(mask):
        labels, _ = ndi.label(mask, EIGHT)
        keep = np.bincount(labels.ravel()) >= settings.min_size_px
        keep[0] = False
        return keep[labels]

    labels, count = ndi.label(large(mask))
    peak = np.concatenate([[0], ndi.maximum(above, labels, np.arange(1, count + 1))])
    part = np.float32(settings.percentage / 100)
    return large((labels > 0) & (above > part * peak[labels].astype(np.float32)))


def timed(work, repeat: int = 3) -> tuple[float, float]:
    """Least wall and CPU seconds of a few calls."""
    best = (math.inf, math.inf)
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best[0], spent[0]), min(best[1], spent[1])
    return best


def line(name: str, ours: tuple, other: tuple | None = None, versus: str = "") -> None:
    text = f"{name:34s} {ours[0]:7.3f} s wall {ours[1]:7.3f} s CPU"
    if other:
        text += f" | {versus} {other[0]:.3f} / {other[1]:.3f}"
        text += f" | {other[0] / ours[0]:.1f}x / {other[1] / ours[1]:.1f}x"
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--window", type=int, default=11)
    given = parser.parse_args()
    n, window = given.frames, given.window
    print(f"{n} frames of {given.size} x {given.size} uint16, {os.cpu_count()} cores")
    stack = make_stack(n, given.size)
    scan = Scan(stack)

    log_segment(np.zeros((64, 64), np.float32), RoutineSettings())  # compile
    RollingMedian(Scan(stack[:3, :64, :64]), 3).at(0)

    def stream():
        median = RollingMedian(scan, window)
        for i in range(n):
            median.at(i)

    def scipy_median():
        ndi.median_filter(stack, size=(window, 1, 1), mode="nearest")

    ours = tuple(t / n for t in timed(stream, 2))
    other = tuple(t / n for t in timed(scipy_median, 1))
    line(f"rolling median, window {window}", ours, other, "SciPy")
    if importlib.util.find_spec("bottleneck"):
        import bottleneck

        def bottleneck_median():
            bottleneck.move_median(stack, window, min_count=1, axis=0)

        line("", ours, tuple(t / n for t in timed(bottleneck_median, 1)), "bottleneck")
    else:
        print("bottleneck is not installed (pip install bottleneck)")
    jump = RollingMedian(scan, window)
    jump.at(0)

    def jumping():
        jump._frames.clear()
        jump.at(n // 2)

    line("rolling median of one distant frame", timed(jumping, 2))

    residual = stack[n // 2] - RollingMedian(scan, window).at(n // 2)
    for sigma in (1.0, 2.0, 4.0, 6.0, 10.0, 25.0):
        settings = RoutineSettings(sigma_px=sigma)
        ours = timed(lambda s=settings: log_segment(residual, s))
        other = timed(lambda s=settings: plain_log(residual, s), 1)
        same = np.array_equal(log_segment(residual, settings), plain_log(residual, settings))
        line(f"LoG, SD {sigma:g} px" + ("" if same else " (DIFFERS)"), ours, other, "SciPy")


if __name__ == "__main__":
    main()
