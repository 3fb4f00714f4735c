"""What binning does to wide spots, and which one a scan gets: the table of docs/model.md.

    python benchmarks/spot_width.py [MODEL] --cache FOLDER

Near-field scans of a detector of 2032 x 2032 px that is not binned, with spots 6 to 107 px wide,
under the backgrounds of the test scans. None of them trains or judges anything else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from skimage.measure import regionprops_table

from napari_labdct.evaluation.benchmark import projections_of
from napari_labdct.evaluation.metrics import Tally, judge
from napari_labdct.evaluation.phantoms import NEAR, MadeScan, ScanRecipe, cached_scan
from napari_labdct.networks.model import Model
from napari_labdct.networks.spot_width import spot_width, suitable_binning
from napari_labdct.spots.binarisation import SpotSettings, binarise

BINNINGS = (1, 2, 4)


def recipe(
    name: str, seed: int, cylinder: tuple[float, float, float], mm: tuple[float, float],
    snr: float, **more: Any,
) -> ScanRecipe:  # fmt: skip
    """Cylinder: diameter, height, mean grain (um); mm: source to sample, sample to detector."""
    sample = dict(zip(("diameter_um", "height_um", "mean_grain_um"), cylinder, strict=True))
    sample |= {
        "sample": "cylinder", "pixel_um": 3.3623, "rows": 2032, "cols": 2032, "binning": 1,
        "psf_px": 0.9, "source_sample_mm": mm[0], "sample_detector_mm": mm[1],
    } | more.pop("sample", {})  # fmt: skip
    about = {"level": 900.0, "noise": 0.7, "frames": 11, "scored": (1, 6)} | more
    return ScanRecipe(name, NEAR, sample, seed, median_peak_snr=snr, **about)


COARSE_VOXELS, FOUR = {"voxel_um": 4.0}, (0, 3, 6, 9)
RECIPES = (
    recipe("coarse", 31, (400.0, 600.0, 64.0), (20.0, 20.0), 5.0, level=1500.0, noise=1.6),
    recipe("crowded", 35, (400.0, 600.0, 60.0), (11.0, 11.0), 8.0),
    recipe("large", 32, (400.0, 600.0, 100.0), (13.0, 13.0), 5.0),
    recipe("dense", 43, (600.0, 900.0, 100.0), (11.0, 11.0), 20.0),
    recipe("bright", 41, (400.0, 600.0, 100.0), (11.0, 11.0), 30.0),
    recipe("iron", 45, (400.0, 600.0, 120.0), (11.0, 11.0), 15.0,
           sample={"material": "Fe", "tube_kv": 160.0}),
    recipe("huge", 33, (500.0, 600.0, 160.0), (11.0, 11.0), 5.0),
    recipe("wide", 42, (700.0, 900.0, 250.0), (11.0, 11.0), 8.0),
    recipe("magnified", 44, (300.0, 400.0, 70.0), (9.0, 18.0), 15.0),
    recipe("bent", 46, (400.0, 500.0, 90.0), (11.0, 11.0), 10.0, bend_deg=0.3,
           sample=COARSE_VOXELS),
    recipe("deformed", 34, (300.0, 400.0, 90.0), (11.0, 11.0), 4.0, bend_deg=0.8,
           level=700.0, noise=1.2, sample=COARSE_VOXELS),
    recipe("magnified 2", 1051, (400.0, 500.0, 120.0), (8.0, 20.0), 12.0, scored=FOUR),
    recipe("magnified 3", 1052, (400.0, 500.0, 200.0), (8.0, 24.0), 12.0, scored=FOUR),
)  # fmt: skip


def true_width(scan: MadeScan) -> float:
    """Short axis, px, below which three quarters of the true spots' area lies."""
    tables = [regionprops_table(n, properties=("axis_minor_length", "area")) for n in scan.labels]
    width, area = (np.concatenate([t[k] for t in tables]) for k in tables[0])
    order = np.argsort(width)
    part = np.cumsum(area[order]) / area.sum()
    return float(width[order[np.searchsorted(part, 0.75)]])


def scores(model: Model, scan: MadeScan) -> Iterator[Tally]:
    """One tally a binning."""
    cut = SpotSettings(threshold=model.threshold)
    for binning in BINNINGS:
        tally = Tally()
        for projection, truth in projections_of(scan):
            output = model(projection.frame, projection.median, binning)
            mask = binarise(np.round(255 * output).astype(np.uint8), cut)
            tally.add(judge(mask, truth, why=False))
        yield tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="compact")
    parser.add_argument("--cache", required=True, help="folder that keeps the scans")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    model = Model.load(given.model, given.device)
    columns = ("f1", "precision", "recall", "pixel_iou")
    print(f"{'F1, precision, recall, pixel IoU':44}" + "".join(f"{b:>24}" for b in BINNINGS))
    for made in RECIPES:
        scan = cached_scan(made, given.cache)
        cells = [" ".join(f"{t.numbers()[c]:.3f}" for c in columns) for t in scores(model, scan)]
        measured = spot_width(scan.frames)
        print(f"{made.name:14}{true_width(scan):8.0f} px wide, measured {measured:4.0f}: "
              f"{suitable_binning(measured)}  " + "  ".join(cells), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
