#!/usr/bin/env python3
"""Train a model ``accurate``: one command that repeats the one in docs/model.md.

    python scripts/train_accurate.py FOLDER [--start MODEL] [--install]

It begins as the shipped ``compact`` (or ``--start``), made twice as wide without changing what it
answers (`learning.widening`), and learns on from the same crops. FOLDER keeps the checkpoints and
the windows of the simulated scans: stop it at any time and run the same command to go on. An
iteration takes 1.85 s on 2 cores that are mostly free. The model is ``accurate/best.safetensors``
in FOLDER; ``--install`` copies it into the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train_compact import follow, install

from napari_labdct.cli.train import simulated_scans
from napari_labdct.networks.model import Model
from napari_labdct.training.loop import train
from napari_labdct.training.settings import TrainSettings
from napari_labdct.training.widening import widened

SETTINGS = TrainSettings(
    network="accurate", iterations=2700, decay=2200, learning_rate=1.5e-3, seed=41,
    validation_crops=120,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="compact", help="model of network compact to begin with")
    parser.add_argument("--install", action="store_true", help="copy the result into the package")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    source = simulated_scans(given.folder / "windows.npz")
    start = widened(Model.load(given.start, "cpu"))
    follow(train(SETTINGS, given.folder / "accurate", start_from=start, source=source))
    if given.install:
        install(given.folder / "accurate" / "best.safetensors", "accurate")


if __name__ == "__main__":
    main()
