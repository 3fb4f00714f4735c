"""The pictures of docs/model.md and docs/evaluation.md, from simulated test scans only.

    python scripts/evaluation_pictures.py [MODEL] [--cache FOLDER] [--peers routine+ cc]

Writes ``docs/images/verdicts_near_field.png`` and ``verdicts_far_field.png`` (best, typical and
worst windows of the model, beside the first peer) and ``recall_by_snr.png``.  Test scans and tuned
peers come from the cache of ``labdct evaluate --peers``, or are made now.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_labdct.core.folders import cache_folder
from napari_labdct.core.jobs import Progress
from napari_labdct.evaluation.benchmark import Results, evaluate, network, tuned_peers
from napari_labdct.evaluation.gallery import write_pictures
from napari_labdct.evaluation.phantoms import judging_recipes

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"


def last(steps):
    """What a job ends with; its progress is printed."""
    for step in steps:
        if isinstance(step, Progress):
            print(f"{step.done}/{step.total} {step.message}", flush=True)
    return step


def draw_recall(results: Results, path: Path) -> None:
    """Recall over the SNR of the true spots, near and far field."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(key[0] for key, _ in results.tallies))
    figure = Figure(figsize=(4.4 * len(groups), 3.4), dpi=150, layout="constrained")
    for axis, group in zip(np.atleast_1d(figure.subplots(1, len(groups), sharey=True)), groups):
        for method in results.methods:
            bins = results.total(method, group).bins
            known = bins["truth"] >= 20  # fewer spots are no curve
            low, high = bins["snr_from"][known], bins["snr_to"][known]
            middle = np.where(np.isfinite(high), np.sqrt(low * np.minimum(high, 1e3)), 1.5 * low)
            axis.plot(middle, bins["recall"][known], "o-", label=method, lw=1.4, ms=3.5)
        axis.set_xscale("log")
        axis.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"], minor=False)
        axis.minorticks_off()
        axis.set_title(group, fontsize=9)
        axis.set_xlabel("SNR of the true spot")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("recall")
    figure.axes[0].set_ylim(0, 1.02)
    figure.axes[-1].legend(fontsize=7)
    figure.savefig(path)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="compact")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    parser.add_argument("--peers", nargs="*", default=["routine+", "cc"])
    parser.add_argument("--output", type=Path, default=IMAGES)
    given = parser.parse_args()
    recipes = judging_recipes((1.0,))
    model = network(given.model)
    peers = last(tuned_peers(recipes, given.cache, given.peers))

    def chosen(recipe):
        return [model, *peers[recipe.key]]

    draw_recall(last(evaluate(chosen, recipes, given.cache)), given.output / "recall_by_snr.png")
    for group in dict.fromkeys(r.group for r in recipes):
        beside = write_pictures(lambda r: chosen(r)[:2], group, recipes, given.cache, given.output)
        print(beside)


if __name__ == "__main__":
    main()
