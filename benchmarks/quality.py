"""Spots of the shipped network beside the tuned standard routine, on the same projections.

    python benchmarks/quality.py                                   the shipped sample scan
    python benchmarks/quality.py --iron FOLDER --truth TRUTH.npz   real far-field iron frames

The routine gets the best of `--trials` random settings on the tuning projections (every third),
judged by the very truth; the network runs as shipped.  Both are scored on the other projections.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import score_iron

from napari_labdct import Denoiser, DenoiseSettings, Scan, SpotSettings, binarise, match_spots
from napari_labdct.comparison import Score
from napari_labdct.io import open_scan
from napari_labdct.routine import RollingMedian, RoutineSettings, segment_frame

SAMPLE = Path(__file__).resolve().parent.parent / "sample_data" / "demo"
MEDIAN_WINDOW = 31  # the network's own, so that both see the same background
Masks = dict[int, np.ndarray]
Judge = Callable[[Masks], dict[str, float]]


def judge_with(truth) -> Judge:
    """Scores masks against a stack of true spots."""

    def judge(masks: Masks) -> dict[str, float]:
        score = Score()
        for index, mask in masks.items():
            score += match_spots(mask, np.asarray(truth[index]))
        return {"F1": score.f1, "precision": score.precision, "recall": score.recall,
                "pixel IoU": score.pixel_iou, "merged": score.merged / score.frames}  # fmt: skip

    return judge


def judge_iron(path: Path) -> Judge:
    """Scores masks against the blindly indexed grains; see score_iron.py."""
    truth = score_iron.Truth(path)

    def judge(masks: Masks) -> dict[str, float]:
        s = score_iron.score(masks.__getitem__, sorted(masks), truth)
        return {"F1": s["F1"], "precision": s["precision"], "recall": s["recall4"],
                "recall SNR>=10": s["recall10"], "merged": s["merged"]}  # fmt: skip

    return judge


def network_masks(scan: Scan, frames: list[int]) -> Masks:
    denoiser = Denoiser(scan, DenoiseSettings())
    cut = SpotSettings(threshold=denoiser.model.threshold)
    return {i: binarise(denoiser.clean(i), cut) for i in frames}


def routine_masks(scan: Scan, frames: list[int], settings: RoutineSettings) -> Masks:
    median = RollingMedian(scan, settings.median_window)
    stop = scan.beam_stop_mask()
    return {i: segment_frame(scan.frame(i), median.at(i), settings, stop) for i in frames}


def tune_routine(scan: Scan, frames: list[int], judge: Judge, trials: int) -> RoutineSettings:
    """The best of random settings on the tuning projections, by F1."""
    rng = np.random.default_rng(0)
    median = RollingMedian(scan, MEDIAN_WINDOW)
    backgrounds = {i: median.at(i) for i in frames}
    stop = scan.beam_stop_mask()
    noise = np.median([np.std(np.diff(scan.frame(i).astype(float))[::7, ::7]) for i in frames])
    best, best_f1 = None, -1.0
    for _ in range(trials):
        settings = RoutineSettings(
            median_window=MEDIAN_WINDOW,
            background=round(float(rng.uniform(0, 4) * noise / np.sqrt(2)), 1),
            sigma_px=round(float(np.exp(rng.uniform(np.log(0.6), np.log(4)))), 2),
            percentage=round(float(rng.uniform(0, 60)), 1),
            min_size_px=int(rng.choice([2, 3, 4, 5, 7, 10])),
            remove_cosmic_rays=bool(rng.integers(2)),
            follow_drift=bool(rng.integers(2)),
        )
        masks = {i: segment_frame(scan.frame(i), backgrounds[i], settings, stop) for i in frames}
        f1 = judge(masks)["F1"]
        if f1 > best_f1:
            best, best_f1 = settings, f1
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iron", type=Path, help="folder of the 31 iron projections")
    parser.add_argument("--truth", type=Path, help="their truth (.npz)")
    parser.add_argument("--trials", type=int, default=100)
    given = parser.parse_args()
    if given.iron:
        scan, judge = open_scan(given.iron), judge_iron(given.truth)
    else:
        scan, judge = open_scan(SAMPLE), judge_with(open_scan(SAMPLE / "truth.tif").frames)
    tuning = list(range(0, scan.n_frames, 3))
    test = [i for i in range(scan.n_frames) if i not in tuning]
    settings = tune_routine(scan, tuning, judge, given.trials)
    print(f"{scan.name}: routine tuned on {len(tuning)} projections ({given.trials} trials):")
    print(f"  {settings.to_dict()}")
    ours = judge(network_masks(scan, test))
    peer = judge(routine_masks(scan, test, settings))
    print(f"scored on the other {len(test)}:")
    print(f"{'':16} {'network':>9} {'routine':>9}")
    for name in ours:
        print(f"{name:16} {ours[name]:9.3f} {peer[name]:9.3f}")
    print(f"error (1 - F1), network over routine: {(1 - ours['F1']) / (1 - peer['F1']):.2f}")


if __name__ == "__main__":
    main()
