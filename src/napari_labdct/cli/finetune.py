"""``labdct finetune PAIRS -o MODEL.safetensors``: let a model learn from reviewed spots."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

from ..learning.pairs import FineTuneSettings
from ..parameters import add_arguments, from_namespace
from .common import show_progress


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
    from ..learning.training import fine_tune

    settings = from_namespace(FineTuneSettings, given)
    steps = fine_tune(
        settings, given.pairs, given.output, given.model, given.device, given.overwrite
    )
    show_progress(_told(steps), "finetune", "step")
    print(given.output)


def _told(steps: Iterator) -> Iterator:
    """A line for every validation instead of one for every step."""
    for step in steps:
        score = step.validation
        text = f"step {step.done}: loss {step.loss:.4f}, validation F1 {score.get('f1')}"
        yield replace(step, message=text if score else "")
