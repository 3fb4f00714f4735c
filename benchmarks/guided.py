"""What the grains add to a segmentation: spots before and after, beside tuned peers.

    python benchmarks/grains.py --scan magnified --masks tracked --blank FOLDER
    python benchmarks/guided.py grain_benchmark/magnified_blank \\
        --spots grain_benchmark/magnified_blank_masks/tracked_mask.tif \\
        --grains grain_benchmark/magnified_blank_tracked.h5

The scan is one that ``benchmarks/grains.py --blank`` has made, with its truth. Peers are tuned by
that truth, on a window of each of six projections that are not scored. Prints F1 (the ceiling is
1), precision, recall, that of spots with an SNR of 0.7 to 1.5, and mergers in all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_labdct.background.rolling_median import RollingMedian
from napari_labdct.evaluation.baselines import PEERS, Projection, tune
from napari_labdct.evaluation.metrics import Tally, Truth, judge
from napari_labdct.grains.guided import GuidedSpots
from napari_labdct.io import open_scan
from napari_labdct.io.grain_map_files import read_grain_map

WEAK = (0.7, 1.5)
WINDOW_PX = 240


class Scored:
    """A method's tally, and how many of the weak spots it finds."""

    def __init__(self) -> None:
        self.tally, self.weak, self.found = Tally(), 0, 0

    def add(self, mask: np.ndarray, truth: Truth) -> None:
        verdict = judge(mask, truth)
        self.tally.add(verdict)
        weak = truth.counts & (truth.snr >= WEAK[0]) & (truth.snr < WEAK[1])
        self.weak += int(weak.sum())
        self.found += int(np.isin(np.flatnonzero(weak) + 1, verdict.found).sum())

    def row(self, name: str, best: float) -> str:
        s = self.tally.score
        over = f"{(1 - s.f1) / (1 - best):.2f}" if best < 1 else "-"
        weak = f"{self.found / max(self.weak, 1):.3f} of {self.weak}"
        return (
            f"| {name} | {s.f1:.4f} | {over} | {s.precision:.3f} | {s.recall:.3f} | {weak} | "
            f"{s.merged} | {s.pixel_iou:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path)
    parser.add_argument("--spots", type=Path, required=True)
    parser.add_argument("--grains", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=12, help="projections that are scored")
    parser.add_argument("--trials", type=int, default=60, help="settings tried for each peer")
    parser.add_argument("--peers", nargs="*", default=["routine+", "matched"], choices=list(PEERS))
    given = parser.parse_args()
    scan, masks = open_scan(given.scan), open_scan(given.spots).frames
    labels = open_scan(given.scan / "labels.tif").frames
    table = np.genfromtxt(given.scan / "spots.csv", delimiter=",", names=True)
    median, stop = RollingMedian(scan, 31), scan.hidden()

    def seen(index: int) -> tuple[Projection, Truth]:
        rows = table[table["frame"] == index]
        truth = Truth(np.asarray(labels[index]).astype(np.int32), rows["snr"], rows["area_px"])
        return Projection(scan.frame(index), median.at(index), stop), truth

    scored = np.linspace(3, scan.n_frames - 4, given.frames).astype(int)
    methods = {"mask": lambda p, i: np.asarray(masks[i])}
    windows = []
    places = ((0, 0.1), (0.1, 1), (0.4, 0.9), (1, 0), (0.6, 0.1), (0.9, 0.6))
    for place, index in zip(places, np.linspace(1, scan.n_frames - 2, 6).astype(int)):
        if given.peers:
            projection, truth = seen(index)
            first = [int(p * (n - WINDOW_PX)) for p, n in zip(place, scan.shape)]
            part = tuple(slice(n, n + WINDOW_PX) for n in first)
            windows.append((projection.crop(part), truth.crop(part)))
    for name in given.peers:
        settings, _ = tune(PEERS[name], *zip(*windows), given.trials)
        methods[name] = lambda p, i, n=name, s=settings: PEERS[n].segment(p, s)
    job = GuidedSpots(scan, masks, read_grain_map(given.grains).grains)
    for _ in job.survey():
        pass
    print(job.note, flush=True)
    methods["guided"] = lambda p, i: job.frame(i)
    results = {name: Scored() for name in methods}
    for index in scored:
        projection, truth = seen(index)
        for name, method in methods.items():
            results[name].add(method(projection, index), truth)
    best = max((results[n].tally.score.f1 for n in given.peers), default=1.0)
    print(
        f"{len(scored)} projections\n\n| | F1 | distance to 1 over best peer | precision | recall "
        f"| recall SNR {WEAK[0]}-{WEAK[1]} | mergers in all | pixel IoU |\n" + "|---" * 8 + "|"
    )
    for name, result in results.items():
        print(result.row(name, best))


if __name__ == "__main__":
    main()
