"""How well a training ends: a run from scratch in a given time, and the choices beside it.

    python benchmarks/training.py minutes 10 -o FOLDER
    python benchmarks/training.py table 2 --seeds 0 1 2 -o FOLDER [--only NAME ...]

``minutes`` measures the speed of this computer, trains `compact` from scratch for that long (all
included) and says the F1 on a fixed test set: 200 synthetic crops of 192 px that no training and
no validation draws, each model at the threshold its own validation chose.  ``table`` gives every
choice the same time, seed by seed, and judges it on the same crops; rows of an earlier call stay.
The losses that look through VGG16 take random features unless ``--features`` names their
weights.  Crops are smaller with ``--crop-px`` (also those of the test).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from napari_labdct.networks.devices import available_cores
from napari_labdct.networks.model import Model
from napari_labdct.training.crops.synthesis import make_crop
from napari_labdct.training.loop import train
from napari_labdct.training.settings import SynthesisSettings, TrainSettings
from napari_labdct.training.validation import validate

TEST_SEED = 1_000_000_021
PROBE = 30  # iterations that measure the speed
SINGLE = {"no_median": 1.0}
#: Changes of the training's settings and of the synthesis, by name.
CHOICES = {
    "compact, frame + median, bce-dice": ({}, {}),
    "one frame, no median": ({}, SINGLE),
    "loss eq3": ({"loss": "eq3"}, {}),
    "loss lesson7": ({"loss": "lesson7"}, {}),
    "network accurate": ({"network": "accurate"}, {}),
    "network paper, from scratch": ({"network": "paper", "encoder": "random"}, {}),
    "fixed rate 0.001": ({"schedule": "fixed", "learning_rate": 1e-3}, {}),
    "one-cycle": ({"schedule": "one-cycle"}, {}),
    "no weight averaging": ({"ema": 0.0}, {}),
}
NUMBERS = ("f1", "precision", "recall", "pixel_iou", "merged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("minutes", "table"))
    parser.add_argument("minutes", type=float, nargs="?", default=10)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop-px", type=int, default=192)
    parser.add_argument("--test-crops", type=int, default=200)
    parser.add_argument("--features", default="random")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    if given.what == "minutes":
        timed(given)
    else:
        table(given)


def settings_of(given: argparse.Namespace, iterations: int, **changes) -> TrainSettings:
    return TrainSettings(
        iterations=iterations, batch=given.batch, features=given.features,
        warmup=min(100, iterations // 10), validation_crops=64, validate_every=iterations,
        report_every=max(iterations // 20, 1),
    ).replace(**changes)  # fmt: skip


def trained(given, folder: Path, synthesis: SynthesisSettings, minutes: float, **changes) -> dict:
    """Train from scratch for some minutes, measuring the speed included; what it took."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    settings = settings_of(given, PROBE, report_every=1, validation_crops=1, **changes)
    ticks = [0.0]
    for step in train(settings, folder / "probe", synthesis, given.device):
        ticks.append(step.seconds)
        if len(ticks) > 3 and ticks[-1] > 10 * minutes:  # a sixth of the time is enough
            break
    shutil.rmtree(folder / "probe")
    each = (ticks[-2] - ticks[1]) / (len(ticks) - 3)
    left = 60 * minutes - (time.monotonic() - began)
    iterations = max(int(0.93 * left / each), 1)
    print(f"{available_cores()} cores, {each:.2f} s an iteration: {iterations} iterations")
    waited = 0.0
    settings = settings_of(given, iterations, **changes)
    for step in train(settings, folder, synthesis, given.device):
        waited += step.waited
        print(f"{step.done:6d}  loss {step.loss:.4f}  {step.seconds:5.0f} s", flush=True)
    took = (time.monotonic() - began) / 60
    print(f"{took:.1f} minutes, {waited:.0f} s of them without crops")
    return {"iterations": iterations, "minutes": took}


def timed(given: argparse.Namespace) -> None:
    """Train the default for some minutes from scratch."""
    synthesis = SynthesisSettings(crop_px=given.crop_px)
    took = trained(given, given.output / "run", synthesis, given.minutes)
    numbers = judged(given, given.output / "run", synthesis, with_median=True)
    print("  ".join(f"{k} {numbers[k]}" for k in (*NUMBERS, "spots", "threshold")))
    for low, high, recall, count in numbers["recall_by_snr"]:
        print(f"  SNR {low:5g} to {high:5g}: recall {recall:.3f} of {count}")
    write(given.output / "numbers.json", {**took, **numbers})


def table(given: argparse.Namespace) -> None:
    """Train every choice and judge it."""
    given.output.mkdir(parents=True, exist_ok=True)
    kept = given.output / "table.json"
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    for name in given.only:
        changes, crops = CHOICES[name]
        synthesis = SynthesisSettings(crop_px=given.crop_px, **crops)
        rows[name] = []
        for seed in given.seeds:
            print(f"{name}, seed {seed}", flush=True)
            folder = given.output / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            took = trained(given, folder, synthesis, given.minutes, seed=seed, **changes)
            numbers = judged(given, folder, synthesis, with_median=crops != SINGLE)
            rows[name].append(took | numbers)
            write(kept, rows)
    print(f"\nBatches of {given.batch} crops of {given.crop_px} px\n")
    print(
        "| choice | seeds | minutes | iterations | F1 | precision | recall | pixel IoU | merged |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, seeds in rows.items():
        cells = [_cell([n[k] for n in seeds]) for k in ("minutes", "iterations", *NUMBERS)]
        print(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")


def _cell(values: list[float]) -> str:
    text = f"{np.mean(values):.3g}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.2g}"


def judged(given, folder: Path, synthesis: SynthesisSettings, with_median: bool) -> dict:
    """Numbers of the best model of a training on the test crops."""
    model = Model.load(folder / "best.safetensors", given.device)
    drawn = synthesis.replace(no_median=0.0 if with_median else 1.0)
    crops = [make_crop(drawn, TEST_SEED, k) for k in range(given.test_crops)]
    threshold = model.threshold
    if not with_median:  # its own validation showed it medians, which it never saw
        own = [make_crop(drawn, TEST_SEED + 1, k) for k in range(64)]
        threshold = validate(model, own)["threshold"]
    return validate(model, crops, thresholds=(threshold,))


def write(path: Path, numbers: dict) -> None:
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(available_cores())
    main()
