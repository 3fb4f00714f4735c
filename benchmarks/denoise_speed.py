"""Seconds per 2032 x 2032 frame and peak memory for 30 and 181 frames, everything included.

    python benchmarks/denoise_speed.py [--size 2032] [--frames 30 181]

Each length runs in a process of its own: read the scan from disk, rolling median, network,
write the cleaned stack.  The peak memory of the two lengths is compared: it must not grow (Linux).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from memory import peak_gb


def make_scan(path: Path, frames: int, size: int) -> None:
    """A stack of noise with spots; the content does not change the speed."""
    rng = np.random.default_rng(0)
    noise = rng.poisson(200, (4, size, size)).astype(np.uint16)
    stack = tifffile.memmap(
        path, shape=(frames, size, size), dtype=np.uint16, photometric="minisblack"
    )
    for i in range(frames):
        stack[i] = np.roll(noise[i % 4], i, axis=0)
        at = rng.integers(4, size - 4, (500, 2))
        stack[i, at[:, 0], at[:, 1]] += 400
    stack.flush()


def measure(folder: Path) -> dict:
    """One run in this process."""
    from napari_labdct.io import open_scan
    from napari_labdct.networks.denoising import Denoiser, DenoiseSettings

    start = time.perf_counter()
    scan = open_scan(folder / "scan.tif")
    opened = time.perf_counter() - start
    denoiser = Denoiser(scan, DenoiseSettings(device="cpu"))
    store = denoiser.open_store(folder / "cleaned.tif")
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    for step in denoiser.run(store):
        if step.done == 1:
            first = time.perf_counter()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "frames": scan.n_frames,
        "open_s": opened,
        "wall_s": wall,
        "wall_s_per_frame": (time.perf_counter() - first) / (scan.n_frames - 1),
        "cpu_s_per_frame": cpu / scan.n_frames,
        "peak_gb": peak_gb(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--frames", type=int, nargs="+", default=[30, 181])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        print(json.dumps(measure(given.folder)))
        return
    results = []
    for frames in given.frames:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_scan(folder / "scan.tif", frames, given.size)
            command = [sys.executable, __file__, "--folder", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
        r = results[-1]
        print(
            f"{r['frames']:4d} frames of {given.size}^2: opened in {r['open_s']:.2f} s, "
            f"{r['wall_s_per_frame']:.2f} s and {r['cpu_s_per_frame']:.2f} CPU-s a frame, "
            f"{r['wall_s']:.0f} s in all, peak {r['peak_gb']:.2f} GB"
        )
    if len(results) > 1:
        ratio = results[-1]["peak_gb"] / results[0]["peak_gb"]
        print(f"peak memory, last over first: {ratio:.2f}")


if __name__ == "__main__":
    main()
