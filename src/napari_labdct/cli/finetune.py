"""``labdct finetune``: let a model learn from reviewed spots, or from a scan's own background."""

from __future__ import annotations

import argparse
import sys

from ..core.errors import SettingsError
from ..core.parameters import add_arguments, from_namespace
from ..simulation.settings import SimulateSettings
from ..training.crops.reviewed_pairs import FineTuneSettings
from .common import add_scan_option, show_progress
from .train import told

# What of a simulation a scan does not know by itself; its geometry comes from scan.yaml.
SAMPLE = (
    "sample", "diameter_um", "height_um", "mean_grain_um", "spread", "grain_map", "voxel_um",
    "material", "families", "intensity_model", "tube_kv", "power_w", "filter_al_mm", "psf_px",
    "source_um",
)  # fmt: skip


def add_command(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Let a trained network go on learning, mixed with synthetic crops: from PAIRS that "
        "were saved after a review (Review dock, or labdct spots --pairs), or from the "
        "background of a --scan under simulated spots of its geometry. The same command goes "
        "on where it was stopped. Numbers before and after (.json), a picture (.png) and the "
        "curve (.log.jsonl) are written beside the model."
    )
    parser.add_argument(
        "pairs",
        metavar="PAIRS",
        nargs="?",
        help="input: folder of reviewed pairs, or of labdct synthesise",
    )
    add_scan_option(parser, "input")
    parser.add_argument(
        "--background", metavar="SET.h5", help="input: of the scan, from labdct background"
    )
    parser.add_argument("--model", default="compact", help="name or file (default: compact)")
    parser.add_argument(
        "-o", "--output", required=True, metavar="MODEL.safetensors", help="output: the model"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps")
    parser.add_argument("--overwrite", action="store_true", help="replace another model")
    add_arguments(parser, FineTuneSettings)
    add_arguments(parser, SimulateSettings, SAMPLE)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..background import BackgroundSet
    from ..training.finetuning import fine_tune, fine_tune_on_scan, work_folder
    from ..training.run_folder import stopping_on_signals
    from .common import open_given

    if bool(given.pairs) == bool(given.scan):
        raise SettingsError("Give either a folder of reviewed pairs, or --scan and a scan.")
    settings = from_namespace(FineTuneSettings, given)
    common = {"model": given.model, "device": given.device, "overwrite": given.overwrite}
    if given.pairs:
        steps = fine_tune(settings, given.pairs, given.output, **common)
    else:
        background = BackgroundSet.load(given.background) if given.background else None
        sample = {k: getattr(given, k) for k in SAMPLE if getattr(given, k) is not None}
        steps = fine_tune_on_scan(
            settings, open_given(given), given.output, background=background, simulation=sample,
            **common,
        )  # fmt: skip
    with stopping_on_signals(work_folder(given.output)) as asked:
        show_progress(told(steps), "finetune", "step")
    if asked.interrupted:
        raise KeyboardInterrupt
    if work_folder(given.output).exists():  # stopped; the bar has said where
        print("The same command goes on from there.", file=sys.stderr)
    else:
        print(given.output)
