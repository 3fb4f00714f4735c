"""Opening a scan in each format: time to the first frame, frames a second, memory.

    python benchmarks/open_speed.py [--frames 181] [--size 2032] [--formats txrm edf ...]

Writes a synthetic scan in every format into a temporary folder (one after the other, so that the
disk holds one at a time), then opens it in a fresh process through `open_scan` and once more with
the bare library: tifffile, olefile, fabio, h5py, zarr.  The time to the first frame counts
everything behind the import of `io.opening`, loading the library included.  The file is in the page
cache for both.  Memory is what the process grew by while all frames were read one by one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def frames_of(count: int, size: int) -> Callable[[int], np.ndarray]:
    """Projections that pack as real ones do: noise over a smooth background."""
    rng = np.random.default_rng(0)
    noise = rng.poisson(300, (size + 61, size)).astype(np.uint16)
    return lambda index: noise[index % 61 : index % 61 + size]


class Made:
    """A stack of such projections, made when asked for."""

    dtype = np.dtype(np.uint16)

    def __init__(self, count: int, size: int) -> None:
        self.shape = (count, size, size)
        self._make = frames_of(count, size)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._make(index)


def write(kind: str, folder: Path, stack: Made) -> Path:
    """A scan of a kind: a file, or a folder of files."""
    sys.path.insert(0, str(ROOT / "tests" / "io"))
    from napari_labdct.io.formats import format_of
    from napari_labdct.scan.scan import Scan, angles

    count = stack.shape[0]
    scan = Scan(stack, angles(-180, 360 / count, count), name="bench")
    if kind in ("ome.tif", "ome.zarr", "nxs", "edf"):
        path = folder / f"scan.{kind}"
        return format_of(path).write(path, scan)
    if kind == "tif":
        path = folder / "scan.tif"
        return format_of(path).write(path, scan)
    if kind == "txrm":
        from ole_writer import txrm_streams, write_ole

        streams = txrm_streams(np.zeros((count, 1, 1), np.uint16))
        streams = {k: v for k, v in streams.items() if not k.startswith("ImageData")}
        for name in ("ImageHeight", "ImageWidth"):
            streams[f"ImageInfo/{name}"] = np.int32(stack.shape[1]).tobytes()
        size = stack.shape[1] * stack.shape[2] * 2
        for k in range(1, count + 1):
            make = lambda k=k: stack[k - 1].tobytes()  # noqa: E731
            streams[f"ImageData{-(-k // 100)}/Image{k}"] = (size, make)
        return write_ole(folder / "scan.txrm", streams)
    place = folder / "files"
    place.mkdir()
    for index in range(count):
        one = Scan(stack[index][None], np.array([float(index)]), name="bench")
        if kind == "edf folder":
            path = place / f"p{index:04d}.edf"
            format_of(path).write(path, one)
        elif kind == "cbf folder":
            from fabio.cbfimage import CbfImage

            told = {"_array_data.header_contents": f"# Start_angle {index} deg."}
            CbfImage(data=stack[index].astype(np.int32), header=told).write(
                str(place / f"p{index:04d}.cbf")
            )
    return place


KINDS = ("tif", "ome.tif", "txrm", "edf", "edf folder", "cbf folder", "nxs", "ome.zarr")


def bare(kind: str, path: Path) -> Iterator[np.ndarray]:
    """All frames by the library alone."""
    if kind in ("tif", "ome.tif"):
        import tifffile

        with tifffile.TiffFile(path) as tif:
            pages = tif.series[0].pages
            yield from (pages[k].asarray() for k in range(len(pages)))
    elif kind == "txrm":
        import olefile

        with olefile.OleFileIO(path) as ole:
            rows, cols = (
                int(np.frombuffer(ole.openstream(f"ImageInfo/{n}").read(), "<i4")[0])
                for n in ("ImageHeight", "ImageWidth")
            )
            k = 1
            while ole.exists(f"ImageData{-(-k // 100)}/Image{k}"):
                content = ole.openstream(f"ImageData{-(-k // 100)}/Image{k}").read()
                yield np.frombuffer(content, "<u2").reshape(rows, cols)
                k += 1
    elif kind == "edf":
        import fabio

        with fabio.open(str(path)) as file:
            for k in range(file.nframes):
                yield file.get_frame(k).data
    elif kind.endswith("folder"):
        import fabio

        for each in sorted(path.iterdir()):
            with fabio.open(str(each)) as file:
                yield file.data
    elif kind == "nxs":
        import h5py

        with h5py.File(path) as file:
            data = file["entry/instrument/detector/data"]
            yield from (data[k] for k in range(data.shape[0]))
    else:
        import zarr

        data = zarr.open_group(str(path), mode="r")["0"]
        yield from (np.asarray(data[k]) for k in range(data.shape[0]))


def ours(kind: str, path: Path) -> Iterator[np.ndarray]:
    from napari_labdct.io import open_scan

    scan = open_scan(path)
    assert scan.omega_deg is not None or kind == "tif"
    yield from (scan.frame(k) for k in range(scan.n_frames))


def measure(kind: str, path: Path, how: str) -> dict[str, float]:
    """In a fresh process: seconds to the first frame, frames a second, growth of memory."""
    import psutil

    from napari_labdct.io import opening  # noqa: F401

    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    images = (ours if how == "ours" else bare)(kind, path)
    next(images)
    first = time.perf_counter() - start
    after_first, most = process.memory_info().rss, 0
    start, count = time.perf_counter(), 0
    for image in images:
        count += 1
        image[::64].sum()
        most = max(most, process.memory_info().rss)
    rate = count / (time.perf_counter() - start)
    return {
        "first_s": first, "frames_s": rate, "opening_mb": (after_first - before) / 1e6,
        "growth_mb": (most - after_first) / 1e6,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=181)
    parser.add_argument("--size", type=int, default=2032)
    parser.add_argument("--formats", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--child", nargs=3, metavar=("KIND", "PATH", "HOW"), help="internal")
    given = parser.parse_args()
    if given.child:
        kind, path, how = given.child
        print(json.dumps(measure(kind, Path(path), how)))
        return
    print("| format | first frame [s] | bare [s] | frames/s | bare | opening [MB] | growth [MB] |")
    print("|---|---|---|---|---|---|---|")
    for kind in given.formats:
        with tempfile.TemporaryDirectory() as folder:
            path = write(kind, Path(folder), Made(given.frames, given.size))
            found = {}
            for how in ("bare", "ours"):
                command = [sys.executable, __file__, "--child", kind, str(path), how]
                found[how] = json.loads(subprocess.check_output(command))
        a, b = found["ours"], found["bare"]
        print(
            f"| {kind} | {a['first_s']:.2f} | {b['first_s']:.2f} | {a['frames_s']:.0f} | "
            f"{b['frames_s']:.0f} | {a['opening_mb']:.0f} | {a['growth_mb']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
