"""What it is worth to follow spots through the rotation: with and without, beside tuned peers.

    python benchmarks/tracking.py [MODEL] [--step-deg 2] [--exposure 1] [--looks 1 8]

The eight test scans as arcs of 31 projections in the steps of a real scan.  The network looks at
every projection; its output is scored as it is and as `tracking` confirms it, on every third.
Peers are tuned for each scan by the truth of its twin (see docs/evaluation.md) and score the same
projections.  ``--wrong`` adds what becomes of it with a geometry that is not the scan's.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_labdct.core.folders import cache_folder
from napari_labdct.evaluation.baselines import PEERS
from napari_labdct.evaluation.benchmark import projections_of, tuned_peers
from napari_labdct.evaluation.metrics import Tally, judge
from napari_labdct.evaluation.phantoms import FAR, NEAR, arc_recipes, cached_scan
from napari_labdct.networks.model import Model
from napari_labdct.networks.spot_width import suitable_binning
from napari_labdct.scan.scan import Scan
from napari_labdct.spots.binarisation import SpotSettings, binarise
from napari_labdct.spots.tracking import Tracker, TrackSettings

EVERY = 3


def wrong(scan: Scan) -> dict[str, Scan]:
    """The same scan with one value told wrongly."""
    d = scan.description
    row, col = d.detector_center_px
    told = {
        "centre 5 px": d.replace(detector_center_px=(row + 5, col)),
        "centre 20 px": d.replace(detector_center_px=(row, col + 20)),
        "centre 60 px": d.replace(detector_center_px=(row + 60, col)),
        "distance 3 %": d.replace(sample_detector_mm=1.03 * d.sample_detector_mm),
        "distance 10 %": d.replace(sample_detector_mm=1.1 * d.sample_detector_mm),
        "distance 30 %": d.replace(sample_detector_mm=1.3 * d.sample_detector_mm),
        "tilt 2 deg": d.replace(detector_tilt_deg=(0, 2, 0)),
    }
    scans = {name: scan.replace(description=known) for name, known in told.items()}
    return scans | {"step 10 %": scan.replace(omega_deg=1.1 * scan.omega_deg)}


def surveyed(scan: Scan, cleaned: np.ndarray, threshold: int) -> Tracker:
    tracker = Tracker(scan, cleaned, TrackSettings(partner_threshold=threshold))
    for _ in tracker.survey():
        pass
    return tracker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="compact")
    parser.add_argument("--step-deg", type=float, default=2.0)
    parser.add_argument("--exposure", type=float, default=1.0)
    parser.add_argument("--looks", type=int, nargs="+", default=[1])
    parser.add_argument("--peers", nargs="*", default=["routine+", "matched"], choices=list(PEERS))
    parser.add_argument("--scans", nargs="*", help="names; all eight if not given")
    parser.add_argument("--wrong", action="store_true", help="also wrong geometries")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    given = parser.parse_args()
    model = Model.load(given.model)
    cut = SpotSettings(threshold=model.threshold)
    recipes = arc_recipes(given.step_deg, given.exposure)
    recipes = [r for r in recipes if r.name in (given.scans or r.name)]
    # twins are only looked at through a window of six projections
    twins = [replace(r, scored=tuple(range(1, r.frames, 5))) for r in recipes]
    *_, peers = tuned_peers(twins, given.cache, given.peers)
    totals: dict[tuple[str, str], Tally] = {}
    for recipe, twin in zip(recipes, twins):
        made = cached_scan(recipe, given.cache)
        scan = made.scan()
        pairs = list(projections_of(made))
        scored = range(1, len(pairs), EVERY)
        masks = {}
        for looks in given.looks:
            binning = suitable_binning(pairs[0][0].spot_width_px)
            outputs = (model(p.frame, p.median, binning, looks) for p, _ in pairs)
            cleaned = np.stack([np.round(255 * output).astype(np.uint8) for output in outputs])
            tracker = surveyed(scan, cleaned, model.threshold)
            name = f"{model.name} x{looks}"
            masks[name] = lambda k, cleaned=cleaned: binarise(cleaned[k], cut)
            masks[f"{name} tracked"] = lambda k, t=tracker: binarise(t.frame(k), cut)
            for what, other in wrong(scan).items() if given.wrong else ():
                t = surveyed(other, cleaned, model.threshold)
                masks[f"  {what} wrong"] = lambda k, t=t: binarise(t.frame(k), cut)
        for method in peers[twin.key]:
            masks[method.name] = lambda k, m=method, p=pairs: m.segment(p[k][0])
        print(f"{recipe.name}: {tracker.note}")
        for name, mask in masks.items():
            tally = Tally()
            for k in scored:
                tally.add(judge(mask(k), pairs[k][1], why=False))
            totals[recipe.group, name] = totals.get((recipe.group, name), Tally()) + tally
            show(name, tally)
    for group in (NEAR, FAR):
        best = min((1 - t.score.f1 for (g, n), t in totals.items() if g == group and n in PEERS),
                   default=np.nan)  # fmt: skip
        print(f"\n{group}")
        for (_, name), tally in ((k, t) for k, t in totals.items() if k[0] == group):
            ratio = f"  error over best peer {(1 - tally.score.f1) / best:.2f}"
            show(name, tally, ratio if given.peers else "")


def show(name: str, tally: Tally, more: str = "") -> None:
    s = tally.score
    print(f"  {name:20} F1 {s.f1:.4f}  precision {s.precision:.3f}  recall {s.recall:.3f}"
          f"  IoU {s.pixel_iou:.3f}{more}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
