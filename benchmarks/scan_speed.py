"""A whole scan from TIFF on disk to cleaned TIFF on disk, everything included.

    python benchmarks/scan_speed.py [--frames 181] [--size 2032] [--device cpu]

Times the command `labdct denoise` as a user would start it: Python and torch coming up, opening
the scan, its rolling median, the network, writing the result.  The paper: 181 projections in
40 s on a GPU, written at 1200 x 1200.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from denoise_speed import make_scan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
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
            f"{used.ru_utime + used.ru_stime:.0f} CPU-s, "
            f"{cleaned.stat().st_size / 1e6:.0f} MB written"
        )


if __name__ == "__main__":
    main()
