"""``labdct routine SCAN -o MASK.tif``: the standard routine, rolling median and LoG."""

from __future__ import annotations

import argparse

from ..core.parameters import add_arguments, from_namespace
from ..spots.log_routine import RoutineJob, RoutineSettings
from .common import add_scan, open_given, run_job


def add_command(commands) -> None:
    parser = commands.add_parser("routine", help="rolling median and LoG, the standard routine")
    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="MASK.tif")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, RoutineSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    settings = from_namespace(RoutineSettings, given)
    scan = open_given(given)
    run_job(RoutineJob(scan, settings), given)
