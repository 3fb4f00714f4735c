#!/usr/bin/env python3
"""Train the shipped model ``compact``: one command that repeats it.

    python scripts/train_compact.py FOLDER [--iterations N] [--install]

FOLDER keeps the checkpoints: stop it at any time and run the same command to go on.
``--install`` copies the best model into the package. Everything that decides the result is in
`SETTINGS` and `SynthesisSettings`, and is written into the model file. Another processor or
number of threads rounds differently, so the weights repeat in quality, not bit by bit. It takes
about half an hour on 2 cores; bfloat16 is only quick on processors that have it (AMX).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from napari_labdct.learning.model import SHIPPED, Model
from napari_labdct.learning.settings import TrainSettings
from napari_labdct.learning.training import train

SETTINGS = TrainSettings(
    iterations=2000, decay=1000, learning_rate=2e-3, seed=1, precision="bfloat16"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--iterations", type=int, default=SETTINGS.iterations)
    parser.add_argument("--install", action="store_true", help="copy the result into the package")
    given = parser.parse_args()
    settings = SETTINGS.replace(iterations=given.iterations)
    for step in train(settings, given.folder):
        line = f"{step.done:6d}/{step.total}  loss {step.loss:.4f}  {step.seconds:6.0f} s"
        shown = {k: v for k, v in step.validation.items() if not isinstance(v, list)}
        line += "".join(f"  {k} {v}" for k, v in shown.items())
        print(line, flush=True)
    if given.install:
        Model.load(given.folder / "best.safetensors").save(SHIPPED / "compact.safetensors")
        print(f"installed in {os.fspath(SHIPPED)}")


if __name__ == "__main__":
    main()
