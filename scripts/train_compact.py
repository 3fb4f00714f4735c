#!/usr/bin/env python3
"""Train the shipped model ``compact``: one command that repeats it.

    python scripts/train_compact.py FOLDER [--start MODEL] [--install]

Two stages: first freely drawn spots alone, then two crops in five with the spots of simulated
scans, whose windows are made on the way (1.1 GB in FOLDER). FOLDER keeps the checkpoints: stop it
at any time and run the same command to go on. ``--start`` skips the first stage and begins with a
model file. ``--install`` copies the result into the package. Everything that decides it is in
the settings below and is written into the model file. Another processor or number of threads
rounds differently, so the weights repeat in quality, not bit by bit. An iteration takes 0.85 s on
2 cores that are mostly free.

The shipped file learnt in three pieces: 2000 iterations of the first stage, 4500 of the second
(seed 11) and 5500 more of it (seed 21, ``docs/training_log/``). Labels and gaps were as they are
now in the last piece only; docs/model.md says so.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from napari_labdct.cli.train import simulated_scans
from napari_labdct.networks.library import SHIPPED
from napari_labdct.networks.model import Model
from napari_labdct.training.loop import train
from napari_labdct.training.settings import TrainSettings

FIRST = TrainSettings(iterations=2000, decay=1000, learning_rate=2e-3, seed=1)
SECOND = TrainSettings(
    iterations=10_000, decay=3500, learning_rate=2e-3, seed=21, validation_crops=120
)
THRESHOLD = 96  # of 255: the best on the twins of the simulated test scans (docs/model.md)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", help="model to begin the second stage with")
    parser.add_argument("--install", action="store_true", help="copy the result into the package")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.start is None:
        follow(train(FIRST, given.folder / "first"))
    start = Model.load(given.start or given.folder / "first" / "best.safetensors", "cpu")
    second = given.folder / "second"
    follow(
        train(
            SECOND, second, start_from=start, source=simulated_scans(given.folder / "windows.npz")
        )
    )
    if given.install:
        install(second / "best.safetensors", "compact")


def install(path: Path, name: str) -> None:
    """Ship a trained model under its name, with the threshold that was chosen."""
    model = Model.load(path, "cpu")
    model.threshold = THRESHOLD
    model.save(SHIPPED / f"{name}.safetensors")
    print(f"installed in {os.fspath(SHIPPED)}")


def follow(steps) -> None:
    """Print the curve."""
    for step in steps:
        line = f"{step.done:6d}/{step.total}  loss {step.loss:.4f}  {step.seconds:6.0f} s"
        shown = {k: v for k, v in step.validation.items() if not isinstance(v, list)}
        line += "".join(f"  {k} {v}" for k, v in shown.items())
        print(line, flush=True)


if __name__ == "__main__":
    main()
