"""``labdct synthesise SET.h5 ... -o FOLDER``: training pairs, simulated spots over backgrounds."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..core.parameters import add_arguments, from_namespace
from ..training.crops.own_scan_settings import TrainingSetSettings
from .common import show_progress, warn_implausible


def add_command(commands) -> None:
    parser = commands.add_parser(
        "synthesise",
        help="make a training set: simulated spots over measured backgrounds",
        description=(
            "Write training pairs: simulated spots over measured backgrounds, with noise (eqs 1 "
            "and 2 of the paper). Without other flags these are the paper's 1086 pairs. The same "
            "command goes on where it was stopped."
        ),
    )
    parser.add_argument(
        "backgrounds", nargs="+", metavar="SET.h5", help="background sets, see labdct background"
    )
    parser.add_argument("-o", "--folder", required=True, metavar="FOLDER")
    parser.add_argument(
        "--scan", metavar="SCAN", help="simulate in the geometry of this scan, not of the paper"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another training set")
    add_arguments(parser, TrainingSetSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    from ..background import BackgroundSet
    from ..io import open_scan
    from ..training.crops.paper_pairs import TrainingSet, samples_of

    settings = from_namespace(TrainingSetSettings, given)
    scan = warn_implausible(open_scan([given.scan])) if given.scan else None
    sets = [BackgroundSet.load(path) for path in given.backgrounds]
    made = TrainingSet(settings, sets, samples_of(settings, scan))
    show_progress(made.write(given.folder, overwrite=given.overwrite), "synthesise", "pair")
    print(Path(given.folder).expanduser() / "train")
