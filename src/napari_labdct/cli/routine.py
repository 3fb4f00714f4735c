"""``labdct routine SCAN -o MASK.tif``: the standard routine, rolling median and LoG."""

from __future__ import annotations

import argparse

from ..core.parameters import add_arguments, from_namespace
from ..spots import log_routine as routine
from .common import add_scan, open_given, show_progress


def add_command(commands) -> None:
    parser = commands.add_parser("routine", help="rolling median and LoG, the standard routine")
    add_scan(parser)
    parser.add_argument("-o", "--output", required=True, metavar="MASK.tif")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    add_arguments(parser, routine.RoutineSettings)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    settings = from_namespace(routine.RoutineSettings, given)
    scan = open_given(given)
    store = routine.open_store(scan, settings, given.output, overwrite=given.overwrite)
    show_progress(routine.run(scan, settings, store), "routine")
    print(store.path)
