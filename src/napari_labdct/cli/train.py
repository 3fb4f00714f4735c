"""``labdct train FOLDER``: train a network, as the Train dock does it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..core.errors import SettingsError
from ..core.parameters import Settings, add_arguments, fields_of
from ..training.settings import SynthesisSettings, TrainSettings
from .common import show_progress


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a network on simulated crops, and on reviewed pairs if given. FOLDER receives "
        "the curve, validation pictures, checkpoints and the best model. A training that was "
        "stopped goes on with 'labdct train FOLDER': it remembers its settings. Stop it with "
        "Ctrl-C, or by a file called 'stop' in the folder. Several GPUs: torchrun -m "
        "napari_labdct train FOLDER, see docs/training.md."
    )
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--start-from", metavar="MODEL", help="name or file of a trained model")
    parser.add_argument(
        "--pairs", metavar="FOLDER", help="input: reviewed pairs to learn from, too"
    )
    parser.add_argument(
        "--pairs-part", type=float, default=None, help="part of reviewed crops (default: 0.5)"
    )
    parser.add_argument(
        "--simulated-scans",
        metavar="FILE",
        help="take the spots of two crops in five from simulated scans kept in FILE (.npz), which "
        "is made if it is not there (1.1 GB, minutes)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a training with other settings"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps")
    parser.add_argument(
        "--workers", type=int, default=None, help="processes that draw crops; 0 is one thread"
    )
    parser.add_argument(
        "--rendering",
        choices=("auto", "cpu", "device"),
        help="where crops are made: by the processor, or in whole batches on the device that "
        "learns; auto (default): on a CUDA GPU if crops are synthetic only",
    )
    add_arguments(parser, TrainSettings)
    add_arguments(parser, SynthesisSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..networks.model import Model
    from ..training.crops.reviewed_pairs import ReviewedPairs
    from ..training.distributed import rank_here
    from ..training.loop import train
    from ..training.run_folder import RunFolder, read_recipe, stopping_on_signals

    before = {} if given.overwrite else read_recipe(given.folder)
    settings = _chosen(TrainSettings, given, before.get("train"))
    synthesis = _chosen(SynthesisSettings, given, before.get("synthesis"))
    inputs = {"start_from": None, "pairs": None, "pairs_part": 0.5, "simulated_scans": None,
              "rendering": "auto"}  # fmt: skip
    inputs |= before.get("given", {})
    inputs |= {k: v for k, v in vars(given).items() if k in inputs and v is not None}
    for name in ("start_from", "pairs", "simulated_scans"):
        path = Path(inputs[name] or "").expanduser()
        if inputs[name] and (path.exists() or name != "start_from"):  # else the name of a model
            inputs[name] = str(path.absolute())  # it may be gone on with from another folder
    start = Model.load(inputs["start_from"], "cpu") if inputs["start_from"] else None
    if inputs["pairs"] and inputs["simulated_scans"]:
        raise SettingsError("Train with --pairs or with --simulated-scans, not with both at once.")
    source = ReviewedPairs(inputs["pairs"], inputs["pairs_part"]) if inputs["pairs"] else None
    if inputs["simulated_scans"]:
        source = simulated_scans(inputs["simulated_scans"])
    steps = train(
        settings, given.folder, synthesis, given.device, start, source, given.workers, inputs,
        inputs["rendering"], given.overwrite,
    )  # fmt: skip
    first = rank_here() == 0
    with stopping_on_signals(given.folder, first) as asked:
        if first:
            show_progress(told(steps), "train", "step")
        else:
            for _ in steps:
                pass
    if asked.interrupted:
        raise KeyboardInterrupt
    best = RunFolder(given.folder, writes=False).best
    if first and best.exists():
        print(best)


def simulated_scans(file: str | Path):
    """The windows of simulated scans in a file, made first if they are not there."""
    from ..training.crops.simulated_scans import (
        SimulatedScans,
        SimulatedScansSettings,
        make_windows,
    )
    from ..training.distributed import processes

    if not Path(file).exists():
        if processes() > 1:
            raise SettingsError(
                f"There is no '{file}' yet; begin once without torchrun to make it."
            )
        show_progress(make_windows(SimulatedScansSettings(), file), "simulate", "scan")
    return SimulatedScans(file)


def told(steps: Iterator) -> Iterator:
    """A line for every validation and for the end, instead of one for every step."""
    for step in steps:
        score, text = getattr(step, "validation", {}), step.message
        if score:
            text = (
                f"step {step.done} ({step.stage}): loss {step.loss:.4f}, validation F1 "
                f"{score['f1']:.4f}{', the best so far' if step.best else ''}"
            )
        if getattr(step, "end", ""):
            text += f"{'; ' if text else ''}{step.end} at step {step.done}"
        yield replace(step, message=text)


def _chosen(cls: type[Settings], given: argparse.Namespace, before: dict | None) -> Settings:
    """The settings of a training that is gone on with, and what the flags say otherwise."""
    names = {field.name for field in fields_of(cls)}
    flags = {k: v for k, v in vars(given).items() if k in names and v is not None}
    return cls.from_dict({**(before or {}), **flags})
