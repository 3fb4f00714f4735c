"""The picture of docs/tracking.md: two weak spots and a chance speck, followed.

    python scripts/tracking_picture.py [--cache FOLDER]

A simulated far-field scan in steps of 2 degrees; its truth says which speck is a spot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_labdct.core.folders import cache_folder
from napari_labdct.evaluation.benchmark import projections_of
from napari_labdct.evaluation.phantoms import arc_recipes, cached_scan
from napari_labdct.networks.model import Model
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.tracking import Tracker

IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "tracking.png"
HALF_PX = 14


def examples(made, tracker: Tracker, frames) -> list[tuple[int, np.ndarray, int, int, bool]]:
    """Frame, place, output before and after, and whether it is a spot, of the clearest changes."""
    found = []
    for index in frames:
        _, _, table = tracker._candidates(index)
        after = tracker.frame(index)
        for spot in table:
            place = np.round([spot["row"], spot["col"]]).astype(int)
            path = places(tracker.scan, index, place)
            if not np.all((path > HALF_PX) & (path < np.array(tracker.scan.shape) - HALF_PX)):
                continue
            part = tuple(slice(n - 2, n + 3) for n in place)
            true = bool((made.labels[index][part] > 0).any())
            now = int(after[part].max())
            if (spot["peak"] < 70 and now > 200) if true else (spot["peak"] > 130 > 2 * now):
                found.append((index, place, int(spot["peak"]), now, true))
    return [f for f in found if f[4]][:2] + [f for f in found if not f[4]][:1]


def places(scan: Scan, index: int, place: np.ndarray) -> np.ndarray:
    """Where a spot should be in the five projections round it, (5, 2)."""
    turns = scan.omega_deg[index - 2 : index + 3] - scan.omega_deg[index]
    return np.array([scan.geometry().turn_spots(place, turn) for turn in turns])


def main() -> None:
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    given = parser.parse_args()
    recipe = next(r for r in arc_recipes() if r.name == "iron")
    made, model = cached_scan(recipe, given.cache), Model.load("compact")
    scan = made.scan()
    pairs = [projection for projection, _ in projections_of(made)]
    cleaned = np.stack([np.round(255 * model(p.frame, p.median)).astype(np.uint8) for p in pairs])
    tracker = Tracker(scan, cleaned, made={"model": {"threshold": model.threshold}})
    for _ in tracker.survey():
        pass
    chosen = examples(made, tracker, range(3, len(pairs) - 3))
    figure = Figure(figsize=(8.2, 1.75 * len(chosen)), dpi=130, layout="constrained")
    axes = figure.subplots(len(chosen), 5)
    for line, (index, place, before, after, true) in enumerate(chosen):
        for axis, steps in zip(axes[line], range(-2, 3)):
            turn = scan.omega_deg[index + steps] - scan.omega_deg[index]
            there = places(scan, index, place)[steps + 2]
            row, col = np.round(there).astype(int)
            image = pairs[index + steps].in_noise()
            image = image[row - HALF_PX : row + HALF_PX + 1, col - HALF_PX : col + HALF_PX + 1]
            axis.imshow(image, cmap="gray", vmin=-2, vmax=7, origin="upper")
            axis.plot(*(HALF_PX + there - [row, col])[::-1], "o", ms=15, mfc="none", mec="#00e5ff")
            axis.set(xticks=[], yticks=[], title="" if line else f"{turn:+g} deg")
        axes[line, 0].set_ylabel(
            f"{'a spot' if true else 'chance'}\n{before} to {after} of 255", fontsize=8
        )
        for side in axes[line, 2].spines.values():
            side.set_color("#ff9f1c")
            side.set_linewidth(2)
    figure.savefig(IMAGE)
    print(IMAGE)


if __name__ == "__main__":
    main()
