"""Seconds to track a scan: 181 projections of 2032 x 2032 with 700 spots each.

    python benchmarks/tracking_speed.py [--frames N] [--spots N] [--profile]

Spots follow the paths that the geometry tells, each for as long as it stays on the detector, with
as many faint candidates in random places.  Both parts count: the survey of the scan and the
output frames.  The cleaned stack is made frame by frame; the time for that is taken off.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import time

import numpy as np
from memory import peak_gb

from napari_labdct.core.stacks import LazyStack
from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles
from napari_labdct.spots.tracking import Tracker

SIZE, STEP_DEG = 2032, 2.0
ABOUT = ScanDescription(pixel_um=3.36, source_sample_mm=14.0, sample_detector_mm=14.0)


class Cleaned(LazyStack):
    """What a network might say: sure spots that go on, weak ones that do, and chance."""

    def __init__(self, scan: Scan, spots: int) -> None:
        super().__init__(scan.frames.shape, np.uint8)
        self._scan, self._spots = scan, spots
        self.seconds = self.cpu_seconds = 0.0
        rng = np.random.default_rng(0)
        # each lives for a while around the projection in which it is drawn
        self._born = rng.integers(0, len(self), spots * len(self) // 7)
        self._at = rng.uniform(20, SIZE - 20, (self._born.size, 2))
        self._peak = rng.choice([60, 130, 255], self._born.size, p=[0.2, 0.3, 0.5])

    def read(self, index: int) -> np.ndarray:
        start, cpu = time.perf_counter(), time.thread_time()
        image = np.zeros(self.shape[1:], np.uint8)
        geometry = self._scan.geometry()
        for steps in range(-3, 4):
            alive = self._born == index - steps
            at = geometry.turn_spots(self._at[alive], STEP_DEG * steps)
            self._draw(image, at, self._peak[alive])
        rng = np.random.default_rng(index)
        self._draw(image, rng.uniform(20, SIZE - 20, (self._spots, 2)), np.full(self._spots, 20))
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.thread_time() - cpu
        return image

    @staticmethod
    def _draw(image: np.ndarray, places: np.ndarray, peaks: np.ndarray) -> None:
        for (row, col), peak in zip(places, peaks, strict=True):
            if 10 < row < SIZE - 10 and 10 < col < SIZE - 10:
                box = np.s_[int(row) - 2 : int(row) + 3, int(col) - 2 : int(col) + 2]
                image[box] = np.maximum(image[box], peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--spots", type=int, default=700)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    empty = np.broadcast_to(np.uint16(0), (given.frames, SIZE, SIZE))
    scan = Scan(empty, angles(-180, STEP_DEG, given.frames), ABOUT)
    cleaned = Cleaned(scan, given.spots)
    tracker = Tracker(scan, cleaned)
    profile = cProfile.Profile()
    if given.profile:
        profile.enable()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in tracker.survey():
        pass
    surveyed = time.perf_counter() - start - cleaned.seconds
    for index in range(given.frames):
        tracker.frame(index)
    profile.disable()
    wall = time.perf_counter() - start - cleaned.seconds
    busy = time.process_time() - cpu - cleaned.cpu_seconds
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} when it ended")
    print(tracker.note)
    print(
        f"{given.frames} projections of {SIZE}^2, about {given.spots} spots each: {wall:.1f} s "
        f"(survey {surveyed:.1f} s), {busy:.1f} CPU-s, peak {peak_gb():.2f} GB"
    )
    if given.profile:
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
