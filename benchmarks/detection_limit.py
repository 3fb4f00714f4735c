"""How near a model is to what can be seen: by significance, alone or beside another spot.

    python benchmarks/detection_limit.py [MODEL] [--frames 3]

On the twins of the simulated test scans (which peers are tuned on) it prints how many of the true
spots that count light up, by SNR x sqrt(area), at the model's threshold and at a low one, with the
false spots of each; and the F1 if every merger were cut at the truth's line, the most that a
better separation of neighbours could bring.
"""

from __future__ import annotations

import argparse
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from napari_labdct.core.folders import cache_folder
from napari_labdct.evaluation.benchmark import projections_of
from napari_labdct.evaluation.metrics import DETECTABLE, Tally, Truth, judge
from napari_labdct.evaluation.phantoms import cached_scan, judging_recipes, tuning_twin
from napari_labdct.networks.model import Model
from napari_labdct.spots.binarisation import SpotSettings, binarise

EDGES = (DETECTABLE, 5.0, 6.0, 8.0, 12.0, np.inf)
LOW = 16  # of 255
NEAR_PX = 3
EIGHT = np.ones((3, 3), bool)


def alone(truth: Truth) -> np.ndarray:
    """Which true spots have no other within `NEAR_PX`, bool (n,)."""
    side, numbers = 2 * NEAR_PX + 1, np.arange(1, len(truth.snr) + 1)
    labels = truth.labels
    none = np.iinfo(labels.dtype).max
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, none), side)
    highest = ndimage.maximum_filter(labels, side)
    ends = ndimage.minimum(lowest, labels, numbers), ndimage.maximum(highest, labels, numbers)
    return (ends[0] == numbers) & (ends[1] == numbers)


def cut_by_truth(output: np.ndarray, mask: np.ndarray, truth: Truth) -> np.ndarray:
    """The mask as labels, every merger cut between the true spots that count and lie under it."""
    counts = np.concatenate([[False], truth.counts])
    true = truth.labels * counts[truth.labels]
    size, under = np.bincount(true.ravel()), np.bincount(true[mask > 0], minlength=len(counts))
    seen = np.zeros(len(counts), bool)
    seen[: len(size)] = under[: len(size)] >= 0.4 * size
    seen[0] = False
    seeds = true * (seen[true] & (mask > 0))
    components, _ = ndimage.label(mask, EIGHT)
    seeded = np.zeros(components.max() + 1, bool)
    seeded[components[seeds > 0]] = True
    regions = watershed(-output.astype(int), seeds, mask=seeded[components] & (mask > 0))
    return np.where(regions > 0, regions, np.where(mask > 0, components + len(counts), 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="compact")
    parser.add_argument("--frames", type=int, default=3, help="projections of each scan")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    given = parser.parse_args()
    model = Model.load(given.model)
    levels = (model.threshold, LOW)
    there = np.zeros((2, len(EDGES) - 1), int)  # alone or not, by significance
    lit, false = np.zeros((2, *there.shape), int), np.zeros(2, int)
    for recipe in judging_recipes((1.0,)):
        plain, cut = Tally(), Tally()
        scan = cached_scan(tuning_twin(recipe), given.cache)
        for projection, truth in islice(projections_of(scan), given.frames):
            output = np.round(255 * model(projection.frame, projection.median)).astype(np.uint8)
            significance = truth.snr * np.sqrt(truth.area_px)
            brightest = ndimage.maximum(output, truth.labels, np.arange(1, len(truth.snr) + 1))
            on_its_own = alone(truth)
            for row, which in enumerate((on_its_own, ~on_its_own)):
                there[row] += np.histogram(significance[which], EDGES)[0]
                for n, level in enumerate(levels):
                    found = significance[which & (brightest >= level)]
                    lit[n, row] += np.histogram(found, EDGES)[0]
            masks = [binarise(output, SpotSettings(threshold=level)) for level in levels]
            verdicts = [judge(mask, truth) for mask in masks]
            false += [verdict.false.size for verdict in verdicts]
            plain.add(verdicts[0])
            cut.add(judge(cut_by_truth(output, masks[0], truth).astype(np.int32), truth))
        scores = f"F1 {plain.score.f1:.3f}, mergers cut by the truth {cut.score.f1:.3f}"
        print(f"{recipe.name:10} {scores}", flush=True)
    ranges = "".join(f"  {low:4g} to {high:<4g}" for low, high in pairwise(EDGES))
    print(f"\nlight up          {ranges}")
    for row, name in enumerate(("alone", "with a neighbour")):
        for n, level in enumerate(levels):
            parts = "".join(f"{part:14.1%}" for part in lit[n, row] / np.maximum(there[row], 1))
            print(f"{name:16} {level:3}{parts}")
    print(f"false spots at {levels[0]}: {false[0]}, at {levels[1]}: {false[1]}")


if __name__ == "__main__":
    main()
