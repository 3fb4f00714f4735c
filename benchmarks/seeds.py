"""How much a model owes to its seed, and the paper's network trained on the same data as long.

    python benchmarks/seeds.py FOLDER [--seeds 1 2 3] [--iterations 1500] [--paper 200]

Trains `compact` from scratch with every seed on the crops the shipped model learnt from, then
`paper` from random weights on the same crops for as long as `--paper` says; FOLDER keeps the
checkpoints, so the same command goes on, and what is finished is only scored.  All are scored on
the simulated test scans, each at the threshold that its own validation chose, beside the shipped
model.  Minutes are those of one core, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_labdct.cli.train import simulated_scans
from napari_labdct.core.folders import cache_folder
from napari_labdct.evaluation import benchmark as quality
from napari_labdct.evaluation.phantoms import FAR, NEAR
from napari_labdct.networks.model import Model
from napari_labdct.training.crops.simulated_scans import SimulatedScans
from napari_labdct.training.loop import train
from napari_labdct.training.settings import TrainSettings

NUMBERS = ("f1", "precision", "recall", "pixel_iou", "merged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=1500, help="of compact; 0 leaves it out")
    parser.add_argument(
        "--paper", type=int, default=200, help="iterations of paper; 0 leaves it out"
    )
    parser.add_argument("--paper-batch", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=cache_folder() / "evaluation")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    source = simulated_scans(given.folder / "windows.npz")
    methods = [quality.network("compact")]
    runs = runs_of(given)
    for name, settings in runs.items():
        folder = given.folder / name.replace(", seed ", "-")
        minutes = trained(settings, folder, source)
        best = Model.load(folder / "best.safetensors")
        print(f"{name}: {settings.iterations} iterations, {minutes:.1f} minutes, threshold "
              f"{best.threshold}", flush=True)  # fmt: skip
        methods.append(replace(quality.network(folder / "best.safetensors"), name=name))
    *_, results = quality.evaluate(methods, quality.judging_recipes((1.0,)), given.cache)
    print(results.table())
    results.write(given.folder)
    names = [name for name in runs if name != "paper"]
    for group in (NEAR, FAR) if len(names) > 1 else ():
        rows = [results.total(name, group).numbers() for name in names]
        cells = {k: [row[k] for row in rows] for k in NUMBERS}
        print(f"{group}, {len(names)} seeds: " + "  ".join(
            f"{k} {np.mean(v):.3f} +- {np.std(v, ddof=1):.3f}" for k, v in cells.items()
        ))  # fmt: skip


def runs_of(given: argparse.Namespace) -> dict[str, TrainSettings]:
    """The settings of every training, by name."""

    def settings(iterations: int, learning_rate: float, **others) -> TrainSettings:
        return TrainSettings(
            iterations=iterations, decay=iterations * 2 // 3, learning_rate=learning_rate,
            validation_crops=120, validate_every=max(iterations // 4, 1),
            warmup=min(100, iterations // 10), **others,
        )  # fmt: skip

    runs = {}
    if given.iterations:
        runs = {f"compact, seed {n}": settings(given.iterations, 2e-3, seed=n) for n in given.seeds}
    if given.paper:
        runs["paper"] = settings(
            given.paper, 1e-3, network="paper", encoder="random", batch=given.paper_batch
        )
    return runs


def trained(settings: TrainSettings, folder: Path, source: SimulatedScans) -> float:
    """Train, or go on; minutes of one core since the first start."""
    kept = folder / "minutes.json"
    minutes = json.loads(kept.read_text()) if kept.exists() else 0.0
    began = processor_seconds()
    for step in train(settings, folder, source=source):
        print(f"{step.done:6d}  loss {step.loss:.4f}  {step.seconds:6.0f} s  "
              f"{step.validation.get('f1', '')}", flush=True)  # fmt: skip
        took = (processor_seconds() - began) / 60
        kept.write_text(json.dumps(minutes + took))
    return json.loads(kept.read_text())


def processor_seconds() -> float:
    """Of this process and of those it started that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in both)


if __name__ == "__main__":
    main()
