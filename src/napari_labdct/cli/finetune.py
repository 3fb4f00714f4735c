"""``labdct finetune PAIRS -o MODEL.safetensors``: let a model learn from reviewed spots."""

from __future__ import annotations

import argparse
import sys

from ..learning.pairs import FineTuneSettings
from ..parameters import add_arguments, from_namespace
from .common import show_progress
from .train import told


def add_command(commands) -> None:
    parser = commands.add_parser(
        "finetune",
        help="fine-tune a trained network on reviewed spots",
        description=(
            "Let a trained network go on learning from pairs that were saved after a review (Spots "
            "dock, or labdct spots --pairs), mixed with synthetic crops. The same command goes on "
            "where it was stopped."
        ),
    )
    parser.add_argument("pairs", metavar="PAIRS", help="folder of reviewed training pairs")
    parser.add_argument("--model", default="compact", help="name or file (default: compact)")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL.safetensors")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, mps")
    parser.add_argument("--overwrite", action="store_true", help="replace another model")
    add_arguments(parser, FineTuneSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..learning.finetuning import fine_tune, work_folder
    from ..learning.run_folder import stopping_on_signals

    settings = from_namespace(FineTuneSettings, given)
    steps = fine_tune(
        settings, given.pairs, given.output, given.model, given.device, given.overwrite
    )
    with stopping_on_signals(work_folder(given.output)):
        show_progress(told(steps), "finetune", "step")
    if work_folder(given.output).exists():  # stopped; the bar has said where
        print("The same command goes on from there.", file=sys.stderr)
    else:
        print(given.output)
