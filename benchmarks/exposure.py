"""How much measuring time a model saves: F1 over exposure time, of models and of the routine.

    python benchmarks/exposure.py compact -o FOLDER

The spots that count are those of the full exposure at every exposure, so F1 falls as the light
goes.  The routine is tuned anew at every exposure on a tuning scan of its own; models stand as
they are.  Writes ``exposure.json`` and ``exposure.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_labdct.core.folders import cache_folder
from napari_labdct.evaluation.benchmark import evaluate, network, tuned_peers
from napari_labdct.evaluation.phantoms import exposure_recipes

PARTS = (1.0, 0.5, 0.25, 0.125)


def curves(given: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """F1 of every method at every exposure, by scan."""
    recipes = exposure_recipes(PARTS)
    models = [network(name) for name in given.models]
    *_, peers = tuned_peers(recipes, given.cache, given.peers, given.trials)
    *_, results = evaluate(lambda recipe: [*models, *peers[recipe.key]], recipes, given.cache)
    out: dict[str, dict[str, list[float]]] = {}
    for ((group, scan, exposure), method), tally in results.tallies.items():
        f1 = tally.score.f1
        out.setdefault(f"{group}: {scan}", {}).setdefault(method, []).append(f1)
        print(f"{scan:12} x {exposure:<6g} {method:12} F1 {f1:.3f}")
    return out


def time_saved(model: list[float], routine: list[float]) -> float | None:
    """Part of the full exposure at which the model is as good as the routine at all of it.

    Interpolated in the logarithm of the exposure; None if the model is always better.
    """
    below = [k for k, f1 in enumerate(model) if f1 < routine[0]]
    if not below:
        return None
    k = below[0]
    if k == 0:
        return 1.0
    part = (model[k - 1] - routine[0]) / (model[k - 1] - model[k])
    return float(PARTS[k - 1] * (PARTS[k] / PARTS[k - 1]) ** part)


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(found), 3.4), dpi=150, layout="constrained")
    for axis, (title, by_method) in zip(np.atleast_1d(figure.subplots(1, len(found))),
                                        found.items()):  # fmt: skip
        for name, f1 in by_method.items():
            axis.plot(PARTS, f1, "o-", label=name, lw=1.5, ms=4)
        axis.set_xscale("log", base=2)
        axis.set_xticks(PARTS, ["1", "1/2", "1/4", "1/8"])
        axis.invert_xaxis()
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("exposure time")
        axis.set_ylabel("F1 of the spots of the full exposure")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["compact"])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--peers", nargs="*", default=["routine", "routine+"])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    given = parser.parse_args()
    found = curves(given)
    saved = {
        place: {
            model: {peer: time_saved(by_method[model], by_method[peer]) for peer in given.peers}
            for model in by_method
            if model not in given.peers
        }
        for place, by_method in found.items()
    }
    for place, models in saved.items():
        for model, against in models.items():
            for peer, part in against.items():
                words = f"less than {PARTS[-1]:g}" if part is None else f"{part:.2f}"
                print(f"{place}: {model} reaches the F1 of {peer} at {words} of its exposure")
    given.output.mkdir(parents=True, exist_ok=True)
    values = {"exposures": PARTS, "f1": found, "exposure_for_equal_f1": saved}
    (given.output / "exposure.json").write_text(json.dumps(values, indent=1))
    draw(found, given.output / "exposure.png")


if __name__ == "__main__":
    main()
