#!/usr/bin/env python3
"""Train a model ``accurate``: one command that repeats the one in docs/model.md.

    python scripts/train_accurate.py FOLDER [--start MODEL]

It begins as the shipped ``compact`` (or ``--start``), made twice as wide without changing what it
answers (`learning.widening`), and learns on from the same crops. FOLDER keeps the checkpoints and
the windows of the simulated scans: stop it at any time and run the same command to go on. An
iteration takes 1.85 s on 2 cores that are mostly free. The model is ``accurate/best.safetensors``
in FOLDER; it is not shipped, because it was hardly better than ``compact``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from train_compact import follow

from napari_labdct.learning.model import Model
from napari_labdct.learning.settings import TrainSettings
from napari_labdct.learning.simulated_scans import (
    SimulatedScans,
    SimulatedScansSettings,
    make_windows,
)
from napari_labdct.learning.training import train
from napari_labdct.learning.widening import widened

SETTINGS = TrainSettings(
    network="accurate", iterations=2700, decay=2200, learning_rate=1.5e-3, seed=41,
    validation_crops=120,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="compact", help="model of network compact to begin with")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    windows = given.folder / "windows.npz"
    if not windows.exists():
        for step in make_windows(SimulatedScansSettings(), windows):
            print(f"{step.message} of {step.total}", flush=True)
    start = widened(Model.load(given.start, "cpu"))
    folder = given.folder / "accurate"
    follow(train(SETTINGS, folder, start_from=start, source=SimulatedScans(windows)))


if __name__ == "__main__":
    main()
