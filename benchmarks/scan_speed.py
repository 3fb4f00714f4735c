"""A whole scan from TIFF on disk to cleaned TIFF on disk, everything included.

    python benchmarks/scan_speed.py [--frames 181] [--size 2032] [--device auto]
    python benchmarks/scan_speed.py --profile [--threads 1]

Times the command `labdct denoise` as a user would start it: Python and torch coming up, opening
the scan, its rolling median, the network, writing the result.  The paper: 181 projections in
40 s on a GPU, written at 1200 x 1200.

With --profile it runs in this process and prints where the time of a projection goes, in seconds
of the clock and of all cores, one projection after another, with each of two numbers of threads.
Without it as many projections are worked on at once as there are cores, each on one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from denoise_speed import make_scan


class Clock:
    """Seconds of the clock and of all cores that are spent in some functions."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def watch(self, part: str, owner: object, name: str) -> None:
        """Count the time of a function or method as that of a part."""
        real, spent = getattr(owner, name), self.spent.setdefault(part, [0.0, 0.0])

        def timed(*args, **kwargs):
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return real(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - wall
                spent[1] += time.process_time() - cpu

        setattr(owner, name, timed)


def profile(given: argparse.Namespace) -> None:
    """Where the time of a projection goes, printed as a table."""
    from napari_labdct.background.rolling_median import RollingMedian
    from napari_labdct.core.frame_store import FrameStore
    from napari_labdct.io import open_scan
    from napari_labdct.networks import evidence
    from napari_labdct.networks.denoising import Denoiser, DenoiseSettings
    from napari_labdct.networks.model import Model
    from napari_labdct.scan.scan import Scan

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.tif"
        make_scan(path, min(given.frames, 45), given.size)
        settings = DenoiseSettings(model=given.model, device=given.device)
        Denoiser.at_once = 1  # or the time of one frame would count as that of another
        job = Denoiser(open_scan(path), settings)
        store = job.open_store(Path(folder) / "cleaned.tif")
        list(job.run(store, [0, 1]))  # compiled, the window of the median filled
        for part, owner, name in (
            ("all of it", Denoiser, "frame"),
            ("  read", Scan, "frame"),
            ("  median, reading included", RollingMedian, "at"),
            ("  normalise", Model, "see"),
            ("  network", Model, "look"),
            ("  evidence", evidence.Evidence, "weigh_seen"),
            ("    components", evidence.Evidence, "_cut_down"),
            ("    significance", evidence, "significance"),
            ("write", FrameStore, "write"),
        ):
            clock.watch(part, owner, name)
        n = 12
        list(job.run(store, range(2, 2 + n)))
    threads = f"{given.threads} thread{'s' if given.threads > 1 else ''}"
    print(f"one projection of {given.size}^2, {given.model} on {given.device}, {threads}:")
    for part, (wall, cpu) in clock.spent.items():
        print(f"  {part:<28} {wall / n:6.3f} s {cpu / n:6.3f} CPU-s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        profile(given)
        return
    if given.profile:
        for threads in (1, len(os.sched_getaffinity(0))):
            again = [sys.executable, __file__, *sys.argv[1:], "--threads", str(threads)]
            limit = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
            # On as many cores as threads, so that pools of threads keep to it too.
            cores = sorted(os.sched_getaffinity(0))[:threads]
            subprocess.run(
                again, check=True, env=os.environ | limit,
                preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),
            )  # fmt: skip
        return
    with tempfile.TemporaryDirectory() as folder:
        scan, cleaned = Path(folder) / "scan.tif", Path(folder) / "cleaned.tif"
        make_scan(scan, given.frames, given.size)
        command = [sys.executable, "-m", "napari_labdct", "denoise", str(scan)]
        command += ["-o", str(cleaned), "--model", given.model, "--device", given.device]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{given.frames} frames of {given.size}^2, {given.model} on {given.device}: "
            f"{wall:.0f} s ({wall / given.frames:.2f} s a frame), "
            f"{used.ru_utime + used.ru_stime:.0f} CPU-s, peak {used.ru_maxrss / 1e6:.2f} GB, "
            f"{cleaned.stat().st_size / 1e6:.0f} MB written"
        )


if __name__ == "__main__":
    main()
