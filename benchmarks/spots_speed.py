"""Measuring a whole stack: 181 projections of 2032 x 2032 with 1000 spots each.

    python benchmarks/spots_speed.py [--frames N] [--profile]

Prints the seconds for the whole stack on this computer, with the rolling median (11 frames) that
the local background needs and without it, and how often each part counts.  The stack is made
frame by frame, so the time of reading a disk is not in it; making frames is measured and taken
off.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import time

import numpy as np

from napari_labdct.core.stacks import LazyStack
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.detections import Detections, measure_detections
from napari_labdct.spots.measurement import measure

SIZE = 2032
SPOTS = 1000


class Made(LazyStack):
    """Projections with spots, from a few noise images, so that memory stays small."""

    def __init__(self, frames: int, masks: bool) -> None:
        super().__init__((frames, SIZE, SIZE), np.uint8 if masks else np.uint16)
        rng = np.random.default_rng(0)
        self._noise = rng.poisson(500, (3, SIZE, SIZE)).astype(np.uint16)
        self._masks = masks
        self.seconds = self.cpu_seconds = 0.0

    def read(self, index: int) -> np.ndarray:
        start, cpu = time.perf_counter(), time.thread_time()
        shape = (SIZE, SIZE)
        image = np.zeros(shape, np.uint8) if self._masks else self._noise[index % 3].copy()
        corners = np.random.default_rng(index).integers(5, SIZE - 12, (SPOTS, 2))
        for row, col in corners:
            image[row : row + 5, col : col + 4] += np.uint8(255) if self._masks else np.uint16(150)
        if self._masks:
            image[image > 0] = 255
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.thread_time() - cpu
        return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--profile", action="store_true", help="also where the time goes")
    given = parser.parse_args()
    frames, profile = given.frames, cProfile.Profile()
    scan, masks = Scan(Made(frames, False)), Made(frames, True)
    detections = Detections(masks)
    next(measure_detections(scan, detections))  # compile
    scan.frames.seconds = masks.seconds = scan.frames.cpu_seconds = masks.cpu_seconds = 0.0
    if given.profile:
        profile.enable()
    start, cpu = time.perf_counter(), time.process_time()
    spots = sum(len(table) for table in measure_detections(scan, detections))
    wall = time.perf_counter() - start
    profile.disable()
    making = scan.frames.seconds + masks.seconds
    busy = time.process_time() - cpu - scan.frames.cpu_seconds - masks.cpu_seconds
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it ended")
    print(f"{spots} spots in {frames} projections of {SIZE} x {SIZE}")
    print(f"rolling median and measuring: {wall - making:.1f} s by the clock")
    print(f"processor time: {busy:.1f} s, {busy / frames:.3f} s a projection")
    frame, mask, background = scan.frame(0), masks[0], np.full((SIZE, SIZE), 500, np.float32)
    start = time.perf_counter()
    for _ in range(10):
        measure(frame, mask, background)
    print(f"measuring alone: {(time.perf_counter() - start) / 10:.3f} s a projection")
    if given.profile:
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
